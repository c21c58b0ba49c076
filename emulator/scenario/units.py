"""Quantities as people write them: ``10s``, ``1h30m``, ``150MW``; and as the code holds them: int nanoseconds, float
watts, float bytes per second."""

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

from emulator.engine.bounds import CLOCK_END_NS, FASTEST, SLOWEST, SPEED_RULE, is_speed

NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
}
DAY = NANOSECONDS["d"]
YEAR = 366 * DAY
BITS = {"bps": 1.0, "kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9, "Tbps": 1e12, "Pbps": 1e15}
SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15, "EB": 10**18}
WATTS = {"W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9}

_PART = re.compile(r"([0-9]+)(?:[.]([0-9]{1,12}))?(ns|us|ms|min|s|m|h|d)")


def parse_duration(value: Any) -> int:
    """Nanoseconds of ``10s``, ``500ms``, ``24h``, ``1h30m``, ``2d``; exact. Raises ValueError."""
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    text = value.strip() if isinstance(value, str) else ""
    parts = list(_PART.finditer(text))
    if not parts or len(text) > 64 or "".join(part.group() for part in parts) != text:
        raise ValueError(f"{value!r} is not a duration: write a number and a unit, e.g. 500ms, 10s, 5m, 24h, 7d or 1h30m")
    total = 0
    for part in parts:
        unit, fraction = NANOSECONDS[part[3]], part[2] or ""
        total += int(part[1]) * unit + int(fraction or 0) * unit // 10 ** len(fraction)
    if total > CLOCK_END_NS:
        raise ValueError(f"{value!r} is longer than a century")
    return total


def format_duration(nanoseconds: int) -> str:
    """The shortest exact form with one unit."""
    units = sorted(((size, unit) for unit, size in NANOSECONDS.items() if unit != "min"), reverse=True)
    return next(f"{nanoseconds // size}{unit}" for size, unit in units if nanoseconds % size == 0)


def parse_power(value: Any) -> float:
    """Watts of ``150MW``, ``8.4kW``, ``700 W``. Raises ValueError."""
    match = re.fullmatch(r"\s*([0-9]+(?:[.][0-9]+)?(?:e[+-]?[0-9]{1,2})?)\s*(W|kW|MW|GW)\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a power: write a number and W, kW, MW or GW, e.g. 150MW")
    watts = float(match[1]) * WATTS[match[2]]
    if not math.isfinite(watts):
        raise ValueError(f"{value!r:.80} is more power than a number holds")
    return watts


def parse_bandwidth(value: Any) -> float:
    """Bytes per second of ``400Gbps``, ``100Tbps``. Raises ValueError."""
    match = re.fullmatch(r"\s*([0-9]+(?:[.][0-9]+)?(?:e[+-]?[0-9]{1,2})?)\s*([kMGTP]?bps)\s*", value) if isinstance(value, str) else None
    if match is None or not 1.0 <= float(match[1]) * BITS[match[2]] <= 1e21:
        raise ValueError(f"{value!r} is not a bandwidth: write a number above 0 and bps, kbps, Mbps, Gbps, Tbps or Pbps, e.g. 100Tbps")
    return float(match[1]) * BITS[match[2]] / 8


def parse_bytes(value: Any) -> int:
    """Bytes of ``20TB``, ``1.5PB``; 0 is 0. Raises ValueError."""
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    match = re.fullmatch(r"\s*([0-9]+(?:[.][0-9]+)?)\s*([kMGTPE]?B)\s*", value) if isinstance(value, str) else None
    if match is None or not float(match[1]) * SIZES[match[2]] <= 1e21:
        raise ValueError(f"{value!r:.80} is not a size: write a number and B, kB, MB, GB, TB, PB or EB, e.g. 20TB")
    return round(float(match[1]) * SIZES[match[2]])


def parse_speed(value: Any) -> float:
    """Emulated seconds per wall second: a number above 0, or ``max`` (infinity). Raises ValueError."""
    if value in ("max", math.inf):
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_speed(value):
        raise ValueError(f"{value!r} is not a speed: write {SPEED_RULE}, or max")
    return float(value)


Duration = Annotated[
    int, BeforeValidator(parse_duration), PlainSerializer(format_duration), WithJsonSchema({"type": "string", "examples": ["10s", "24h"]})
]
Power = Annotated[
    float,
    BeforeValidator(parse_power),
    PlainSerializer(lambda watts: f"{watts!r}W"),
    WithJsonSchema({"type": "string", "examples": ["150MW"]}),
]
Bandwidth = Annotated[
    float,
    BeforeValidator(parse_bandwidth),
    PlainSerializer(lambda bytes_per_second: f"{bytes_per_second * 8!r}bps"),
    WithJsonSchema({"type": "string", "examples": ["400Gbps", "100Tbps"]}),
]
Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(lambda size: f"{size}B"),
    WithJsonSchema({"type": "string", "examples": ["500GB", "20TB"]}),
]
Speed = Annotated[
    float,
    Field(allow_inf_nan=True),
    BeforeValidator(parse_speed),
    PlainSerializer(lambda speed: "max" if math.isinf(speed) else speed),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": SLOWEST, "maximum": FASTEST}, {"const": "max"}]}),
]
