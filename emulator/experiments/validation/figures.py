"""All published figures: steps, MFU of papers, the closed forms of faults, power and water, serving."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from emulator.experiments.validation.compare import NETWORK_RATIO, Comparison, Loss, Row, compare_training, published_rows
from emulator.experiments.validation.fields import host_of
from emulator.experiments.validation.serving import compare_published_serving, compare_throughput
from emulator.jobs.ettr import expected_ettr, mttf
from emulator.power.facility import water_litres
from emulator.racks.power import component_watts
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.workload.training import MODELS, Parallelism, step_flops, step_seconds, training_shape
from topology.catalog import GPUS, HOSTS

#: MegaScale's software, as how much faster it computes than the kernels that are fitted on Megatron-LM's rows of 2021: FIT.
MEGASCALE_STACK_RATIO = 1.135
#: The stack's data parallelism is taken as visible: the step's constant part in MegaScale's rows, 1.0 s, is that of the whole reduction.
MEGASCALE_INTERLEAVE = 6
MEGASCALE_TOLERANCE, MEGATRON_TOLERANCE, LLAMA_TOLERANCE = 0.08, 0.08, 0.02
#: Frontier's 9,408 nodes are installed; its 74 cabinets have 128 slots each, 9,472 (glennklockwood.com/garden).
FRONTIER_COOLING_UNITS = 25
LITRES_PER_GALLON = 3.785411784


def compare_all() -> Comparison:
    """Every published figure that comes with the package."""
    training = compare_training(published_rows())
    megascale = list(_megascale())
    serving = compare_published_serving()
    rows = (*_teraflops(), *training.rows, *(row for row, _ in megascale), *_faults(), *_power(), *compare_throughput(), *serving.rows)
    return Comparison(rows, training.losses + tuple(_megascale_losses(megascale)), serving.quantiles, serving.sweeps)


@dataclass(frozen=True)
class Published:
    """A row of teraflops.csv."""

    id: str
    model: str
    gpu: str
    gpus: int
    sequences: int
    plan: Parallelism
    recompute: bool
    overlap: bool
    teraflops: float
    source: str


def published_teraflops() -> list[Published]:
    """The rows of teraflops.csv."""
    found = []
    for row in _table("teraflops.csv"):
        gpus, sequences, tensor, pipeline, virtual = (int(row[name]) for name in ("gpus", "global_batch_sequences", "tp", "pp", "vp"))
        data = gpus // (tensor * pipeline)
        plan = Parallelism(tensor, pipeline, data, sequences // data, interleave=virtual)
        yes = {"yes": True, "no": False}
        found.append(
            Published(
                row["id"],
                row["model"],
                row["gpu"],
                gpus,
                sequences,
                plan,
                yes[row["recompute"]],
                yes[row["overlap"]],
                float(row["teraflops_per_gpu"]),
                row["source"],
            )
        )
    return found


def teraflops(row: Published) -> float:
    """Ours, of one GPU: the operations that the paper counts, recomputation among them, over the step."""
    host = host_of(row.gpu)
    model = MODELS[row.model]
    shape = training_shape(model, row.plan, host.gpu, domain_gpus=host.domain_gpus, recompute=row.recompute, overlap=row.overlap)
    seconds = step_seconds(shape, NETWORK_RATIO * host.lane_bytes_per_second)
    return step_flops(model, row.sequences, recompute=row.recompute) / seconds / row.gpus / 1e12


def _teraflops() -> Iterator[Row]:
    for row in published_teraflops():
        bar = LLAMA_TOLERANCE if row.id == "D2" else MEGATRON_TOLERANCE
        ours = teraflops(row)
        yield Row(row.id, "TFLOP/s/GPU", row.teraflops, ours, bar, row.source)
        if row.id == "D2":
            yield Row("D2-mfu", "MFU", 0.43, ours * 1e12 / GPUS[row.gpu].bf16_flops, bar, row.source)


def megascale_seconds(gpus: int, sequences: int, stack_ratio: float) -> float:
    """A step of MegaScale's 175B on A100, TP 8, PP 8."""
    host, data = HOSTS["hgx-a100"], gpus // 64
    plan = Parallelism(8, 8, data, sequences // data, interleave=MEGASCALE_INTERLEAVE)
    model = MODELS["megascale-175b"]
    shape = training_shape(model, plan, host.gpu, domain_gpus=host.domain_gpus, overlap=False, stack_ratio=stack_ratio)
    return step_seconds(shape, NETWORK_RATIO * host.lane_bytes_per_second)


def published_megascale() -> list[tuple[str, int, int, float, str]]:
    """Id, GPUs, sequences a step, seconds of a step and source of each row."""
    return [
        (row["id"], int(row["gpus"]), int(row["global_batch_sequences"]), float(row["step_seconds"]), row["source"])
        for row in _table("megascale.csv")
    ]


def _megascale() -> Iterator[tuple[Row, int]]:
    for name, gpus, sequences, seconds, source in published_megascale():
        tokens = sequences * MODELS["megascale-175b"].sequence / gpus
        ours = tokens / megascale_seconds(gpus, sequences, MEGASCALE_STACK_RATIO)
        yield Row(name, "tokens/s/GPU", tokens / seconds, ours, MEGASCALE_TOLERANCE, source), gpus


def _megascale_losses(rows: list[tuple[Row, int]]) -> Iterator[Loss]:
    (first, first_gpus), *others = rows[:4]  # of one batch
    for row, gpus in others:
        published, ours = 1 - row.published / first.published, 1 - row.ours / first.ours
        yield Loss("megascale-175b A100 bf16", first_gpus, gpus, published, ours, 0.02)


def _faults() -> Iterator[Row]:
    source = "RSC-1, arXiv 2410.21680: 6.50 faults per 1,000 node-days, 8 GPUs a node"
    hours = mttf(16_384 // 8, 6.50 / 1000 / 24)
    yield Row("D4-mttf", "hours to a fault of 16,384 GPUs", 1.8, hours, 0.02, source)
    yield Row("D4-ettr", "ETTR of 16,384 GPUs, 5 min checkpoints", 0.93, expected_ettr(hours, 5 / 60, 5 / 60), 0.02, source)


def _power() -> Iterator[Row]:
    cluster = build_cluster(load("frontier"))
    links = cluster.links
    idle, peak = component_watts(
        HOSTS["frontier-node"],
        cluster.host_count,
        int(links.switches.sum()),
        float(links.switch_watts.max()),
        FRONTIER_COOLING_UNITS,
    )
    source = "ExaDigiT/RAPS component model of Frontier, arXiv 2410.05133"
    yield Row("D6-idle", "MW of Frontier, idle", 7.28, idle / 1e6, 0.01, source)
    yield Row("D6-peak", "MW of Frontier, peak", 28.20, peak / 1e6, 0.01, source)
    power = load("colossus").power
    litres = water_litres(150e6 * 86_400, power.wue_litres_per_kwh)
    source = "Colossus: 1 million gallons a day (WREG), 150 MW of grid power"
    yield Row("D6-water", "L/day of Colossus at 150 MW", 1e6 * LITRES_PER_GALLON, litres, 0.01, source)


def _table(name: str) -> list[dict[str, str]]:
    text = files("emulator.experiments.validation").joinpath("published", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
