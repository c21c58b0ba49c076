"""W through our engine and through accasim, under the same policy and the same rule for hosts: jobs per CPU second, as a ratio.

Both read W from an SWF file within the measured time, and both have built their system before it. See ``ours_w`` and ``accasim_w`` for
what each does. The bare heap loop gives the scale: it schedules the same jobs with no hosts at all, from a list in memory.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.clocks import cpu_seconds, in_process_of_its_own
from tests.benchmarks.workload_w import heap_loop, jobs, write_swf

CASES = [
    # jobs, GPUs, offered load, policy, least ratio, rounds of accasim
    (10_000, 1_024, 0.9, "fifo", 2.5, 3),
    (10_000, 1_024, 0.9, "easy", 2.5, 3),
    (10_000, 10_240, 0.9, "fifo", 10.0, 3),
    (10_000, 102_400, 0.9, "fifo", 20.0, 1),
    (20_000, 1_024, 1.1, "fifo", 10.0, 1),
    (20_000, 1_024, 1.1, "easy", 3.0, 1),
]


@pytest.mark.parametrize(("count", "gpus", "load", "policy", "least", "rounds"), CASES)
def test_w(count: int, gpus: int, load: float, policy: str, least: float, rounds: int, tmp_path: Path, row: Callable[..., None]) -> None:
    swf = tmp_path / "w.swf"
    write_swf(swf, count, gpus, load=load)
    ours, theirs = [], []
    for number in range(3):
        ours.append(in_process_of_its_own("ours_w", swf, gpus, policy))
        if number < rounds:
            theirs.append(in_process_of_its_own("accasim_w", swf, gpus, policy, "BestFit"))
    first_fit = in_process_of_its_own("accasim_w", swf, gpus, policy, "FirstFit")["cpu_seconds"]
    own, other = (median(run["cpu_seconds"] for run in runs) for runs in (ours, theirs))
    work = list(jobs(count, gpus, load=load))
    floor = cpu_seconds(lambda: heap_loop(work, gpus))
    zero = work[0].submit_seconds  # our time counts from the first submission
    ours_start, their_start = [zero + start for start in ours[0]["starts"]], theirs[0]["starts"]
    assert len(ours_start) == len(their_start) == count
    if gpus > 10_000:  # nothing waits
        assert ours_start == their_start == [job.submit_seconds for job in work]
    row(
        "W: jobs per CPU second against accasim 1.1.3",
        work=f"W({count:,}, {gpus:,}, load {load}) {policy}",
        ours_cpu_s=own,
        accasim_cpu_s=other,
        ratio=other / own,
        least=least,
        with_FirstFit=first_fit / own,
        same_starts=f"{sum(a == b for a, b in zip(ours_start, their_start, strict=True)) / count:.1%}",
        ours_over_heap_loop=own / floor,
    )
    assert other / own >= least
