"""Two tenants of 10 GW: what tutoring every student on earth costs research, and the reverse, under three choices.

    python examples/abundant_intelligence.py [HOURS]

prints the table of docs/serving.md: the preset ``abundant-intelligence`` over the hours around the peak of the world's day, two of them, in
this process. It takes some minutes for each choice.
"""

import sys
from contextlib import closing
from dataclasses import dataclass

from emulator.engine.service_settings import REPLICA_FIRST_ID
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import load

GPUS, REPLICA_GPUS = 4_000_000, 64
#: The hour UTC at which most is asked, by the preset's time zones and its peak at 16:00 of each.
PEAK_HOUR_UTC, PEAK_HOUR_LOCAL = 11.5, 16.0
#: GPUs of tutoring's fixed part, and of each one's half.
PART, HALF = GPUS // 4, GPUS // 2
#: That tutoring has at the start, if it may have as many as it asks for: about what it needs then.
PEAK_REPLICAS = 38_000
#: The queues of the generated workload, with what each needs of the GPU time of all of it (``emulator.workload.mix``).
RESEARCH = {"training": 0.9, "evaluation": 0.043, "serving": 0.036, "development": 0.021}
_HALVES = ", ".join(
    [f"{{name: tutoring, priority: 1000, cohort: all, quota: {HALF}, borrowing_limit: 0, preemption: {{reclaim_within_cohort: any}}}}"]
    + [f"{{name: {name}, cohort: all, quota: {round(ratio * HALF)}}}" for name, ratio in RESEARCH.items()]
)
#: What each choice changes in the preset. Within its part, or its half, tutoring has GPUs as soon as it asks; research has all others.
CHOICES = {
    "tutoring first": [f"services.0.replicas={PEAK_REPLICAS}"],
    "research first: a quarter is tutoring's": [
        f"services.0.scaling.max={PART // REPLICA_GPUS}",
        f"services.0.replicas={PART // REPLICA_GPUS}",
    ],
    "a half each, research borrows": [
        "scheduler.preemption=false",
        "scheduler.cohorts=[{name: all}]",
        f"scheduler.queues=[{_HALVES}]",
        f"services.0.scaling.max={HALF // REPLICA_GPUS}",
        f"services.0.replicas={HALF // REPLICA_GPUS}",
    ],
}


@dataclass(frozen=True)
class Outcome:
    """What a choice gives each of the two."""

    attainment_ratio: float
    late_ratio: float  # of the requests that ended: answered, but not within the objectives
    refused_ratio: float  # turned away for good, or not answered in time
    tutoring_gpu_hours: float
    research_gpu_hours: float
    preemptions: int
    watt_hours_per_request: float  # with PUE


def run(settings: list[str], hours: float) -> Outcome:
    """The hours around the peak, by moving the day's peak into their middle."""
    peak = (PEAK_HOUR_LOCAL - PEAK_HOUR_UTC + hours / 2) % 24
    scenario = load(
        "abundant-intelligence", ["runtime.actors=inline", f"clock.until={hours}h", f"services.0.requests.peak_hour={peak}", *settings]
    )
    with closing(open_session(scenario)) as session:
        outcome = session.run_to_end()
    values, jobs = summary(outcome), outcome.jobs
    served, asked = jobs.job_id >= REPLICA_FIRST_ID, values["inference"]
    refused = asked["rejected"] + asked["timed_out"] + asked["lost"]
    ended = asked["completed"] + refused + asked["too_long"]
    return Outcome(
        attainment_ratio=asked["slo_attainment_ratio"],
        late_ratio=asked["completed"] / ended - asked["slo_attainment_ratio"],
        refused_ratio=refused / ended,
        tutoring_gpu_hours=float(jobs.gpu_seconds[served].sum()) / 3600,
        research_gpu_hours=float(jobs.gpu_seconds[~served].sum()) / 3600,
        preemptions=values["jobs"]["preemptions"],
        watt_hours_per_request=asked["joules_per_request"] * scenario.power.pue / 3600,
    )


def main() -> None:
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    print("| choice | within objectives | late | turned away | GPU hours of tutoring | of research | research preempted | Wh a request |")
    print("|---|---|---|---|---|---|---|---|")
    for name, settings in CHOICES.items():
        found = run(settings, hours)
        ratios = f"{found.attainment_ratio:.1%} | {found.late_ratio:.1%} | {found.refused_ratio:.1%}"
        hours_held = f"{found.tutoring_gpu_hours:,.0f} | {found.research_gpu_hours:,.0f}"
        print(f"| {name} | {ratios} | {hours_held} | {found.preemptions:,} | {found.watt_hours_per_request:.2f} |", flush=True)


if __name__ == "__main__":
    main()
