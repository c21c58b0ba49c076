"""Where the GPU time of a run went: every GPU second in service, by phase of a job's life, idle or down."""

from collections.abc import Iterable

from emulator.engine.meter import Meter
from emulator.jobs.life import IDLE_PHASES
from emulator.scheduler.table import JobTable, State

#: What a job does while it holds GPUs, in the order in which it is shown.
HELD = ("productive", "network_wait", "power_wait", "redone", *(phase.name.lower() for phase in IDLE_PHASES))
PHASES = (*HELD, "idle", "down")


def job_time(table: JobTable, slot: int, at_ns: int) -> tuple[int, ...]:
    """How long the job has held its GPUs up to ``at_ns``, by ``HELD``, in nanoseconds. For a running job that is its present or later, but
    before anything happens to it.
    """
    lives = table.lives
    work, lost, held, power = lives.work_ns[slot], lives.lost_ns[slot], lives.run_ns[slot], lives.power_wait_ns[slot]
    idle = [column[slot] for column in lives.spent_ns.values()]
    if table.state[slot] == State.RUNNING:
        passage = lives.passage(slot, at_ns - lives.since_ns[slot])[0]
        held += at_ns - table.start_ns[slot]
        work += passage.work_ns
        power += passage.power_wait_ns
        idle = [before + more for before, more in zip(idle, lives.idle_ns(slot, passage), strict=True)]
    working = held - sum(idle)
    return work - lost, working - work - power, power, lost, *idle


def good_ns(time: tuple[int, ...]) -> int:
    """Of a ``job_time``, what was of use: work that lasted, and what it took longer for want of network or power."""
    return time[0] + time[1] + time[2]


def held_time(table: JobTable, slots: Iterable[int], now_ns: int) -> tuple[int, ...]:
    """Milli-GPU nanoseconds from 0 to ``now_ns`` of the jobs in ``slots``, by ``HELD``."""
    held = [0] * len(HELD)
    for slot in slots:
        milli_gpus = table.size_gpus[slot] * table.milli_gpus[slot]
        for place, time_ns in enumerate(job_time(table, slot, now_ns)):
            held[place] += milli_gpus * time_ns
    return tuple(held)


def gpu_seconds(held: Iterable[int], meter: Meter, now_ns: int) -> dict[str, float]:
    """GPU seconds from 0 to ``now_ns`` by ``PHASES``; together they are those of the GPUs in service. ``held``: ``held_time`` of all jobs.

    Of the time that jobs held GPUs, *productive* is work that lasted and *redone* work that had to be done again or was never saved,
    both as long as they take when nothing slows the job; *network_wait* is what they took longer than that, and *power_wait* what they
    took longer since a cap on power lowered the clock; *starting* and *restarting*
    passed before work went on. In *checkpoint* a job stood still for one to be written, in *stalled* for want of any network, and in
    *detecting* after a fault that nobody had noticed yet, and in *paused* for want of power. *Down* are GPUs of broken hosts; *idle* are
    all others that no job held: free, cordoned, or the unused part of a shared GPU.
    """
    down = 1000 * meter.down_gpus.until(now_ns)
    idle = 1000 * meter.installed_gpus.until(now_ns) - meter.held_milli_gpus.until(now_ns) - down
    return {phase: amount / 1e12 for phase, amount in zip(PHASES, (*held, idle, down), strict=True)}
