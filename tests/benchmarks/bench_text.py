"""Metrics as text: samples per CPU second of our exposition against prometheus-client's, for the same samples, in one run."""

from collections.abc import Callable, Iterator

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from emulator.telemetry.exposition import RackLabels, shard_text
from tests.benchmarks.clocks import paired
from tests.telemetry.plausible import layout, rack_readings

RACKS = 55_556  # 10 GW of NVL72
LEAST_RATIO = 10.0


class RackCollector:
    """The same samples, as somebody would hand them to prometheus-client: names of labels and values, made once."""

    def __init__(self, text: str) -> None:
        self.families: list[tuple[str, str, list[tuple[list[str], list[str], float]]]] = []
        for line in text.splitlines():
            if line.startswith("# HELP"):
                _, _, name, help_text = line.split(" ", 3)
                self.families.append((name, help_text, []))
            elif not line.startswith("#"):
                labels, value = line[line.index("{") + 1 :].split("}")
                pairs = [pair.split("=") for pair in labels.split(",")]
                self.families[-1][2].append(([name.strip() for name, _ in pairs], [text.strip('"') for _, text in pairs], float(value)))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, help_text, samples in self.families:
            family = GaugeMetricFamily(name, help_text, labels=samples[0][0])
            for _, values, value in samples:
                family.add_metric(values, value)
            yield family


def test_rack_metrics(row: Callable[..., None]) -> None:
    labels = RackLabels(layout(RACKS), 0, RACKS)
    racks = [(labels, rack_readings(0, RACKS))]
    text = shard_text(racks).decode()
    samples = sum(not line.startswith("#") for line in text.splitlines())
    registry = CollectorRegistry()
    registry.register(RackCollector(text))
    values = racks[0][1].power_milliwatts
    ours, theirs, digits = paired(lambda: shard_text(racks), lambda: generate_latest(registry), lambda: np.char.mod("%d", values), rounds=3)
    row(
        "Exposition: samples per CPU second against prometheus-client",
        racks=f"{RACKS:,}",
        samples=f"{samples:,}",
        ours_per_s=f"{samples / ours:,.0f}",
        theirs_per_s=f"{samples / theirs:,.0f}",
        ratio=theirs / ours,
        least=LEAST_RATIO,
        numpy_digits_per_s=f"{len(values) / digits:,.0f}",
    )
    assert theirs / ours >= LEAST_RATIO
