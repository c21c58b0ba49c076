"""Numbers for people: three significant digits and a unit."""

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (0.0, ""))


def si(value: float | None, unit: str) -> str:
    """``value`` with an SI prefix: ``si(147.2e6, "W")`` is ``147 MW``; a dash for None."""
    if value is None:
        return "-"
    scale, prefix = next(pair for pair in _PREFIXES if abs(value) >= 0.9995 * pair[0])
    scaled = value / (scale or 1.0)
    return f"{scaled:,.0f} {prefix}{unit}" if abs(scaled) >= 999.5 else f"{scaled:.3g} {prefix}{unit}"


def span(seconds: float | None) -> str:
    """A length of time by its two largest units: ``90061`` is ``1 d 1 h``, ``75.4`` is ``1 min 15 s``, ``0.25`` is ``0.25 s``."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    for size, name, below, below_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size:,} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s"


def percent(ratio: float | None) -> str:
    """A ratio as a percentage, one decimal; a dash for None."""
    return "-" if ratio is None else f"{100 * ratio:.1f} %"


def gibibytes(value: int) -> str:
    """Bytes as ``3.42 GiB``, 2**30 to each."""
    return f"{value / 2**30:.2f} GiB"
