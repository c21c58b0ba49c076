"""The runs of a comparison together: what each metric is in the mean, and how it differs from the baseline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.experiments.compare.cells import Cell, Variant
from emulator.experiments.compare.intervals import CONFIDENCE, Estimate, estimate, paired_difference
from emulator.experiments.compare.one_run import Failed, Ran


@dataclass(frozen=True)
class Row:
    """A metric of a variant on a scenario: its mean over the replicates, and the mean of the paired differences from the baseline."""

    scenario: str
    variant: Variant
    metric: str
    value: Estimate
    difference: Estimate | None  # None for the baseline itself

    def as_dict(self) -> dict[str, Any]:
        """Flat, as JSON and Parquet have it."""
        other = self.difference or Estimate(None, None, None, 0)
        return {
            **self.variant._asdict(),
            "scenario": self.scenario,
            "metric": self.metric,
            "mean": self.value.mean,
            "low": self.value.low,
            "high": self.value.high,
            "replicates": self.value.replicates,
            "difference": other.mean,
            "difference_low": other.low,
            "difference_high": other.high,
            "pairs": other.replicates,
        }


class Comparison:
    """Of the runs that ended. ``baseline`` is the variant that the others are compared with: the first one given."""

    def __init__(self, cells: Sequence[Cell], ended: Mapping[int, Ran | Failed], *, interrupted: bool = False) -> None:
        self.interrupted = interrupted
        self.runs = [(cell, run) for at, cell in enumerate(cells) if isinstance(run := ended.get(at), Ran)]
        self.failed = [(cell, run) for at, cell in enumerate(cells) if isinstance(run := ended.get(at), Failed)]
        self.scenarios = list(dict.fromkeys(cell.label for cell in cells))
        self.variants = list(dict.fromkeys(cell.variant for cell in cells))
        self.baseline = self.variants[0]
        self._replicates = range(1 + max(cell.replicate for cell in cells))
        self._ran = {(cell.label, cell.variant, cell.replicate): run for cell, run in self.runs}
        self.rows = [
            self._row(scenario, variant, name)
            for scenario in self.scenarios
            for name in dict.fromkeys(name for cell, run in self.runs if cell.label == scenario for name in run.metrics)
            for variant in self.variants
        ]
        self._row_of = {(row.scenario, row.variant, row.metric): row for row in self.rows}

    def row(self, scenario: str, variant: Variant, metric: str) -> Row | None:
        return self._row_of.get((scenario, variant, metric))

    def _row(self, scenario: str, variant: Variant, name: str) -> Row:
        values, base = self._values(scenario, variant, name), self._values(scenario, self.baseline, name)
        return Row(scenario, variant, name, estimate(values), None if variant == self.baseline else paired_difference(values, base))

    def _values(self, scenario: str, variant: Variant, name: str) -> list[float | None]:
        """By replicate; None where it has not ended, or there is no such number."""
        runs = (self._ran.get((scenario, variant, replicate)) for replicate in self._replicates)
        return [None if run is None else run.metrics.get(name) for run in runs]

    def started_ratios(self, scenario: str, variant: Variant) -> list[float]:
        """By ``metrics.WAIT_GRID_SECONDS``: the mean over the replicates; empty where none has ended."""
        curves = [run.started_ratios for cell, run in self.runs if (cell.label, cell.variant) == (scenario, variant)]
        return [math.fsum(points) / len(points) for points in zip(*curves, strict=True)]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "baseline": self.baseline._asdict(),
            "confidence": CONFIDENCE,
            "interrupted": self.interrupted,
            "runs": [_who(cell) | run.summary for cell, run in self.runs],
            "metrics": [row.as_dict() for row in self.rows],
            "failed": [_who(cell) | {"error": run.error} for cell, run in self.failed],
        }

    def run_rows(self) -> list[dict[str, Any]]:
        """A row a run: who, digest, and every metric that any run has."""
        names = dict.fromkeys(name for _, run in self.runs for name in run.metrics)
        return [_who(cell) | {"digest": run.summary["digest"]} | {name: run.metrics.get(name) for name in names} for cell, run in self.runs]


def _who(cell: Cell) -> dict[str, Any]:
    window = None if cell.window is None else str(cell.window)
    return {**cell.variant._asdict(), "scenario": cell.label, "seed": cell.seed, "window": window}
