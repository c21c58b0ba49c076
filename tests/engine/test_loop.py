"""When cycles are run, when samples are taken, and when it ends."""

from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Submit
from emulator.engine.engine import Engine
from emulator.engine.loop import Loop
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, job_columns
from tests.engine.small import clos, ends, engine, run, run_until

#: Of the one leaf and the one spine, which carry nothing: they draw all the same.
SWITCHES = 2 * 747_000


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND} | columns)


def trail(made: Engine, *, endless: bool = False, steps: int = 10_000) -> tuple[list[float], list[float], bool]:
    """Instants (s) of the cycles and of the samples of a run, and whether it ended."""
    cycles: list[float] = []
    samples: list[float] = []
    loop = Loop(made, lambda: samples.append(made.now_ns / SECOND), endless=endless)
    for _ in range(steps):
        if loop.finished or loop.next_ns() == NEVER:
            break
        before = made.cycles
        loop.step()
        cycles += [made.now_ns / SECOND] * (made.cycles - before)
    return cycles, samples, loop.finished


def test_only_cycles_in_which_something_is_due_are_run() -> None:
    """Jobs of one host: at 0, 3, 3 and 1,000 s, of 95 s. Starts at 0, 10, 10, 1,000; ends at 95 (cycle 100), 105, 105 (110), 1,095
    (1,100)."""
    jobs = gangs(4, submit_ns=np.array([0, 3, 3, 1000]) * SECOND)
    made = engine(clos(4), [jobs], until_ns=10**6 * SECOND, publish_ns=10**6 * SECOND)
    cycles, _, finished = trail(made)
    assert cycles == [0, 10, 100, 110, 1000, 1100]
    assert finished
    assert made.cycles == len(cycles)


def test_a_job_at_the_very_start_starts_there() -> None:
    made = engine(clos(1), [gangs(1)])
    assert ends(run(made)) == {0: 95.0}
    assert made.table.first_start_ns[0] == 0


@pytest.mark.parametrize(("cycle", "last"), [(10, 1000), (7, 1001)])
def test_what_ends_between_two_cycles_frees_its_gpus_at_the_next(cycle: int, last: int) -> None:
    jobs = gangs(2, duration_ns=995 * SECOND)
    made = engine(clos(1), [jobs], cycle_ns=cycle * SECOND)
    assert ends(run(made)) == {0: 995.0, 1: last + 995.0}


def test_an_end_that_is_no_multiple_of_the_cycle_settles_up_to_it_and_starts_nothing() -> None:
    """Until 98 s and a nanosecond: job 0 ends at 95, job 1 waits for the cycle at 100 that never comes."""
    made = engine(clos(1), [gangs(2)], until_ns=98 * SECOND + 1, publish_ns=60 * SECOND)
    cycles, samples, finished = trail(made)
    assert (cycles, samples, finished) == ([0], [0, 60, 98.000000001], True)
    assert [made.table.state[slot] for slot in (0, 1)] == [State.FINISHED, State.PENDING]
    assert made.now_ns == 98 * SECOND + 1
    assert made.meter.held_gpu_seconds(made.now_ns) == 8 * 95.0


def test_the_cycle_at_the_end_itself_is_run() -> None:
    made = engine(clos(1), [gangs(2)], until_ns=100 * SECOND)
    cycles, samples, _ = trail(made)
    assert cycles == [0, 100]
    assert samples == [0, 100]
    assert (made.table.state[1], made.table.lives.run_ns[1]) == (State.RUNNING, 0)


def test_samples_are_taken_at_multiples_of_the_interval_where_something_happened() -> None:
    """Every 60 s: at 0; job 0 ends in the cycle at 100, so 120 (and 60, since before it nothing had changed but 60 is the last multiple);
    then nothing until 1,000: 960; 1,020 shows the start at 1,000, 1,140 the end at 1,100."""
    jobs = gangs(2, submit_ns=np.array([0, 1000]) * SECOND)
    made = engine(clos(1), [jobs], until_ns=10_000 * SECOND, publish_ns=60 * SECOND)
    _, samples, _ = trail(made)
    assert samples == [0, 60, 120, 960, 1020, 1080, 1140, 9960, 10_000]


