"""A day of Colossus repeated from its journal after a crash, against the same day as a batch run."""

from collections.abc import Callable
from statistics import median

import pytest

from tests.benchmarks.clocks import in_process_of_its_own

ROUNDS, MOST = 3, 1.2


@pytest.mark.parametrize("inputs", [0, 20_000])
def test_resuming_costs_what_a_run_costs(row: Callable[..., None], inputs: int) -> None:
    spent: dict[str, list[float]] = {"batch": [], "resume": []}
    for _ in range(ROUNDS):
        for how, seconds in spent.items():
            done = in_process_of_its_own("cost_of_resuming", "colossus", how, inputs)
            assert done["emulated_seconds"] >= 86_390
            seconds.append(done["cpu_seconds"])
    batch, resume = median(spent["batch"]), median(spent["resume"])
    row("A day of colossus, resumed", inputs=f"{inputs:,}", batch_cpu_s=batch, resume_cpu_s=resume, ratio=resume / batch, most=MOST)
    assert resume / batch <= MOST
