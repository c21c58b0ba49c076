"""docs/metrics.md, written from the table and the rules."""

from collections.abc import Sequence

from emulator.telemetry.rules import GROUPS
from emulator.telemetry.table import HEAD, PLANE, RACK, Metric

_INTRO = """\
# Metrics

Written by `python -m emulator.telemetry` from `emulator/telemetry/table.py`; do not edit.

The head serves the cluster's own metrics, each actor those of the racks and fabric planes it holds. `/sd` at the head lists all of them for
Prometheus' `http_sd_configs`, with two labels more: `cluster` (the scenario's cluster) and `role` (`head` or `shard`). In-process
(`--actors inline`) there are no actors, and the head serves everything.

Units are base units; counters end in `_total` and start at 0 with the scenario. A series that can exist always does: zero, not absent. No
label has a value per job. A gauge is the state at the end of the last published cycle.

Prometheus stamps what it scrapes with wall time. When the clock runs at 600 emulated seconds a second, `rate()` is 600 times what the
cluster would show: divide by the achieved `gigawatt_clock_speed_ratio`, or use the recording rules below, which do.
"""

_RACKS = """\
`pod` is there where the cluster has pods. With `telemetry.detail: pod` the racks of a pod are added up and `rack` is absent; with `cluster`
those of a site are, and `pod` is absent too. A unit that is spread over actors is served in parts, one at each: sum them."""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(metrics: Sequence[Metric]) -> list[str]:
    lines = ["| metric | type | unit | labels | what it says |", "| --- | --- | --- | --- | --- |"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
        lines.append(f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {_cell(metric.help)} |")
    return lines


def metrics_markdown() -> str:
    """docs/metrics.md: every metric and recording rule in a table."""
    lines = [_INTRO, "## Of the head", "", *_table(HEAD), ""]
    lines += ["## Of each rack", "", _RACKS, "", *_table(RACK), ""]
    lines += ["## Of each fabric plane", "", *_table(PLANE), ""]
    lines += ["## Recording rules", "", "In `deploy/prometheus/rules.yml`.", "", "| rule | expression |", "| --- | --- |"]
    lines += [f"| `{rule.record}` | `{_cell(rule.expr)}` |" for group in GROUPS for rule in group.rules]
    return "\n".join(lines) + "\n"
