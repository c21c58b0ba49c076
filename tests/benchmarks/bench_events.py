"""Cost follows events, not GPUs: the same day of jobs on 100,000 and on 4,000,000 GPUs.

CPU time of the run after start-up, through the public session in-process, median of three processes each. The jobs are the same; on
100,000 GPUs they compete, so that EASY has a queue to look through for part of the day, and on 4,000,000 they do not.
"""

from collections.abc import Callable
from statistics import median
from typing import Any

from tests.benchmarks.clocks import ROOT, in_process_of_its_own

SCENARIOS = ROOT / "tests" / "benchmarks" / "scenarios"
YARDSTICK = "h100-100k"
#: Scenario -> the most CPU time it may take, as a ratio to the yardstick's.
MOST = {"h100-4m": 1.25, "nvl72-55556": 2.0}
MOST_BYTES = 2 * 2**30


def test_cost_follows_events(row: Callable[..., None]) -> None:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in (YARDSTICK, *MOST)}
    for _ in range(3):
        for name, done in runs.items():
            done.append(in_process_of_its_own("cost_of_events", SCENARIOS / f"{name}.yaml"))
    seconds = {name: median(run["cpu_seconds"] for run in done) for name, done in runs.items()}
    peaks = {name: max(run["peak_bytes"] for run in done) for name, done in runs.items()}
    for name, done in runs.items():
        row(
            "Cost follows events",
            scenario=name,
            gpus=f"{done[0]['gpus']:,}",
            jobs=f"{done[0]['jobs']:,}",
            events=f"{done[0]['events']:,}",
            run_cpu_s=seconds[name],
            ratio=seconds[name] / seconds[YARDSTICK],
            most=MOST.get(name, 1.0),
            startup_cpu_s=median(run["startup_seconds"] for run in done),
            peak_GiB=peaks[name] / 2**30,
        )
    assert {done[0]["jobs"] for done in runs.values()} == {runs[YARDSTICK][0]["jobs"]}
    assert max(peaks.values()) <= MOST_BYTES
    for name, most in MOST.items():
        assert seconds[name] <= most * seconds[YARDSTICK], name
