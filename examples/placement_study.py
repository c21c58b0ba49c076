"""Packed against scattered: the same 64 training jobs on two machines, placed both ways, under each routing.

    python examples/placement_study.py [--out docs/images/placement.svg]

draws the figure of docs/placement.md and prints its table. All 64 jobs fit at once on either machine, start together and contend
with each other alone: nothing differs but where their hosts are and how their packets are routed.
"""

import argparse
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from emulator.report.picture.ink import DIM, INK, RULE, Sheet
from emulator.runtime.opening import open_session
from emulator.scenario import load
from emulator.workload.jobs import SECOND, JobColumns, JobKind, TrainingShape, job_columns
from emulator.workload.training import MODELS, choose_parallelism, training_shape
from topology.catalog import HostType

#: GPUs of the jobs: eight of each size, 32,640 GPUs together, which Frontier's 37,632 hold.
SIZES, OF_EACH = (16, 32, 64, 128, 256, 512, 1024, 2048), 8
#: What the jobs train, in turn: a dense model and a mixture of experts, which fits on either machine from so many GPUs on.
DENSE, MIXTURE, MIXTURE_GPUS = "llama3-8b", "mixtral-8x7b", 64
#: How long a job would run undisturbed, and what is seen of it: none ends, so that all contend all the time.
JOB_HOURS, SEEN_HOURS = 1000, 1
PLACEMENTS = {"topology": "packed", "spread": "scattered"}
ROUTINGS = {"colossus": ("adaptive", "ecmp"), "frontier": ("adaptive", "minimal", "valiant")}
COLOURS = {"adaptive": "#0072b2", "minimal": "#d55e00", "valiant": "#009e73", "ecmp": "#cc79a7"}


@dataclass(frozen=True)
class Result:
    """Slowdowns of one run, by size: the mean and the worst of the jobs; shape (sizes,)."""

    machine: str
    routing: str
    placement: str
    mean: np.ndarray
    worst: np.ndarray


def jobs(host: HostType) -> JobColumns:
    """The 64 jobs, small and large in turn, as this machine's GPUs run them."""
    gpus = np.tile(SIZES, OF_EACH)
    shapes: list[TrainingShape] = []
    shape_of: list[int] = []
    for number, size in enumerate(gpus.tolist()):
        name = MIXTURE if size >= MIXTURE_GPUS and number // len(SIZES) % 2 else DENSE
        plan = choose_parallelism(MODELS[name], size, host.gpu, domain_gpus=host.domain_gpus)
        assert plan is not None
        shape_of.append(len(shapes))
        shapes.append(training_shape(MODELS[name], plan, host.gpu, domain_gpus=host.domain_gpus))
    return job_columns(
        len(gpus),
        submit_ns=0,
        gpus=gpus,
        duration_ns=JOB_HOURS * 3600 * SECOND,
        kind=int(JobKind.TRAINING),
        shape=np.array(shape_of),
        shapes=tuple(shapes),
    )


def run(machine: str, routing: str, placement: str) -> Result:
    """One run, in this process."""
    settings = [
        "workload.kind=none",
        "faults.enabled=false",
        "scheduler.policy=fifo",
        f"scheduler.placement={placement}",
        f"fabric.routing={routing}",
        f"clock.until={SEEN_HOURS}h",
        "runtime.actors=inline",
    ]
    with closing(open_session(load(machine, settings))) as session:
        session.submit(jobs(session.host_type))
        done = session.run_to_end().jobs
    if (done.start_ns != done.start_ns.min()).any() or (done.end_ns >= 0).any():
        raise SystemExit(f"{machine}: not all jobs started together and ran to the end")
    of_size = [done.network_slowdown_ratio[done.gpus == size] for size in SIZES]
    return Result(machine, routing, placement, np.array([part.mean() for part in of_size]), np.array([part.max() for part in of_size]))


