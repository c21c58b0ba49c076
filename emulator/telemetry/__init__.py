"""Metrics: one table (``table``), its text (``exposition``), a server for it (``server``), and what is generated from it.

``python -m emulator.telemetry`` writes docs/metrics.md and the Prometheus and Grafana files under deploy/.
"""

from emulator.telemetry.exposition import RackLabels, head_text, shard_text
from emulator.telemetry.server import DEFAULT_PORT, MetricsServer, Page, PortTaken, TargetGroup, metrics_groups

__all__ = [
    "DEFAULT_PORT", "MetricsServer", "Page", "PortTaken", "RackLabels", "TargetGroup", "head_text", "metrics_groups", "shard_text",
]  # fmt: skip
