"""What happened, event by event: the rows of ``events.parquet``. It listens to one engine, from before its first cycle on.

A row is kept as a few numbers and the text of its reason, and rows are put by in chunks, so that a long run takes no more memory.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from emulator.engine import views
from emulator.engine.engine import Engine
from emulator.engine.link_health import Cut
from emulator.jobs.life import Phase
from emulator.racks.faults import CAUSES
from emulator.report.spool import Columns, Spool
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from topology.describe import link_name

#: Kinds of events. Of jobs: a job that is refused as it comes has no ``submitted``; one that is preempted or interrupted waits again,
#: from ``requeued`` on in its queue. One that a fault has stopped, which nobody has noticed, has ``hung``; one that was started again
#: without giving back its GPUs has ``restarted``. Of hosts and trunks: ``fault`` and ``repair``. Of power: a cap begins to lower clocks or
#: to pause jobs (``capped``), and ceases to (``uncapped``).
KINDS = (
    *("submitted", "started", "migrated", "resized", "hung", "restarted", "preempted", "interrupted", "requeued", "held", "released"),
    *("reprioritised", "draining"),
    *("finished", "failed", "cancelled", "infeasible", "rejected", "fault", "repair", "capped", "uncapped"),
)
#: Events that are kept in memory; so many are put by at once.
EVENTS_AT_ONCE = 16_384
#: Trunks that one row names.
TRUNKS_NAMED = 4

_NUMBER = {kind: number for number, kind in enumerate(KINDS)}
_ENDS: dict[State, int] = {
    state: _NUMBER[views.STATES[state].value] for state in State if state not in (State.FUTURE, State.PENDING, State.RUNNING)
}
#: Of jobs that have not ended: those with a reason.
_EXPLAINED = frozenset({"preempted", "interrupted", "resized", "hung", "restarted", "draining"})
_TEXTS = ("element", "reason")


class _Seen(NamedTuple):
    """A job as it was after its last event."""

    state: State
    preemptions: int
    restarts: int
    held: bool
    priority: int
    size_gpus: int
    out: Phase | None  # of a run that is out of its work


class _Row(NamedTuple):
    time_ns: int
    kind: int
    job_id: int  # -1: of no job
    milli_gpus: int  # that the job asks for, or holds where it runs, or that the host has; 0 for trunks
    element: bytes  # the host, or the trunks; b"" for a job
    reason: bytes


class EventLog:
    """Listens to ``engine``, and keeps what it hears in ``spool``."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine, self._spool = engine, spool
        self._rows: list[_Row] = []
        self._seen: dict[int, _Seen] = {}  # by slot, of the jobs that have not ended
        engine.chronicle.on_change = self.note
        engine.chronicle.on_requeue = self.note_requeue
        engine.host_faults.on_host = self.note_host
        engine.links.on_fault = self.note_trunks
        engine.power.on_change = self.note_power

    def note(self, slot: int, at_ns: int) -> None:
        """A job has changed (``Chronicle.on_change``)."""
        engine, table = self._engine, self._engine.table
        state = table.state[slot]
        held = engine.scheduler.room.is_held(slot)
        out = table.lives.out.get(slot)
        now = _Seen(
            state,
            table.preemptions[slot],
            table.restarts[slot],
            held,
            table.priority[slot],
            table.size_gpus[slot],
            out,
        )
        before = self._seen.get(slot)
        kind = _ENDS.get(state, -1)
        if kind >= 0:
            self._seen.pop(slot, None)
            reason = views.reason(engine, slot, state)
        else:
            self._seen[slot] = now
            kind = _NUMBER[_kind(before, now)]
            reason = engine.chronicle.reasons.get(slot, "") if KINDS[kind] in _EXPLAINED else ""
        milli_gpus = (table.size_gpus[slot] if state == State.RUNNING else table.gpus[slot]) * table.milli_gpus[slot]
        self._add(_Row(at_ns, kind, table.job_id[slot], milli_gpus, b"", reason.encode()))

    def note_requeue(self, slot: int, at_ns: int) -> None:
        """A job that was stopped is in its queue again (``Chronicle.on_requeue``)."""
        table = self._engine.table
        self._add(_Row(at_ns, _NUMBER["requeued"], table.job_id[slot], table.gpus[slot] * table.milli_gpus[slot], b"", b""))

    def note_host(self, host: int, at_ns: int, cause: int) -> None:
        """A host broke (``cause``: a place in CAUSES), or is whole again (-1) (``HostFaults.on_host``)."""
        engine = self._engine
        kind, reason = ("repair", "") if cause < 0 else ("fault", CAUSES[cause].name)
        gpus = engine.scheduler.ledger.gpus_of((host,))
        self._add(_Row(at_ns, _NUMBER[kind], -1, 1000 * gpus, engine.cluster.host_name(host).encode(), reason.encode()))

    def note_trunks(self, cuts: Sequence[Cut], at_ns: int, *, down: bool) -> None:
        """A fault of the fabric began or ended (``LinkEvents.on_fault``)."""
        names = list(dict.fromkeys(link_name(self._engine.cluster, cut.link) for cut in cuts))
        more = f" and {len(names) - TRUNKS_NAMED:,} more" if len(names) > TRUNKS_NAMED else ""
        element = f"{', '.join(names[:TRUNKS_NAMED])}{more}"
        self._add(_Row(at_ns, _NUMBER["fault" if down else "repair"], -1, 0, element.encode(), b""))

    def note_power(self, what: str, at_ns: int) -> None:
        """Caps on power begin to act, with what they do, or cease to act ("") (``PowerCaps.on_change``)."""
        self._add(_Row(at_ns, _NUMBER["capped" if what else "uncapped"], -1, 0, b"power", what.encode()))

    def _add(self, row: _Row) -> None:
        self._rows.append(row)
        if len(self._rows) == EVENTS_AT_ONCE:
            self._spool.add("events", _columns(self._rows))
            self._rows.clear()

    def columns(self) -> Columns:
        """All events, in order."""
        chunks = [*self._spool.chunks("events"), _columns(self._rows)]
        return {name: np.concatenate([chunk.pop(name) for chunk in chunks]) for name in list(chunks[-1])}


