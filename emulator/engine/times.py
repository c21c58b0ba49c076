"""Times in sentences."""

from emulator.workload.jobs import SECOND

_UNITS = ((86_400 * SECOND, "d"), (3600 * SECOND, "h"), (60 * SECOND, "min"))


def in_words(time_ns: int) -> str:
    """``2 h``, ``90 min`` or ``754.5 s``: in the largest unit of which it is a whole number; seconds where there is none."""
    for unit_ns, unit in _UNITS:
        if time_ns and time_ns % unit_ns == 0:
            return f"{time_ns // unit_ns:,} {unit}"
    return f"{time_ns / SECOND:,.15g} s"