def test_a_clock_that_was_read_beyond_a_sample_is_not_set_back() -> None:
    """A live session's clock idles to 170 s, where a client reads the racks; then a job comes. The sample of 120 s is taken at 170 s."""
    made = engine(clos(1), [gangs(1)], publish_ns=60 * SECOND)
    samples: list[float] = []
    loop = Loop(made, lambda: samples.append(made.now_ns / SECOND), endless=True)
    while loop.next_ns() <= 100 * SECOND:
        loop.step()
    made.idle_to(170 * SECOND)
    made.read()
    made.post(Submit(made.scheduler.add(gangs(1, job_id=1, submit_ns=180 * SECOND))), 180 * SECOND)
    while loop.next_ns() <= 180 * SECOND:
        loop.step()
        made.read()
    assert samples == [0, 60, 170, 180]


def test_a_trace_ends_with_its_work_and_an_infeasible_job_blocks_nobody() -> None:
    made = engine(clos(2), [gangs(4, gpus=[16, 17, 16, 8])])
    run(made)
    assert [made.table.state[slot] for slot in range(4)] == [State.FINISHED, State.INFEASIBLE, State.FINISHED, State.FINISHED]
    assert made.now_ns == 300 * SECOND  # the cycle that saw the last of it
    assert made.table.end_ns[1] == -1


def test_without_work_it_ends_at_once() -> None:
    assert run(engine(clos(1))).now_ns == 0
    assert run(engine(clos(1), [gangs(0)])).now_ns == 0


def test_jobs_that_no_host_is_left_for_wait_for_the_repair() -> None:
    """Both hosts fail at 50 s while job 0 runs; it goes on when they are back."""
    made = engine(clos(2), [gangs(1, gpus=16)], fail_at={0: 50 * SECOND, 1: 50 * SECOND}, restart_overhead_ns=0)
    run_until(made, 60 * SECOND)
    assert made.has_work()
    run(made)
    assert made.table.state[0] == State.FINISHED
    assert made.table.start_ns[0] > 600 * SECOND
    assert (made.table.restarts[0], made.table.lives.lost_ns[0]) == (1, 50 * SECOND)


def test_a_job_that_waits_for_ever_ends_the_run_where_the_work_ends() -> None:
    """A service without an end has the only host: the gang behind it will never start."""
    service = gangs(2, kind=[int(JobKind.SERVICE), int(JobKind.GANG)], duration_ns=[0, SECOND])
    made = run(engine(clos(1), [service]))
    assert [made.table.state[slot] for slot in (0, 1)] == [State.RUNNING, State.PENDING]
    bounded = run(engine(clos(1), [service], until_ns=7777 * SECOND))
    assert bounded.now_ns == 7777 * SECOND
    assert bounded.meter.held_gpu_seconds(bounded.now_ns) == 8 * 7777.0


def test_an_endless_loop_waits_for_inputs() -> None:
    made = engine(clos(1), publish_ns=60 * SECOND)
    assert trail(made, endless=True) == ([], [0], False)
    made.post(Submit(made.scheduler.add(gangs(1, submit_ns=50 * SECOND))), 50 * SECOND)
    cycles, samples, finished = trail(made, endless=True)
    assert (cycles[:2], finished) == ([50, 150], False)
    assert samples[0] == 0


def test_the_head_counts_what_is_free_for_every_nanosecond() -> None:
    """Two hosts for 300 s. Host 0: 4 GPUs are held from 0 to 95 s but free to others from the cycle at 100 on: 4 x 100 GPU s on a split
    host. Host 1: always free. 16 x 300 - 4 x 100 in all."""
    made = engine(clos(2), [gangs(1, gpus=4)], until_ns=300 * SECOND)
    run(made)
    assert made.meter.idle_gpu_ns == (16 * 300 - 4 * 100) * SECOND
    assert made.meter.fragmented_gpu_ns == 4 * 100 * SECOND


def test_the_peak_is_the_highest_power_at_any_instant() -> None:
    """Host 1 is down from 50 s to its repair, in the middle of whose cycle job 0 ends: the peak is before the fault, all hosts up and 8
    GPUs busy."""
    made = engine(clos(2), [gangs(1)], fail_at={1: 50 * SECOND})
    run(made)
    assert (
        made.meter.peak_milliwatts == 2 * made.racks.idle_milliwatts(0) + 8 * made.runs._full_draw(0, made.table.utilization[0]) + SWITCHES
    )
    repaired = engine(clos(2), [gangs(1, submit_ns=[55 * SECOND], duration_ns=[10**5 * SECOND])], fail_at={1: 50 * SECOND})
    run_until(repaired, 50_000 * SECOND)
    assert repaired.scheduler.ledger.withheld(Withheld.DOWN) == set()
    assert (
        repaired.meter.peak_milliwatts
        == 2 * repaired.racks.idle_milliwatts(0) + 8 * repaired.runs._full_draw(0, repaired.table.utilization[0]) + SWITCHES
    )
