"""What models cost: a day of Colossus with what becomes of jobs, and with faults and power too, against the same day with fixed durations.

CPU time of the run after start-up, in-process, median of three processes each.
"""

from collections.abc import Callable
from statistics import median

from tests.benchmarks.clocks import in_process_of_its_own
from tests.every_model import EVERY_MODEL, LIVES

#: Jobs start at once, save for nothing, and nothing breaks.
FIXED = ("jobs.start_up=none", "jobs.detection=none", "jobs.restart=overhead", "jobs.checkpoint.writing=free", "faults.enabled=false")
#: Without it 130 MW are drawn; with it the clock of all 3,400 running jobs changes 111 times.
BINDING = ("power.cap=110MW",)
MOST_RATIO, MOST_SECONDS = 1.5, 8.0


def test_every_model_of_a_life_on(row: Callable[..., None]) -> None:
    days = {"fixed durations": FIXED, "defaults": (), "lives": LIVES, "every model": EVERY_MODEL, "a cap that binds": BINDING}
    seconds: dict[str, list[float]] = {name: [] for name in days}
    for _ in range(3):
        for name, overrides in days.items():
            seconds[name].append(in_process_of_its_own("cost_of_events", "colossus", *overrides)["cpu_seconds"])
    fixed = median(seconds["fixed durations"])
    for name, measured in seconds.items():
        row("A day of colossus", models=name, run_cpu_s=median(measured), ratio=median(measured) / fixed, most=MOST_RATIO)
    for name in ("lives", "every model"):
        assert median(seconds[name]) <= MOST_RATIO * fixed
    assert median(seconds["every model"]) <= MOST_SECONDS
