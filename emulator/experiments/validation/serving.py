"""Published rows of serving beside ours: closed loops as InferenceMAX runs them, and throughput when there is always work.

Rows of a closed loop are held to quantiles: single points of a sweep differ by the luck of a run. A sweep saturates at the first
concurrency whose time to the first token is more than three times that of the one before; from there on that time is the length of a
queue, so such rows are compared by their throughput alone.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, uniform
from emulator.experiments.validation.compare import NETWORK_RATIO, Comparison, Quantiles, Row, Sweep
from emulator.experiments.validation.fields import host_of
from emulator.experiments.validation.serving_rows import ServingRow, parse_serving_rows
from emulator.power.clocks import FULL
from emulator.racks.pool import Pool, asks_of
from emulator.racks.pool_layout import NEVER_PS
from emulator.racks.pool_records import EndedRequests, PoolSettings, ReplicaLimits
from emulator.racks.step_tables import StepTables
from emulator.workload.serving.costs import PS, ReplicaSteps, ServingPlan, fabric_bytes, kv_room
from emulator.workload.serving.stacks import RESERVING, Stack, stack_of
from emulator.workload.training import MODELS
from topology.catalog import GPUS

Int64 = NDArray[np.int64]
#: The protocol of the rows: lengths are uniform from 0.8 of the longest on, and there are ten requests for each place of the loop.
SHORTEST_RATIO, REQUESTS_A_PLACE = 0.8, 10
#: Tokens of a step and requests at a time: vLLM's defaults on large GPUs.
BUDGET, SEATS = 8192, 1024
#: Requests of a run for throughput, many enough that its beginning and end weigh little, and the seed of the lengths.
OFFLINE_REQUESTS, SEED = 2000, 1
#: A sweep saturates where the time to the first token grows by more than this.
SATURATION_RATIO = 3.0
#: Bars on the median and the 90th percentile of the errors: on the rows that come with the package, and on others.
OUTPUT = "output tokens/s"
GIVEN_BARS = {"TTFT": (0.10, 0.30), "TPOT": (0.04, 0.12), OUTPUT: (0.06, 0.16)}
OTHER_BARS = {"TTFT": (0.16, 0.40), "TPOT": (0.06, 0.20), OUTPUT: (0.06, 0.16)}
THROUGHPUT_TOLERANCE = 0.20


@dataclass(frozen=True)
class Served:
    """Means over the requests of a run."""

    ttft_seconds: float
    tpot_seconds: float


def served(row: ServingRow, stack: Stack | None = None) -> Served:
    """Ours for a row: the loop that its source ran, on one replica."""
    stack = stack or stack_of(row.gpu, row.precision, row.engine, mixture=MODELS[row.model].experts > 0)
    count = REQUESTS_A_PLACE * row.concurrency
    inputs, outputs = (_lengths(longest, count, place) for place, longest in enumerate((row.input_tokens, row.output_tokens)))
    steps = _steps(row, stack)
    ended = _ended(row, stack, steps, inputs, outputs, users=row.concurrency)
    order = np.argsort(ended.number)
    fill = steps.costs(FULL).fill_ps(inputs)
    ttft = float(((ended.first_ps - ended.arrival_ps)[order] + fill).mean()) / PS + stack.front_end_seconds
    later = np.maximum(outputs - 1, 1)
    return Served(ttft, float(((ended.done_ps - ended.first_ps)[order] / later).mean()) / PS)


def _lengths(longest: int, count: int, place: int) -> Int64:
    least = max(1, int(SHORTEST_RATIO * longest))
    drawn = uniform(SEED, Stream.REQUEST_LENGTH, np.full(count, place), np.arange(count))
    lengths: Int64 = least + (drawn * (longest - least + 1)).astype(np.int64)
    return lengths


def _steps(row: "ServingRow | Throughput", stack: Stack) -> StepTables:
    return StepTables(ReplicaSteps(MODELS[row.model], GPUS[row.gpu], row.precision, row.plan, stack, BUDGET))


def _ended(row: "ServingRow | Throughput", stack: Stack, steps: StepTables, inputs: Int64, outputs: Int64, *, users: int) -> EndedRequests:
    """The requests, served by one replica to so many users at a time."""
    model, gpu = MODELS[row.model], GPUS[row.gpu]
    room = kv_room(model, gpu, row.precision, row.plan, stack.kv_precision)
    limits = ReplicaLimits(BUDGET, SEATS, room.blocks, reserves=row.engine in RESERVING)
    pool = Pool(steps, limits, PoolSettings(), asks=asks_of(inputs, outputs))
    pool.open(0)
    if row.plan.domains > 1:
        crossing = fabric_bytes(model, row.precision, row.plan) / (NETWORK_RATIO * host_of(row.gpu).lane_bytes_per_second)
        pool.set_pace(0, 0, FULL, round(crossing * PS))
    pool.set_users(users, 0)
    pool.advance(NEVER_PS)
    return pool.take_ended()


def compare_serving(rows: Sequence[ServingRow], bars: dict[str, tuple[float, float]] | None = None) -> Comparison:
    """Each row's times and throughput, the quantiles of their errors, and where each sweep saturates."""
    bars = bars or OTHER_BARS
    compared: dict[str, list[Row]] = {quantity: [] for quantity in bars}
    ours = {row.id: served(row) for row in rows}
    unsaturated, sweeps = set[str](), []
    for _, members in groupby(sorted(rows, key=lambda row: (repr(row.sweep), row.concurrency)), key=lambda row: row.sweep):
        sweep = list(members)
        published = _saturates([row.ttft_seconds for row in sweep])
        sweeps.append(
            Sweep(_name(sweep[0]).rpartition(" at ")[0], len(sweep), published, _saturates([ours[row.id].ttft_seconds for row in sweep]))
        )
        unsaturated |= {row.id for row in sweep[:published]}
    for row in rows:
        one, what = ours[row.id], _name(row)
        if row.id in unsaturated:
            compared["TTFT"].append(Row(row.id, "TTFT, ms", 1000 * row.ttft_seconds, 1000 * one.ttft_seconds, bars["TTFT"][1], what, True))
            compared["TPOT"].append(Row(row.id, "TPOT, ms", 1000 * row.tpot_seconds, 1000 * one.tpot_seconds, bars["TPOT"][1], what, True))
        rates = _rate(row, row.ttft_seconds, row.tpot_seconds), _rate(row, one.ttft_seconds, one.tpot_seconds)
        compared[OUTPUT].append(Row(row.id, OUTPUT, *rates, bars[OUTPUT][1], what, True))
    quantiles = tuple(Quantiles.of(quantity, found, *bars[quantity]) for quantity, found in compared.items() if found)
    return Comparison(tuple(row for found in compared.values() for row in found), (), quantiles, tuple(sweeps))