def figure(results: list[Result]) -> str:
    """A panel a machine: size against slowdown; packed dashed, scattered whole."""
    sheet, width, height, left, gap = Sheet(), 470.0, 300.0, 62.0, 70.0
    highest = max(float(result.mean.max()) for result in results)
    ticks = [1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 50.0, 80.0]
    ticks = ticks[: 1 + next(place for place, tick in enumerate(ticks) if tick >= highest)]

    def heights(ratio: np.ndarray | float) -> np.ndarray:
        """From the bottom of a panel, on a logarithmic scale."""
        return np.asarray(height * np.log(ratio) / np.log(ticks[-1]))

    total = left + 2 * width + gap + 20
    sheet.text(20, 28, "Packed against scattered: 64 training jobs on two machines", total - 40, size=18, bold=True)
    sheet.text(
        20, 48, "Step time over that of the same job alone under one leaf; mean of eight jobs of a size", total - 40, size=13, colour=DIM
    )
    for panel, machine in enumerate(ROUTINGS):
        x0, y0 = left + panel * (width + gap), 90.0
        sheet.text(x0, y0 - 12, machine, width, size=14, bold=True)
        for tick in ticks:
            y = y0 + height - float(heights(tick))
            sheet.line(x0, y, x0 + width, y, RULE)
            sheet.text(x0 - 8, y + 4, f"{tick:g}x", 50, colour=DIM, anchor="end")
        xs = [x0 + 24 + place * (width - 48) / (len(SIZES) - 1) for place in range(len(SIZES))]
        for x, size in zip(xs, SIZES, strict=True):
            sheet.text(x, y0 + height + 20, f"{size:,}", 56, colour=DIM, anchor="middle")
        sheet.text(x0 + width / 2, y0 + height + 40, "GPUs of the job", width, colour=DIM, anchor="middle")
        for result in results:
            if result.machine == machine:
                points = list(zip(xs, y0 + height - heights(result.mean), strict=True))
                colour, packed = COLOURS[result.routing], result.placement == "topology"
                # Lines that lie on each other stay visible: the later the thinner.
                thick = 2.0 + 1.8 * (len(ROUTINGS[machine]) - 1 - ROUTINGS[machine].index(result.routing))
                for (x1, y1), (x2, y2) in pairwise(points):
                    sheet.line(x1, y1, x2, y2, colour, thick, dashed=packed)
                for x, y in points:
                    sheet.circle(x, y, 1.5 + thick / 2, "#ffffff" if packed else colour, stroke=colour)
        for place, routing in enumerate(ROUTINGS[machine]):
            y = y0 + height + 66 + 20 * place
            for at, (placement, word) in enumerate(PLACEMENTS.items()):
                x = x0 + at * 210
                sheet.line(x, y - 4, x + 34, y - 4, COLOURS[routing], 2.2, dashed=placement == "topology")
                sheet.text(x + 42, y, f"{routing}, {word}", 165, colour=INK)
    return sheet.document(total, 90 + height + 66 + 20 * max(map(len, ROUTINGS.values())) + 6, "Slowdown by job size, packed and scattered")


def table(results: list[Result]) -> str:
    """The same figures in Markdown: mean, and the worst job in parentheses."""
    lines = ["| machine | routing | placement | " + " | ".join(f"{size:,}" for size in SIZES) + " |", "|---" * (3 + len(SIZES)) + "|"]
    for result in results:
        cells = [f"{mean:.3f} ({worst:.3f})" for mean, worst in zip(result.mean, result.worst, strict=True)]
        lines.append(f"| {result.machine} | {result.routing} | {PLACEMENTS[result.placement]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/placement.svg"))
    out = parser.parse_args().out
    results = [run(machine, routing, placement) for machine in ROUTINGS for routing in ROUTINGS[machine] for placement in PLACEMENTS]
    out.write_text(figure(results), encoding="utf-8")
    print(table(results), end="")


if __name__ == "__main__":
    main()
