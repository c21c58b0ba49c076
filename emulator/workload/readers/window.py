"""Options of a trace: which part of it to keep, and how options are checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.times import DATE_EXAMPLES, MAX_SECONDS, parse_date, parse_number


@dataclass(frozen=True)
class Window:
    """Submissions in from_ns <= t < until_ns are kept; None is open. Time counts from ``from_ns``, else from the first job kept."""

    from_ns: int | None = None
    until_ns: int | None = None

    def outside(self, submit_ns: int) -> str:
        """Why a submission is dropped, or ''."""
        if self.from_ns is not None and submit_ns < self.from_ns:
            return "before from"
        return "at or after until" if self.until_ns is not None and submit_ns >= self.until_ns else ""


def check_options(format: str, options: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises TraceError where an option is not one of ``known``, those of the format."""
    for name in options:
        if name not in known:
            raise TraceError(f"format {format} has no trace option {name!r}", allowed=", ".join(known))


def choice(options: Mapping[str, str], name: str, values: Sequence[str]) -> str:
    """The option, the first of ``values`` by default. Raises TraceError on any other."""
    value = options.get(name, values[0])
    if value not in values:
        raise TraceError(f"trace option {name}={value}", allowed=" or ".join(values))
    return value


def window(options: Mapping[str, str], *, seconds: bool, dates: bool) -> Window:
    """``from`` and ``until``, in seconds of the trace's own clock, as dates, or as either. Raises TraceError."""

    def moment(name: str) -> int | None:
        text = options.get(name)
        if text is None:
            return None
        when = parse_number(text) if seconds else None
        if when is None and dates:
            when = parse_date(text)
        if when is None or when < 0:
            allowed = [f"seconds from 0 to {MAX_SECONDS}"] * seconds + [DATE_EXAMPLES] * dates
            raise TraceError(f"trace option {name}={text}", allowed=", or ".join(allowed))
        return when

    from_ns, until_ns = moment("from"), moment("until")
    if from_ns is not None and until_ns is not None and until_ns <= from_ns:
        raise TraceError("trace option until is not later than from", allowed="until > from")
    return Window(from_ns, until_ns)