def _rate(row: ServingRow, ttft_seconds: float, tpot_seconds: float) -> float:
    """Output tokens per second of a closed loop: what a request brings over the time that it takes a place."""
    tokens = (1.0 + SHORTEST_RATIO) / 2.0 * row.output_tokens
    return row.concurrency * tokens / (ttft_seconds + (tokens - 1.0) * tpot_seconds)


def _saturates(ttft_seconds: Sequence[float]) -> int:
    """Place of the first row of a sweep that is saturated; their number where none is."""
    steps = range(1, len(ttft_seconds))
    return next((step for step in steps if ttft_seconds[step] > SATURATION_RATIO * ttft_seconds[step - 1]), len(ttft_seconds))


def _name(row: ServingRow) -> str:
    gpu = row.gpu.partition("-")[0]
    lengths = f"{row.input_tokens}/{row.output_tokens}"
    return f"{row.model} {row.precision} on {row.plan.gpus} {gpu}, {row.engine}, {lengths} at {row.concurrency}"


@cache
def published_serving() -> tuple[ServingRow, ...]:
    """The rows that come with the package (InferenceMAX, as kept in NVIDIA's aiconfigurator, Apache-2.0)."""
    name = "serving.csv"
    return tuple(parse_serving_rows(_text(name), name))


def compare_published_serving() -> Comparison:
    """The closed loops that come with the package."""
    return compare_serving(published_serving(), GIVEN_BARS)


@dataclass(frozen=True)
class Throughput:
    """A row of serving_throughput.csv: output tokens per second of ``gpus`` with always enough to do."""

    id: str
    model: str
    gpu: str
    gpus: int
    precision: str
    engine: str
    plan: ServingPlan
    input_tokens: int
    output_tokens: int
    tokens_per_second: float
    source: str


@cache
def published_throughput() -> tuple[Throughput, ...]:
    """The rows of serving_throughput.csv."""
    return tuple(
        Throughput(
            row["id"], row["model"], row["gpu"], int(row["gpus"]), row["precision"], row["engine"], ServingPlan(int(row["tp"])),
            int(row["isl"]), int(row["osl"]), float(row["output_tokens_per_second"]), row["source"],
        )
        for row in csv.DictReader(_text("serving_throughput.csv").splitlines())
    )  # fmt: skip


def throughput(row: Throughput, stack: Stack | None = None) -> float:
    """Ours for a row: requests of one length that are all there at the start, until the last one is done."""
    stack = stack or stack_of(row.gpu, row.precision, row.engine, mixture=MODELS[row.model].experts > 0)
    inputs, outputs = (np.full(OFFLINE_REQUESTS, value, np.int64) for value in (row.input_tokens, row.output_tokens))
    ended = _ended(row, stack, _steps(row, stack), inputs, outputs, users=OFFLINE_REQUESTS)
    return OFFLINE_REQUESTS * row.output_tokens / (int(ended.done_ps.max()) / PS) * row.gpus / row.plan.gpus


def compare_throughput() -> Iterable[Row]:
    """Rows of throughput, each with its own bar."""
    for row in published_throughput():
        yield Row(row.id, OUTPUT, row.tokens_per_second, throughput(row), THROUGHPUT_TOLERANCE, row.source)


def _text(name: str) -> str:
    return files("emulator.experiments.validation").joinpath("published", name).read_text(encoding="utf-8")
