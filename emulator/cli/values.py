"""Values of options: durations, paths, ``key=value`` pairs, actor counts, speeds. Each raises CommandError with the option's name."""

import math
import re
from pathlib import Path

import typer

from emulator.cli.errors import CommandError, wrong

#: An actor is a process.
_MOST_ACTORS = 1024


def duration_ns(place: str, text: str) -> int:
    """``24h``, ``90m`` or ``1h30m`` as nanoseconds, more than 0: the scenario's own way of writing durations."""
    from emulator.scenario.units import parse_duration

    try:
        nanoseconds = parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{place}: {error}") from error
    if not nanoseconds:
        raise wrong(place, text, "is not longer than 0", "more than 0, e.g. 24h")
    return nanoseconds


def path(text: str) -> Path:
    """The path that an option names; an empty one would mean the current directory, which nobody meant."""
    if not text.strip():
        raise typer.BadParameter("it is empty; allowed: a path (. is the current directory)")
    if "\0" in text:
        raise typer.BadParameter("it has a NUL byte; allowed: a path")
    return Path(text)


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
    from emulator.engine.bounds import SPEED_RULE, is_speed

    if text == "max":
        return math.inf
    try:
        value = float(text.removesuffix("x"))
    except ValueError:
        value = math.nan
    if not is_speed(value) or math.isinf(value):
        raise wrong(place, text, "is not a speed", f"max, or {SPEED_RULE}, for example 60")
    return value