def _kind(before: _Seen | None, now: _Seen) -> str:
    """What happened to a job that has not ended."""
    if before is None:
        return "submitted"
    if now.priority != before.priority and now.state == before.state:
        return "reprioritised"
    if now.state == State.RUNNING:
        if before.state != State.RUNNING:
            return "started"
        if now.out is not None and now.out != before.out:
            return "draining" if now.out == Phase.DRAINING else "hung"
        if now.size_gpus != before.size_gpus:
            return "resized"
        return "restarted" if now.restarts > before.restarts else "migrated"
    if before.state == State.RUNNING:
        return "preempted" if now.preemptions > before.preemptions else "interrupted"
    return "held" if now.held else "released"


def _columns(rows: Sequence[_Row]) -> Columns:
    """One entry an event; texts end to end, with their lengths."""
    columns: Columns = {
        "time_ns": np.array([row.time_ns for row in rows], dtype=np.int64),
        "kind": np.array([row.kind for row in rows], dtype=np.int8),
        "job_id": np.array([row.job_id for row in rows], dtype=np.int64),
        "milli_gpus": np.array([row.milli_gpus for row in rows], dtype=np.int64),
    }
    for name in _TEXTS:
        texts: list[bytes] = [getattr(row, name) for row in rows]
        columns[f"{name}_bytes"] = np.array([len(text) for text in texts], dtype=np.int32)
        columns[name] = np.array(bytearray(b"".join(texts)), dtype=np.uint8)
    return columns


def events_table(columns: Columns) -> Any:
    """``events.parquet`` as a pyarrow.Table: a row an event, in order, times in seconds from the start; no id of hosts and trunks."""
    import pyarrow as pa

    def texts(name: str) -> Any:
        ends = np.concatenate(([0], np.cumsum(columns[f"{name}_bytes"], dtype=np.int64)))
        letters = columns[name].tobytes()
        return pa.array([letters[first:end].decode() for first, end in pairwise(ends.tolist())], type=pa.string())

    job_id = columns["job_id"]
    kinds = pa.DictionaryArray.from_arrays(pa.array(columns["kind"].astype(np.int32)), pa.array(KINDS)).cast(pa.string())
    return pa.table(
        {
            "time_seconds": pa.array(columns["time_ns"] / SECOND, type=pa.float64()),
            "kind": kinds,
            "job_id": pa.array(job_id, mask=job_id < 0),
            "gpus": pa.array(columns["milli_gpus"] / 1000),
            "element": texts("element"),
            "reason": texts("reason"),
        }
    )
