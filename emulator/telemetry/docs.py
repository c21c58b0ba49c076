"""docs/metrics.md, written from the table and the rules."""

from collections.abc import Sequence

from emulator.telemetry.metric import Metric
from emulator.telemetry.rules import GROUPS
from emulator.telemetry.table import HEAD, PLANE, RACK
from emulator.telemetry.vllm_table import VLLM

_INTRO = """\
# Metrics

Written by `python -m emulator.telemetry` from `emulator/telemetry/table.py`; do not edit.

The head serves the metrics of the whole cluster, and each actor those of the racks and fabric planes that it holds. `/sd` at the head lists
all of these endpoints for Prometheus' `http_sd_configs`, with two more labels: `cluster` (the scenario's cluster) and `role` (`head` or
`shard`). With `--actors inline` there are no actors, and the head serves everything.

Units are base units; counters end in `_total` and start at 0 with the scenario. Every series that can exist is present, with the value zero
if there is nothing to count. No label has a value per job. A gauge is the state at the end of the last published cycle.

Prometheus stamps samples with wall time. When the clock runs at 600 emulated seconds per second, `rate()` is 600 times that of a real
cluster: divide by the achieved `gigawatt_clock_speed_ratio`, or use the recording rules below, which do so.
"""

_REPLICAS = """\
vLLM's own, under its names and labels and in its buckets, so that dashboards made for vLLM work. `model_name` is what clients name in a
request: the service. `engine` is the id of the replica's job. A replica has some 240 series. With `telemetry.detail: pod` or `cluster` the
replicas of a pool are added up, those that are gone included, and `engine` is what the pool's unit of the topology is called."""

_ALERTS = """\
In the same file. Their windows are of wall time, as everything in Prometheus: under acceleration an hour there is many in the emulation."""

_RACKS = """\
The label `pod` is present if the cluster has pods. With `telemetry.detail: pod` the racks of a pod are added up and `rack` is absent; with
`cluster` the racks of a site are added up, and `pod` is absent too. If the racks of a pod or site are on several actors, each actor serves
its part: sum them."""


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
    lines = [_INTRO, "## Metrics of the head", "", *_table(HEAD), ""]
    lines += ["## Metrics of each rack", "", _RACKS, "", *_table(RACK), ""]
    lines += ["## Metrics of each fabric plane", "", *_table(PLANE), ""]
    lines += ["## Metrics of each replica", "", _REPLICAS, "", *_table(VLLM), ""]
    lines += ["## Recording rules", "", "In `deploy/prometheus/rules.yml`.", "", "| rule | expression |", "| --- | --- |"]
    lines += [f"| `{rule.record}` | `{_cell(rule.expr)}` |" for group in GROUPS for rule in group.rules]
    lines += ["", "## Alerts", "", _ALERTS, "", "| alert | when | for | severity |", "| --- | --- | --- | --- |"]
    alerts = [alert for group in GROUPS for alert in group.alerts]
    lines += [f"| `{one.alert}` | `{_cell(one.expr)}` | {one.lasting} | {one.severity} |" for one in alerts]
    return "\n".join(lines) + "\n"
