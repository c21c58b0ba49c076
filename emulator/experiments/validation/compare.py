"""Published figures beside ours: each with its error, its bar and its source."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from statistics import median
from typing import Any

from emulator.experiments.validation.rows import TrainingRow, is_mixture, parse_rows, plain_precision
from emulator.workload.training import MODELS, step_seconds, training_shape

#: Payload over line rate on a fabric that is the job's alone: headers and pauses.
NETWORK_RATIO = 0.9
#: Bars: how far a figure may be off. Mixtures are forced balanced where they are published, and no stack is like another there.
MIXTURE_TOLERANCE, NVFP4_TOLERANCE, SIBLING_TOLERANCE, DENSE_TOLERANCE = 0.20, 0.12, 0.08, 0.07
#: A scaling loss may be off by so much of the throughput at the series' start.
LOSS_TOLERANCE = 0.02


@dataclass(frozen=True)
class Row:
    """A published figure and ours; ``error_ratio`` is ours over published, less 1.

    ``in_quantile``: it is one of many, which are held to quantiles; its bar is that of the 90th percentile.
    """

    id: str
    quantity: str
    published: float
    ours: float
    tolerance_ratio: float
    source: str
    in_quantile: bool = False

    @property
    def error_ratio(self) -> float:
        return self.ours / self.published - 1.0

    @property
    def within(self) -> bool:
        return abs(self.error_ratio) <= self.tolerance_ratio

    def words(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "id": self.id,
            "quantity": self.quantity,
            "published": self.published,
            "ours": self.ours,
            "error_ratio": self.error_ratio,
            "tolerance_ratio": self.tolerance_ratio,
            "within": self.within,
            "source": self.source,
        }


@dataclass(frozen=True)
class Loss:
    """What a series loses per GPU from its smallest size to a larger one, as parts of the throughput there."""

    series: str
    from_gpus: int
    gpus: int
    published: float
    ours: float
    tolerance: float

    @property
    def within(self) -> bool:
        return abs(self.ours - self.published) <= self.tolerance

    def words(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "within": self.within}


@dataclass(frozen=True)
class Quantiles:
    """The errors of all rows of one quantity, without their signs: the median and the 90th percentile, each with its bar."""

    quantity: str
    rows: int
    median_ratio: float
    median_tolerance_ratio: float
    p90_ratio: float
    p90_tolerance_ratio: float

    @staticmethod
    def of(quantity: str, rows: Sequence[Row], median_bar: float, p90_bar: float) -> "Quantiles":
        """Those of at least one row."""
        errors = [row.error_ratio for row in rows]
        return Quantiles(quantity, len(rows), median(map(abs, errors)), median_bar, _p90(errors), p90_bar)

    @property
    def within(self) -> bool:
        return self.median_ratio <= self.median_tolerance_ratio and self.p90_ratio <= self.p90_tolerance_ratio

    def words(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "within": self.within}


@dataclass(frozen=True)
class Sweep:
    """Rows of rising concurrency, and at which of them, counted from 0, the queue begins to grow; ``rows`` where it does at none."""

    sweep: str
    rows: int
    published: int
    ours: int

    @property
    def within(self) -> bool:
        return abs(self.ours - self.published) <= 1

    def words(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "within": self.within}


@dataclass(frozen=True)
class Comparison:
    """All rows, the losses of series of training, and of serving the quantiles and sweeps."""

    rows: tuple[Row, ...]
    losses: tuple[Loss, ...]
    quantiles: tuple[Quantiles, ...] = ()
    sweeps: tuple[Sweep, ...] = ()

    @property
    def within(self) -> bool:
        many = all(one.within for one in self.quantiles) and all(one.within for one in self.sweeps)
        return many and all(row.within for row in self.rows if not row.in_quantile) and all(loss.within for loss in self.losses)

    def words(self) -> dict[str, Any]:
        """As JSON has it."""
        errors = [row.error_ratio for row in self.rows]
        return {
            "rows": [row.words() for row in self.rows],
            "median_abs_error_ratio": median(map(abs, errors)),
            "p90_abs_error_ratio": _p90(errors),
            "scaling": [loss.words() for loss in self.losses],
            "quantiles": [one.words() for one in self.quantiles],
            "saturation": [one.words() for one in self.sweeps],
        }


def _p90(errors: Sequence[float]) -> float:
    """The 90th percentile of the errors without their signs: nine in ten are no larger."""
    ranked = sorted(map(abs, errors))
    return ranked[max(0, -(-9 * len(ranked) // 10) - 1)]


def tokens_per_second_per_gpu(row: TrainingRow) -> float:
    """Ours for a row: its step on a fabric that is its alone."""
    model, host = replace(MODELS[row.model], sequence=row.sequence), row.host
    lane = NETWORK_RATIO * host.lane_bytes_per_second
    shape = training_shape(model, row.plan, host.gpu, domain_gpus=host.domain_gpus, precision=plain_precision(row), bytes_per_second=lane)
    return row.sequences * row.sequence / step_seconds(shape, lane) / row.gpus


def tolerance(row: TrainingRow) -> float:
    """The bar of a row."""
    if is_mixture(row):
        return MIXTURE_TOLERANCE
    if plain_precision(row) == "nvfp4":
        return NVFP4_TOLERANCE
    return DENSE_TOLERANCE if plain_precision(row) == "fp8" and row.gpu.startswith(("H100", "GB")) else SIBLING_TOLERANCE


def compare_training(rows: Iterable[TrainingRow]) -> Comparison:
    """Rows of tokens per second, and the losses of the series among them."""
    given = list(rows)
    compared = tuple(
        Row(row.id, "tokens/s/GPU", row.tokens_per_second_per_gpu, tokens_per_second_per_gpu(row), tolerance(row), row.source)
        for row in given
    )
    return Comparison(compared, tuple(_losses(given, compared)))


def _losses(given: Sequence[TrainingRow], compared: Sequence[Row]) -> Iterable[Loss]:
    """Series: the same model, GPU, precision and parallelism, data apart, from one source."""
    series: dict[tuple[Any, ...], list[tuple[int, Row]]] = {}
    for row, one in zip(given, compared, strict=True):
        plan = replace(row.plan, data=1, microbatches=1)
        series.setdefault((row.model, row.gpu, plain_precision(row), row.sequence, plan, row.series), []).append((row.gpus, one))
    for (model, gpu, precision, *_), members in series.items():
        (first_gpus, first), *others = sorted(members, key=lambda member: member[0])
        for gpus, one in others:
            if gpus > first_gpus:
                name = f"{model} {gpu.partition('-')[0]} {precision}"
                published, ours = 1 - one.published / first.published, 1 - one.ours / first.ours
                yield Loss(name, first_gpus, gpus, published, ours, LOSS_TOLERANCE)


def published_rows(name: str = "training.csv") -> list[TrainingRow]:
    """The rows of training steps that come with the package; those of unfitted.csv are shown and nothing is held to them."""
    return parse_rows(files("emulator.experiments.validation").joinpath("published", name).read_text(encoding="utf-8"), name)
