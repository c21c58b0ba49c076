"""Jobs of an engine's table as columns, and the columns of all jobs together: the same for jobs that leave the table and for those that are
there at the end, so an outcome does not show when a job has left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.engine import views
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import good_ns, job_time
from emulator.engine.job_energy import job_done, job_joules, job_tokens
from emulator.engine.moments import slowdown
from emulator.fabric.traffic import ranges
from emulator.report.outcome import PLACEMENT_LEVELS, STATES, JobTable
from emulator.report.spool import Columns
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.free import mask_bits
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from topology.describe import hostlist

_LEVELS = {"": -1} | {name: number for number, name in enumerate(PLACEMENT_LEVELS)}
_STATES = [STATES.index(views.STATES[state]) for state in State]
#: Columns of ``rows_of`` that are columns of the table of the engine, and how they are kept.
_PLAIN = {
    "job_id": ("job_id", np.int64), "gpus": ("gpus", np.int32), "queue": ("queue", np.int32), "tenant": ("tenant", np.int32),
    "priority": ("priority", np.int32), "host_type": ("host_type", np.int8), "estimate_ns": ("estimate_ns", np.int64),
    "source_row": ("source_row", np.int64), "kind": ("kind", np.int8), "submit_ns": ("submit_ns", np.int64),
    "start_ns": ("first_start_ns", np.int64), "end_ns": ("end_ns", np.int64), "preemptions": ("preemptions", np.int32),
    "restarts": ("restarts", np.int32),
}  # fmt: skip
#: Columns with any number of entries a job; the named column says how many.
_RAGGED = {"block": "placement_rows", "host_mask": "placement_rows", "gpu_mask": "placement_rows", "name": "name_bytes"}


@dataclass
class Reasons:
    """The sentences of how jobs ended, each once."""

    numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        """Of a sentence; -1 for none."""
        return self.numbers.setdefault(text, len(self.numbers)) if text else -1


class Jobs(NamedTuple):
    """All jobs of a run, by id."""

    table: JobTable
    model_flops: NDArray[np.float64]  # of the steps that lasted, shape (jobs,)
    placement_start: NDArray[np.int64]  # (jobs + 1,) into the placement rows
    block: NDArray[np.int32]
    host_mask: NDArray[np.uint64]
    gpu_mask: NDArray[np.uint64]
    peak_ratio: NDArray[np.float64]  # dense peak of the precision that it trains in over that of bf16, shape (jobs,)


def rows_of(engine: Engine, slots: Sequence[int], reasons: Reasons) -> Columns:
    """The jobs in ``slots`` as they stand, as columns of one entry a job, in this order; some have any number of entries (``_RAGGED``)."""
    table = engine.table
    size = np.array([table.size_gpus[slot] * table.milli_gpus[slot] / 1000 for slot in slots])
    times = [job_time(table, slot, engine.now_ns) for slot in slots]
    ran = np.array([sum(time) for time in times], dtype=np.int64)
    lost = np.array([sum(time) - good_ns(time) for time in times], dtype=np.int64)
    rows = [table.rows[slot] for slot in slots]
    flat = [row for placement in rows for row in placement]
    names = [table.names.get(slot, "").encode() for slot in slots] if table.names else [b""] * len(slots)
    columns: Columns = {}
    for name, (source, dtype) in _PLAIN.items():
        column = getattr(table, source)
        columns[name] = np.array([column[slot] for slot in slots], dtype=dtype)
    return columns | {
        "deadline_ns": np.array([table.deadline_ns.get(slot, NO_DEADLINE) for slot in slots], dtype=np.int64)
        if table.deadline_ns
        else np.full(len(slots), NO_DEADLINE, dtype=np.int64),
        "state": np.array([_STATES[table.state[slot]] for slot in slots], dtype=np.int8),
        "reason": np.array([reasons.number(_reason(engine, slot)) for slot in slots], dtype=np.int32),
        "ran_ns": ran,
        "min_gpus": np.array([table.least_gpus(slot) for slot in slots], dtype=np.int32),
        "gpu_seconds": size * ran / SECOND,
        "energy_joules": np.array(
            [job_joules(engine, slot, held_ns, engine.now_ns) for slot, held_ns in zip(slots, ran.tolist(), strict=True)], dtype=np.float64
        ),
        "tokens": np.array([job_tokens(engine, slot, time[0]) for slot, time in zip(slots, times, strict=True)], dtype=np.float64),
        "lost_gpu_seconds": size * lost / SECOND,
        "placement_level": np.array([_LEVELS[views.placement_level(engine.cluster, placement)] for placement in rows], dtype=np.int8),
        "network_slowdown_ratio": np.array([slowdown(engine, slot, engine.now_ns) for slot in slots], dtype=np.float64),
        "model_flops": _model_flops(engine, slots),
        "peak_ratio": np.array([_peak_ratio(engine, slot) for slot in slots], dtype=np.float64),
        "placement_rows": np.array([len(placement) for placement in rows], dtype=np.int32),
        "block": np.array([row[0] for row in flat], dtype=np.int32),
        "host_mask": np.array([row[1] for row in flat], dtype=np.uint64),
        "gpu_mask": np.array([row[2] for row in flat], dtype=np.uint64),
        "name_bytes": np.array([len(name) for name in names], dtype=np.int32),
        "name": np.array(bytearray(b"".join(names)), dtype=np.uint8),
    }


def all_jobs(engine: Engine, chunks: Iterable[Columns], reasons: Reasons) -> Jobs:
    """Every job of ``chunks``, which ``rows_of`` made, by id."""
    parts = list(chunks)
    columns: Columns = {}
    for name in list(parts[0]):  # one after the other, so that little is there twice
        columns[name] = np.concatenate([part.pop(name) for part in parts])
    order = np.argsort(columns["job_id"], kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        for name, lengths in _RAGGED.items():
            end = np.cumsum(columns[lengths], dtype=np.int64)
            columns[name] = columns[name][ranges((end - columns[lengths])[order], end[order])[0]]
        for name in columns.keys() - _RAGGED.keys():
            columns[name] = columns[name][order]
    start, name_start = (_starts(columns.pop(lengths)) for lengths in ("placement_rows", "name_bytes"))
    others = ("model_flops", "peak_ratio", "block", "host_mask", "gpu_mask")
    flops, ratio, block, host_mask, gpu_mask = (columns.pop(name) for name in others)
    table = JobTable(
        **{name: column for name, column in columns.items() if name != "name"},
        queues=tuple(engine.table.queues),
        tenants=tuple(engine.table.tenants),
        reasons=tuple(reasons.numbers),
        gpu_types=tuple(host_type.gpu.name for host_type in engine.cluster.host_types),
        hosts=lambda: _hosts(engine, start, block, host_mask),
        names=_texts(columns["name"], name_start),
    )
    return Jobs(table, flops, start, block, host_mask, gpu_mask, ratio)


def _starts(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    start = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=start[1:])
    return start


def _texts(letters: NDArray[np.uint8], start: NDArray[np.int64]) -> tuple[str, ...] | None:
    """The pieces of UTF-8 text between these places; None where all are empty."""
    if not len(letters):
        return None
    text, places = letters.tobytes(), start.tolist()
    return tuple(text[first:end].decode() for first, end in pairwise(places))


def _hosts(engine: Engine, start: NDArray[np.int64], block: NDArray[np.int32], host_mask: NDArray[np.uint64]) -> tuple[str, ...]:
    """Hostlists of the placements. Jobs come back to the same hosts, so each is written once."""
    first_host = engine.scheduler.ledger.first_host

    @cache
    def listed(blocks: tuple[int, ...], masks: tuple[int, ...]) -> str:
        return hostlist(engine.cluster, (first_host[b] + bit for b, mask in zip(blocks, masks, strict=True) for bit in mask_bits(mask)))

    places, blocks, masks = start.tolist(), block.tolist(), host_mask.tolist()
    return tuple(listed(tuple(blocks[a:b]), tuple(masks[a:b])) for a, b in pairwise(places))


def _reason(engine: Engine, slot: int) -> str:
    """How a job ended; a pending one's reason is general, since what keeps each of a long queue costs a walk through it."""
    state = engine.table.state[slot]
    return "waiting at the end of the run" if state == State.PENDING else views.reason(engine, slot, state)


def _peak_ratio(engine: Engine, slot: int) -> float:
    shape = engine.table.shape[slot]
    return engine.table.shapes[shape].peak_ratio if shape >= 0 else 1.0


def _model_flops(engine: Engine, slots: Sequence[int]) -> NDArray[np.float64]:
    """FLOPs of the steps that lasted."""
    table, lives = engine.table, engine.table.lives
    return np.array(
        [
            job_done(engine, slot, lives.work_ns[slot] - lives.lost_ns[slot], table.shapes[table.shape[slot]].model_flops)
            if table.shape[slot] >= 0
            else 0.0
            for slot in slots
        ],
        dtype=np.float64,
    )
