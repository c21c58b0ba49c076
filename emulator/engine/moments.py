"""A job at one moment, taken down when it changes and cheap to keep; it needs neither the job's slot nor the engine to be shown later."""

from typing import NamedTuple

from emulator.engine.engine import Engine
from emulator.engine.gpu_time import job_time
from emulator.engine.job_energy import job_joules, job_tokens
from emulator.jobs.life import Phase
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.free import Row
from emulator.scheduler.table import State


class Moment(NamedTuple):
    """As in ``JobTable``; times are -1 where there is none yet."""

    job_id: int
    name: str
    queue: str
    tenant: str
    kind: int
    gpus: int
    milli_gpus: int
    priority: int
    submit_ns: int
    require_level: int
    state: State
    reason: str  # why it is pending again or on hold, has failed or was cancelled, or holds its GPUs idle
    start_ns: int
    end_ns: int
    progress_ratio: float
    preemptions: int
    restarts: int
    network_slowdown_ratio: float
    speed_ratio: float
    host_type: int
    types: tuple[int, ...]
    rows: list[Row]
    slice_gpus: int
    slice_level: int
    deadline_ns: int  # NO_DEADLINE where it has none
    min_gpus: int  # 0: it is of one size
    size_gpus: int  # as in JobTable
    reservation: str  # "" where it names none
    phase: str  # jobs.life.Phase; "" while it does not run
    time_ns: tuple[int, ...]  # that it has held its GPUs, by engine.gpu_time.HELD
    energy_joules: float  # engine.job_energy
    tokens: float  # that it trained on, of steps that lasted


#: Of a job that holds GPUs: after a fault, or asked to stop.
_IDLE_FOR_A_REASON = frozenset({Phase.DETECTING, Phase.RESTARTING, Phase.DRAINING})
_SAY_WHY = frozenset({State.PENDING, State.FAILED, State.CANCELLED, State.REJECTED, State.INFEASIBLE})


def moment_of(engine: Engine, slot: int, at_ns: int) -> Moment:
    """The job in ``slot`` as it stands at ``at_ns``, which is now."""
    table = engine.table
    state, duration, lives = table.state[slot], table.duration_ns[slot], table.lives
    running = state == State.RUNNING
    at_ns = max(at_ns, lives.since_ns[slot]) if running else at_ns
    time = job_time(table, slot, at_ns)
    left = lives.remaining_ns[slot] + lives.work_ns[slot] - lives.lost_ns[slot] - time[0]
    return Moment(  # by place: by name it would take twice as long, and there is one for every change of a job
        table.job_id[slot],
        table.names.get(slot, ""),
        table.queues[table.queue[slot]],
        table.tenants[table.tenant[slot]],
        table.kind[slot],
        table.gpus[slot],
        table.milli_gpus[slot],
        table.priority[slot],
        table.submit_ns[slot],
        table.require_level[slot],
        state,
        _why(engine, slot) if state in _SAY_WHY or (running and lives.phase(slot) in _IDLE_FOR_A_REASON) else "",
        table.first_start_ns[slot],
        table.end_ns[slot],
        min(1.0, max(0.0, 1.0 - left / duration)) if left != duration and duration else 0.0,
        table.preemptions[slot],
        table.restarts[slot],
        _slowdown(time) if table.shape[slot] >= 0 else 1.0,
        lives.speed[slot] if running else 0.0,
        table.host_type[slot],
        table.types[slot],
        table.rows[slot],
        table.slice_gpus[slot],
        table.slice_level[slot],
        table.deadline_ns.get(slot, NO_DEADLINE),
        table.least_gpus(slot) if slot in table.sizes else 0,
        table.size_gpus[slot],
        table.reservation.get(slot, ""),
        lives.phase(slot).name.lower() if running else "",
        time,
        job_joules(engine, slot, sum(time), at_ns),
        job_tokens(engine, slot, time[0]),
    )


def _why(engine: Engine, slot: int) -> str:
    return engine.scheduler.why_on_hold(slot).text if slot in engine.table.on_hold else engine.chronicle.reasons.get(slot, "")


def slowdown(engine: Engine, slot: int, at_ns: int) -> float:
    """Working time over what the same work takes when nothing contends; 1 before anything was done."""
    return 1.0 if engine.table.shape[slot] < 0 else _slowdown(job_time(engine.table, slot, at_ns))


def _slowdown(time: tuple[int, ...]) -> float:
    productive, network_wait, _, redone = time[:4]
    work = productive + redone
    return max(1.0, (work + network_wait) / work) if work else 1.0
