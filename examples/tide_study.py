"""A day on which serving and training trade GPUs, against the same day on a machine that is divided between them.

    python examples/tide_study.py [PICTURE.png]

prints the table of docs/serving.md and draws its picture. It takes some ten minutes. A part that is as large as serving needs at its peak
keeps its objectives and leaves GPUs idle at night; one that is as large as it needs in the mean does neither. All have the same scaling.
"""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.engine.service_settings import REPLICA_FIRST_ID
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import load
from emulator.workload.jobs import SECOND

GPUS = 100_000
#: Of the generated workload (``emulator.workload.mix``).
QUEUES = ("training", "evaluation", "serving", "development", "default")


@dataclass(frozen=True)
class Day:
    """``serving`` and ``training`` are GPUs held, by minute."""

    attainment_ratio: float
    allocation_ratio: float
    p99_ttft_seconds: float
    training_gpu_hours: float
    preemptions: int
    joules_per_request: float
    serving: NDArray[np.int64]
    training: NDArray[np.int64]


#: GPUs of serving's part, from what it holds over the day when it may have all that it wants.
PARTS: dict[str, Callable[[NDArray[np.int64]], float] | None] = {
    "traded": None,
    "divided at the mean": lambda held: float(held.mean()),
    "divided at the peak": lambda held: float(np.quantile(held, 0.99)),
}


def run(part_gpus: int | None) -> Day:
    """The preset ``tide``, in this process; ``part_gpus``: that serving has, and training the others, whatever happens."""
    settings = ["runtime.actors=inline"]
    if part_gpus is not None:
        theirs = ", ".join([f"{{name: {name}, cohort: others, quota: 0}}" for name in QUEUES])
        settings += ["scheduler.preemption=false", f"scheduler.cohorts=[{{name: others, quota: {GPUS - part_gpus}}}]"]
        settings += [f"scheduler.queues=[{{name: services, quota: {part_gpus}}}, {theirs}]", f"services.0.scaling.max={part_gpus // 4}"]
        settings += [f"services.0.replicas={min(10_000, part_gpus // 4)}"]
    with closing(open_session(load("tide", settings))) as session:
        outcome = session.run_to_end()
    values, jobs = summary(outcome), outcome.jobs
    served, minutes = jobs.job_id >= REPLICA_FIRST_ID, np.arange(0, 24 * 60) * 60 * SECOND
    begins, ends = jobs.start_ns[served], np.where(jobs.end_ns[served] < 0, outcome.emulated_ns, jobs.end_ns[served])
    serving = 4 * ((begins[:, None] <= minutes) & (begins[:, None] >= 0) & (minutes < ends[:, None])).sum(axis=0)
    busy = np.interp(minutes / SECOND, outcome.timeline.time_seconds, outcome.timeline.gpus_busy)
    return Day(
        attainment_ratio=values["inference"]["slo_attainment_ratio"],
        allocation_ratio=values["gpu_allocation_ratio"],
        p99_ttft_seconds=values["inference"]["ttft_seconds"]["p99"],
        training_gpu_hours=float(jobs.gpu_seconds[~served].sum()) / 3600,
        preemptions=values["jobs"]["preemptions"],
        joules_per_request=values["inference"]["joules_per_request"],
        serving=serving,
        training=busy.astype(np.int64) - serving,
    )


def draw(days: dict[str, Day], path: str) -> None:
    """GPUs of serving and training over the day."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(days), figsize=(11, 3.2), sharey=True, layout="constrained")
    hours = np.arange(24 * 60) / 60
    for axis, (name, day) in zip(axes, days.items(), strict=True):
        axis.stackplot(hours, day.serving / 1000, day.training / 1000, labels=("serving", "training"), colors=("#d1622b", "#3d6d99"))
        axis.set_title(f"{name}\n{day.attainment_ratio:.1%} within objectives, {day.allocation_ratio:.1%} allocated", fontsize=9)
        axis.set(xlim=(0, 24), ylim=(0, 100), xlabel="hour", xticks=range(0, 25, 6))
    axes[0].set_ylabel("thousand GPUs")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    days: dict[str, Day] = {}
    print("| machine | within objectives | GPUs allocated | p99 of TTFT, s | GPU hours of training | preemptions | J a request |")
    print("|---|---|---|---|---|---|---|")
    for name, part_of in PARTS.items():
        part_gpus = None if part_of is None else round(part_of(days["traded"].serving) / 100) * 100
        day = days[name] = run(part_gpus)
        part = "" if part_gpus is None else f" ({part_gpus:,} GPUs)"
        print(
            f"| {name}{part} | {day.attainment_ratio:.2%} | {day.allocation_ratio:.1%} | {day.p99_ttft_seconds:.2f} | "
            f"{day.training_gpu_hours:,.0f} | {day.preemptions:,} | {day.joules_per_request:.0f} |",
            flush=True,
        )
    if len(sys.argv) > 1:
        draw(days, sys.argv[1])


if __name__ == "__main__":
    main()
