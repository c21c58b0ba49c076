"""Line charts as inline SVG: no script, no outside asset, colours from the page's own variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_WIDTH, _HEIGHT = 860, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 22, 12, 28
#: More points than pixels would not be visible.
_POINTS = 720
_TIME_STEPS = (1, 5, 15, 60, 300, 900, 3600, 2 * 3600, 4 * 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)


@dataclass(frozen=True, eq=False)
class Series:
    """One line. ``values`` has the shape of the chart's times; ``filled`` shades the area below.

    Where there are more samples than points, a point is the mean of its samples, or with ``highest`` their maximum.
    """

    label: str
    values: NDArray[np.floating[Any]]
    colour: str  # a CSS custom property's name, e.g. "--blue"
    filled: bool = False
    highest: bool = False


def chart(title: str, unit: str, times_seconds: Float64, series: list[Series], *, scale: float = 1.0, top: float | None = None) -> str:
    """A ``figure`` with a legend.

    Values are divided by ``scale`` (1e6 for MW); the axis runs from 0 to ``top``, or to a round number above the largest value.
    """
    legend = "".join(f'<span><i style="background:var({line.colour})"></i>{escape(line.label)}</span>' for line in series)
    caption = f"<figcaption><b>{escape(title)}</b><small>{escape(unit)}</small>{legend}</figcaption>"
    if len(times_seconds) < 2:
        return f"<figure>{caption}<p>fewer than two publications: no line to draw</p></figure>"
    scaled = [np.asarray(line.values / scale, dtype=np.float64) for line in series]
    times, lines = thin(times_seconds, scaled, [line.highest for line in series])
    start, end = float(times[0]), float(times[-1])
    highest = max(float(line.max()) for line in lines)
    step = nice_step((top if top is not None else highest) / 4)
    ceiling = top if top is not None else max(step, float(np.ceil(highest / step)) * step)

    def x(seconds: Float64 | float) -> Float64:
        return np.asarray(_LEFT + (np.asarray(seconds) - start) / max(end - start, 1e-9) * (_WIDTH - _LEFT - _RIGHT))

    def y(value: Float64 | float) -> Float64:
        return np.asarray(_HEIGHT - _BOTTOM - np.minimum(np.asarray(value) / ceiling, 1.0) * (_HEIGHT - _TOP - _BOTTOM))

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)} over emulated time, {escape(unit)}">']
    for tick in np.arange(0.0, ceiling + step / 2, step):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,.6g}</text>')
    for tick, label in time_ticks(start, end):
        parts.append(f'<text x="{x(tick):.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{label}</text>')
    for line, values in zip(series, lines, strict=True):
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in zip(x(times), y(values), strict=True))
        if line.filled:
            base = f"{y(0.0):.1f}"
            parts.append(f'<polygon points="{x(start):.1f},{base} {points} {x(end):.1f},{base}" fill="var({line.colour})" opacity="0.18"/>')
        parts.append(f'<polyline points="{points}" stroke="var({line.colour})"><title>{escape(line.label)}</title></polyline>')
    return f"<figure>{caption}{''.join(parts)}</svg></figure>"


def thin(times: Float64, lines: list[Float64], highest: Sequence[bool] = ()) -> tuple[Float64, list[Float64]]:
    """At most ``_POINTS`` points, the first and last sample kept: means over equal runs of samples, maxima of lines marked ``highest``."""
    count = len(times)
    if count <= _POINTS:
        return times, lines
    edges = np.linspace(1, count - 1, _POINTS - 1).astype(np.int64)
    sizes = np.diff(edges)

    def means(values: Float64) -> Float64:
        inner = np.add.reduceat(values[: edges[-1]], edges[:-1]) / sizes
        return np.concatenate([values[:1], inner, values[-1:]])

    def maxima(values: Float64) -> Float64:
        return np.concatenate([values[:1], np.maximum.reduceat(values[: edges[-1]], edges[:-1]), values[-1:]])

    tops = highest or [False] * len(lines)
    return means(times), [maxima(line) if top else means(line) for line, top in zip(lines, tops, strict=True)]


def nice_step(raw: float) -> float:
    """The smallest of 1, 2, 2.5, 5 x 10^n that is not below ``raw``; 1 for 0."""
    if raw <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(raw))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * (1 - 1e-9)))


def time_ticks(start: float, end: float) -> list[tuple[float, str]]:
    """At most about nine round times between ``start`` and ``end``, with labels such as ``06:00`` or ``3 d``."""
    step = next((size for size in _TIME_STEPS if (end - start) / size <= 9), max(86400, int((end - start) / 9 // 86400) * 86400))
    ticks = np.arange(np.ceil(start / step) * step, end + 1e-9, step)
    return [(float(tick), _clock(int(tick), step)) for tick in ticks]


def _clock(seconds: int, step: int) -> str:
    days, rest = divmod(seconds, 86400)
    if step >= 86400:
        return f"{days} d"
    hours, minutes = rest // 3600 + 24 * days, rest % 3600 // 60
    return f"{hours:02d}:{minutes:02d}" + (f":{rest % 60:02d}" if step < 60 else "")
