"""Where the GPU time of a run went: every GPU second in service, by phase of a job's life, idle or down."""

from collections.abc import Iterable

from emulator.engine.meter import Meter
from emulator.scheduler.table import JobTable, State

#: Phases, in the order in which they are shown.
PHASES = ("productive", "network_wait", "lost", "restarting", "idle", "down")


def held_time(table: JobTable, slots: Iterable[int], now_ns: int) -> tuple[int, int, int, int]:
    """Milli-GPU nanoseconds from 0 to ``now_ns`` of the jobs in ``slots``, by the first four of ``PHASES``.

    Running jobs must have been brought up to ``now_ns`` (``Runs.progress``), as they are when the engine has finished.
    """
    productive = wait = lost = restarting = 0
    for slot in slots:
        milli_gpus = table.size_gpus[slot] * table.milli_gpus[slot]
        ran = table.run_ns[slot] + (now_ns - table.start_ns[slot] if table.state[slot] == State.RUNNING else 0)
        useful = ran - table.overhead_run_ns[slot]
        productive += milli_gpus * (table.work_ns[slot] - table.lost_ns[slot])
        wait += milli_gpus * (useful - table.work_ns[slot])
        lost += milli_gpus * table.lost_ns[slot]
        restarting += milli_gpus * table.overhead_run_ns[slot]
    return productive, wait, lost, restarting


def gpu_seconds(held: Iterable[int], meter: Meter, now_ns: int) -> dict[str, float]:
    """GPU seconds from 0 to ``now_ns`` by ``PHASES``; together they are those of the GPUs in service. ``held``: ``held_time`` of all jobs.

    Of the time that jobs held GPUs, *restarting* passed before work went on after an interruption; *productive* is work that lasted and
    *lost* work that was redone or never saved, both as long as they take when nothing slows the job; *network_wait* is what they took
    longer than that, standing still included. *Down* are GPUs of broken hosts; *idle* are all others that no job held: free, cordoned, or
    the unused part of a shared GPU.
    """
    down = 1000 * meter.down_gpus.until(now_ns)
    idle = 1000 * meter.installed_gpus.until(now_ns) - meter.held_milli_gpus.until(now_ns) - down
    return {phase: amount / 1e12 for phase, amount in zip(PHASES, (*held, idle, down), strict=True)}
