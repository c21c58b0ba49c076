"""Values of options: durations, ``key=value`` pairs, actor counts, speeds. Each raises CommandError with the option's name."""

import math
import re

from emulator.cli.errors import wrong

_UNIT_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_TERM = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|min|s|m|h|d|w)")
#: Ten years: well inside int64 nanoseconds, whatever is added to it.
_LONGEST_NANOSECONDS = 3652 * _UNIT_NANOSECONDS["d"]
#: An actor is a process.
_MOST_ACTORS = 1024


def duration_ns(place: str, text: str) -> int:
    """``24h``, ``90m``, ``1h30m``, ``0.5s`` or plain seconds, as nanoseconds; more than 0 and at most ten years."""
    compact = text.strip().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        compact += "s"
    terms = _TERM.findall(compact)
    if not terms or "".join(number + unit for number, unit in terms) != compact:
        raise wrong(place, text, "is not a duration", "a number with ms, s, m, h, d or w, for example 24h, 90m or 1h30m")
    total = sum(round(float(number) * _UNIT_NANOSECONDS[unit]) if math.isfinite(float(number)) else math.inf for number, unit in terms)
    if not 0 < total <= _LONGEST_NANOSECONDS:
        raise wrong(place, text, "is out of range", "more than 0, at most 3652d")
    return int(total)


def pairs(place: str, items: list[str]) -> dict[str, str]:
    """``["a=1", "b.c=x"]`` as a dict; the last of a repeated key counts."""
    result: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise wrong(place, item, "is not a pair", "key=value")
        result[key.strip()] = value.strip()
    return result


def actor_count(text: str) -> int | str:
    """``auto``, ``inline`` or a number of actors."""
    if text in ("auto", "inline"):
        return text
    if not re.fullmatch(r"\d{1,9}", text) or not 1 <= int(text) <= _MOST_ACTORS:
        raise wrong("--actors", text, "is not a number of actors", f"auto, inline, or 1 to {_MOST_ACTORS}")
    return int(text)


def speed(place: str, text: str) -> float:
    """Emulated seconds per wall second; ``max`` is infinity."""
    if text == "max":
        return math.inf
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise wrong(place, text, "is not a speed", "max, or emulated seconds per wall second, more than 0, for example 60")
    return value
