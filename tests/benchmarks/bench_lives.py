"""What the life of a job costs: a day of Colossus with every model of it on, against the same day with fixed durations.

CPU time of the run after start-up, in-process, median of three processes each.
"""

from collections.abc import Callable
from statistics import median

from tests.benchmarks.clocks import in_process_of_its_own

#: Jobs start at once, save for nothing, and nothing breaks.
FIXED = ("jobs.start_up=none", "jobs.detection=none", "jobs.restart=overhead", "jobs.checkpoint.writing=free", "faults.enabled=false")
EVERY_MODEL = (
    *("jobs.recovery=spares", "jobs.spares=4", "jobs.grace_period=2m", "jobs.requeue_backoff.initial=30s", "jobs.time_limit=estimate"),
    *("jobs.checkpoint.interval=daly", "workload.generated.checkpoint=daly", "jobs.checkpoint.writing=asynchronous"),
    *("jobs.stragglers.host_spread=0.004", "jobs.stragglers.stall_ratio=0.02", "jobs.stragglers.fail_slow=drawn"),
)
MOST_RATIO, MOST_SECONDS = 1.5, 8.0


def test_every_model_of_a_life_on(row: Callable[..., None]) -> None:
    days = {"fixed durations": FIXED, "defaults": (), "every model": EVERY_MODEL}
    seconds: dict[str, list[float]] = {name: [] for name in days}
    for _ in range(3):
        for name, overrides in days.items():
            seconds[name].append(in_process_of_its_own("cost_of_events", "colossus", *overrides)["cpu_seconds"])
    fixed = median(seconds["fixed durations"])
    for name, measured in seconds.items():
        row("A day of colossus", models=name, run_cpu_s=median(measured), ratio=median(measured) / fixed)
    assert median(seconds["every model"]) <= min(MOST_SECONDS, MOST_RATIO * fixed)
