"""The histogram of waits: its buckets, and that every first start is in it."""

from emulator.engine.waits import WAIT_BOUNDS, Waits
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, engine, run


def test_a_wait_equal_to_a_bound_is_below_it() -> None:
    waits = Waits()
    for wait_ns in (0, 10 * SECOND, 10 * SECOND + 1, 86_400 * SECOND, 86_400 * SECOND + 1):
        waits.add(wait_ns)
    assert waits.counts == [2, 1, *[0] * (len(WAIT_BOUNDS) - 3), 1, 1]
    assert waits.total_ns == (20 + 2 * 86_400) * SECOND + 2


def test_jobs_that_wait_for_each_other() -> None:
    """Three jobs of 100 s for the one host: they wait 0, 100 and 200 s."""
    made = run(engine(clos(1), [job_columns(3, submit_ns=0, gpus=8, duration_ns=100 * SECOND)]))
    assert made.chronicle.waits.total_ns == 300 * SECOND
    assert made.chronicle.waits.counts[:5] == [1, 0, 0, 2, 0]
