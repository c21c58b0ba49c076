"""A comparison as pictures: means with their intervals, waits by size of job, and how many jobs have started after a wait."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from emulator.experiments.compare.comparison import Comparison
from emulator.experiments.compare.intervals import Estimate
from emulator.experiments.compare.metrics import SIZE_CLASSES, WAIT_GRID_SECONDS
from emulator.experiments.compare.tables import COLUMNS, gpus, name, unit_of
from emulator.report.chart import nice_step
from emulator.report.picture.ink import DIM, INK, RULE, Sheet

#: After Okabe and Ito, "Color Universal Design" (2008): told apart by everyone; then dashed.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_WIDTH, _LEFT, _RIGHT, _ROW = 860.0, 210.0, 30.0, 24.0
_WAIT = COLUMNS[0]
_MARKS = (
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (6 * 3600.0, "6 h"),
    (86400.0, "1 d"),
    (604800.0, "7 d"),
)


def plots(comparison: Comparison, scenario: str) -> dict[str, str]:
    """The pictures of a scenario as SVG, by the name of their file without its ending."""
    found = {}
    for stem, metric, title in (("wait", "wait_seconds.mean", "Mean wait"), ("completion", "completion_seconds.mean", "Mean completion")):
        if panel := _panel(comparison, scenario, metric):
            found[stem] = _panels(f"{title}, {scenario}", [("", panel)], comparison)
    by_size = [(gpus(size), _panel(comparison, scenario, f"wait_so_far_seconds.mean.by_gpus.{size}")) for _, size in SIZE_CLASSES]
    if drawn := [(label, panel) for label, panel in by_size if panel]:
        found["wait_by_gpus"] = _panels(f"Mean wait so far by size of job, {scenario}", drawn, comparison)
    if any(comparison.started_ratios(scenario, variant) for variant in comparison.variants):
        found["started"] = _started(comparison, scenario)
    return found


def _panel(comparison: Comparison, scenario: str, metric: str) -> list[Estimate]:
    """By variant; empty where no one has a value."""
    rows = [comparison.row(scenario, variant, metric) for variant in comparison.variants]
    estimates = [Estimate(None, None, None, 0) if row is None else row.value for row in rows]
    return estimates if any(each.mean is not None for each in estimates) else []


def _panels(title: str, panels: Sequence[tuple[str, Sequence[Estimate]]], comparison: Comparison) -> str:
    """Panels below each other, each with an axis of its own from 0; a point a variant, its interval as a line."""
    sheet, y = Sheet(), 34.0
    sheet.text(20, 24, title, _WIDTH - 40, size=16, bold=True)
    for label, estimates in panels:
        size, unit = unit_of((each.mean for each in estimates), _WAIT.units)
        highest = max((each.high or each.mean or 0.0) for each in estimates) / size
        step = nice_step(highest / 5)
        top = max(step, step * np.ceil(highest / step))
        bottom = y + (22 if label else 6) + _ROW * len(estimates)
        if label:
            sheet.text(20, y + 16, label, 180, bold=True)

        def x(value: float, top: float = top, size: float = size) -> float:
            return _LEFT + float(np.clip(value / size / top, 0.0, 1.0)) * (_WIDTH - _LEFT - _RIGHT)

        for tick in np.arange(0.0, top + step / 2, step).tolist():
            sheet.line(x(tick * size), bottom - _ROW * len(estimates), x(tick * size), bottom, RULE)
            sheet.text(x(tick * size), bottom + 16, f"{tick:,.6g} {unit}", 90, colour=DIM, anchor="middle")
        for place, (variant, each) in enumerate(zip(comparison.variants, estimates, strict=True)):
            at = bottom - _ROW * (len(estimates) - place - 0.5)
            colour = _COLOURS[place % len(_COLOURS)]
            sheet.text(_LEFT - 12, at + 4, name(comparison, variant), _LEFT - 32, colour=INK, anchor="end")
            if each.mean is None:
                sheet.text(_LEFT + 6, at + 4, "no such job has started", 200, colour=DIM)
                continue
            if each.low is not None and each.high is not None:
                sheet.line(x(each.low), at, x(each.high), at, colour, 2.5)
            sheet.circle(x(each.mean), at, 5, colour, title=f"{each.mean / size:.3g} {unit}")
        y = bottom + 26
    return sheet.document(_WIDTH, y + 4, title)


def _started(comparison: Comparison, scenario: str) -> str:
    """The part of all jobs that had started after a wait, on a logarithmic axis; the first point is a wait of 0."""
    sheet, top, height = Sheet(), 44.0, 260.0
    title = f"Jobs that have started after a wait, {scenario}"
    sheet.text(20, 24, title, _WIDTH - 40, size=16, bold=True)
    left, right = 64.0, _WIDTH - _RIGHT
    grid = np.log10(np.maximum(np.array(WAIT_GRID_SECONDS), WAIT_GRID_SECONDS[1] / 1.33))
    places = left + (grid - grid[0]) / (grid[-1] - grid[0]) * (right - left)
    for seconds, label in _MARKS:
        at = left + (float(np.log10(seconds)) - float(grid[0])) / float(grid[-1] - grid[0]) * (right - left)
        sheet.line(at, top, at, top + height, RULE)
        sheet.text(at, top + height + 18, label, 60, colour=DIM, anchor="middle")
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + height * (1 - part)
        sheet.line(left, y, right, y, RULE)
        sheet.text(left - 8, y + 4, f"{100 * part:g} %", 50, colour=DIM, anchor="end")
    for number, variant in enumerate(comparison.variants):
        colour, dashed = _COLOURS[number % len(_COLOURS)], number >= len(_COLOURS)
        points = list(zip(places.tolist(), comparison.started_ratios(scenario, variant), strict=False))
        for (x1, y1), (x2, y2) in pairwise(points):
            sheet.line(x1, top + height * (1 - y1), x2, top + height * (1 - y2), colour, 2.0, dashed=dashed)
        x0, y0 = left + number % 4 * 195, top + height + 46 + number // 4 * 20
        sheet.line(x0, y0 - 4, x0 + 26, y0 - 4, colour, 2.5, dashed=dashed)
        sheet.text(x0 + 34, y0, name(comparison, variant), 155)
    return sheet.document(_WIDTH, top + height + 60 + (len(comparison.variants) - 1) // 4 * 20, title)
