"""An endless session does not grow: resident memory of the head of ``up laptop --speed max`` after 60 emulated days, to that after 10."""

from collections.abc import Callable

from tests.benchmarks.memory_of_up import run

#: 1,518 jobs a day: by day 10 as many have ended as are kept.
DAYS = (1.0, 10.0, 30.0, 60.0)
MOST = 1.10


def test_sixty_days_take_the_memory_of_ten(row: Callable[..., None]) -> None:
    found = run("laptop", list(DAYS))
    for day, looked in found.items():
        row("Memory of an endless session", day=day, resident_MB=looked["bytes"] / 1e6, ratio=looked["bytes"] / found["10"]["bytes"])
    assert found["60"]["bytes"] <= MOST * found["10"]["bytes"]
