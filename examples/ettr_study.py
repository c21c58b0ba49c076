"""How much of its time a job trains, by its size: simulated, and by the two closed forms.

    python examples/ettr_study.py [--out docs/images/ettr.svg]

draws the figure of docs/goodput.md and prints its table. One job runs on a cluster of its own with an eighth of spare hosts, which fail at
the rate of Meta's RSC-1: 6.50 faults per 1,000 hosts and day (Kokolis et al., HPCA'25). A restart takes 5 minutes.
"""

import argparse
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from emulator.jobs.ettr import daly_ettr, daly_interval, expected_ettr, mttf
from emulator.report.picture.ink import DIM, INK, RULE, Sheet
from emulator.runtime.opening import open_session
from emulator.scenario import load
from emulator.workload.jobs import SECOND, job_columns

SIZES = (1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
FAULTS_PER_1000_HOST_DAYS, RESTART_SECONDS, GPUS_PER_HOST, DAY = 6.5, 300.0, 8, 86_400.0
#: What a checkpoint of a job takes, and how often it is written: each hour, as RSC's figure has it, or as often as Daly says.
WRITES = {"every hour, free": 0.0, "Daly's interval, 30 s each": 30.0}
COLOURS = dict(zip(WRITES, ("#0072b2", "#d55e00"), strict=True))
#: Emulated days and seeds of a size: as many interruptions as make the mean good to about a hundredth.
DAYS, SEEDS, FAULTS_SEEN = 54.0, (1, 2, 3), 1_000.0


@dataclass(frozen=True)
class Result:
    """Of one size and way of writing: the mean of the runs and its standard error, and the closed forms."""

    gpus: int
    writing: str
    interval_seconds: float
    simulated: float
    error: float
    small_losses: float
    exact: float


def run(gpus: int, interval_seconds: float, write_seconds: float, days: float, seed: int) -> float:
    """The share of its time that one job trains, in this process. Of its checkpoints only the time matters that they take."""
    writing = "free" if not write_seconds else "blocking"
    settings = [
        f"cluster.hosts={gpus // GPUS_PER_HOST * 9 // 8}",
        "workload.kind=none",
        "scheduler.policy=fifo",
        f"faults.host_rate_per_1000_node_days={FAULTS_PER_1000_HOST_DAYS}",
        "jobs.start_up=none",
        "jobs.restart=overhead",
        "jobs.detection=none",
        f"jobs.restart_overhead={RESTART_SECONDS:.0f}s",
        "jobs.max_restarts=1000000000",
        f"jobs.checkpoint.writing={writing}",
        "jobs.checkpoint.state_per_gpu=1GB",
        f"jobs.checkpoint.gpu_bandwidth={8.0 / (write_seconds or 1.0):.9f}Gbps",
        "jobs.checkpoint.storage_bandwidth=1000000Pbps",
        "clock.cycle=1s",
        f"clock.until={days * 24:.3f}h",
        "telemetry.publish_interval=30d",
        "runtime.actors=inline",
        f"seed={seed}",
    ]
    job = job_columns(1, submit_ns=0, gpus=gpus, duration_ns=round(400 * DAY) * SECOND, checkpoint_ns=round(interval_seconds * SECOND))
    with closing(open_session(load("colossus", settings))) as session:
        session.submit(job)
        spent = session.run_to_end().gpu_seconds
    held = {phase: seconds for phase, seconds in spent.items() if phase not in ("idle", "down")}
    return held["productive"] / (gpus * days * DAY)


def study(gpus: int, writing: str) -> Result:
    write = WRITES[writing]
    to_failure = mttf(gpus / GPUS_PER_HOST, FAULTS_PER_1000_HOST_DAYS / 1000 / DAY)
    interval = daly_interval(to_failure, write) if write else 3_600.0
    days = min(DAYS, max(2.0, FAULTS_SEEN * to_failure / DAY))
    found = np.array([run(gpus, interval, write, days, seed) for seed in SEEDS])
    return Result(
        gpus,
        writing,
        interval,
        float(found.mean()),
        float(found.std(ddof=1) / np.sqrt(len(SEEDS))),
        expected_ettr(to_failure, interval, RESTART_SECONDS, write),
        daly_ettr(to_failure, interval, RESTART_SECONDS, write),
    )


def figure(results: list[Result]) -> str:
    """Size against the share of the time that trains; a dashed line for small losses, a whole one for Daly's, points for runs."""
    sheet, width, height, left, top = Sheet(), 560.0, 320.0, 62.0, 82.0
    total = left + width + 20
    sheet.text(20, 28, "How much of its time a job trains", total - 40, size=18, bold=True)
    sheet.text(20, 48, "6.50 faults per 1,000 hosts and day, 5 min to restart", total - 40, size=13, colour=DIM)
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        y = top + height * (1.0 - tick)
        sheet.line(left, y, left + width, y, RULE)
        sheet.text(left - 8, y + 4, f"{tick:.0%}", 50, colour=DIM, anchor="end")
    xs = {size: left + 24 + place * (width - 48) / (len(SIZES) - 1) for place, size in enumerate(SIZES)}
    for size, x in xs.items():
        sheet.text(x, top + height + 20, f"{size:,}", 60, colour=DIM, anchor="middle")
    sheet.text(left + width / 2, top + height + 40, "GPUs of the job", width, colour=DIM, anchor="middle")
    for writing, colour in COLOURS.items():
        own = [result for result in results if result.writing == writing]
        for name, dashed in (("small_losses", True), ("exact", False)):
            points = [(xs[result.gpus], top + height * (1.0 - getattr(result, name))) for result in own]
            for (x1, y1), (x2, y2) in pairwise(points):
                sheet.line(x1, y1, x2, y2, colour, 1.8, dashed=dashed)
        for result in own:
            sheet.circle(xs[result.gpus], top + height * (1.0 - result.simulated), 4.0, "#ffffff", stroke=colour)
    for place, (writing, colour) in enumerate(COLOURS.items()):
        y = top + height + 66 + 20 * place
        for at, (word, dashed) in enumerate((("small losses (RSC)", True), ("exact (Daly)", False))):
            sheet.line(left + at * 170, y - 4, left + at * 170 + 30, y - 4, colour, 1.8, dashed=dashed)
            sheet.text(left + at * 170 + 38, y, word, 130, colour=INK)
        sheet.circle(left + 340, y - 4, 4.0, "#ffffff", stroke=colour)
        sheet.text(left + 352, y, writing, 220, colour=INK)
    return sheet.document(total, top + height + 112, "Share of the time that trains, by job size")


def table(results: list[Result]) -> str:
    """The same figures in Markdown."""
    lines = ["| GPUs | checkpoints | interval | simulated | exact (Daly) | small losses (RSC) |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {one.gpus:,} | {one.writing} | {one.interval_seconds:,.0f} s | {one.simulated:.3f} ± {one.error:.3f} | {one.exact:.3f} "
        f"| {one.small_losses:.3f} |"
        for one in results
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/ettr.svg"))
    out = parser.parse_args().out
    results = [study(size, writing) for writing in WRITES for size in SIZES]
    out.write_text(figure(results), encoding="utf-8")
    print(table(results), end="")


if __name__ == "__main__":
    main()
