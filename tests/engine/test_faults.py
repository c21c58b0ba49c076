"""Host faults in mid-run: what stops when, what is lost, where the job goes on."""

from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import BreakHosts, Cancel, Submit
from emulator.jobs.life import Phase
from emulator.racks import faults
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobColumns, JobKind, job_columns
from tests.engine.small import NO_FAULTS, clos, ends, engine, hosts_of, run, run_until

#: Down at 755 s and 7 ns.
FAULT = 755 * SECOND + 7


def gangs(count: int, **columns: Any) -> JobColumns:
    return job_columns(count, **{"submit_ns": 0, "gpus": 16, "duration_ns": 1000 * SECOND, "checkpoint_ns": 300 * SECOND} | columns)


def drawn_repair_ns(host: int, seed: int = 1) -> int:
    """How long the first fault of ``host`` lasts."""
    one = np.array([host]), np.array([0])
    return int(faults.repair_ns(NO_FAULTS, seed, *one, faults.causes(NO_FAULTS, seed, *one))[0])


def test_a_fault_stops_the_gang_at_once_and_it_goes_on_from_its_last_checkpoint() -> None:
    """Job 0 is on hosts 0 and 1 from 0 s; host 0 fails at 755.000000007 s. It has done as much work; checkpoints are every 300 s of work,
    so 155.000000007 s are lost. Hosts 1 and 2 are free at the next cycle, 760 s: 300 s of restart overhead, then the other 400 s of
    work: it ends at 1,460 s exactly."""
    made = engine(clos(4), [gangs(1)], fail_at={0: FAULT})
    seen = []
    made.chronicle.on_change = lambda slot, at_ns: seen.append((made.table.state[slot], at_ns))
    run_until(made, 760 * SECOND)
    assert seen == [(State.PENDING, 0), (State.RUNNING, 0), (State.PENDING, FAULT), (State.RUNNING, 760 * SECOND)]
    assert hosts_of(made, 0) == [1, 2]
    table = made.table
    assert (table.lives.lost_ns[0], table.lives.remaining_ns[0], table.restarts[0]) == (155 * SECOND + 7, 400 * SECOND, 1)
    assert ends(run(made)) == {0: 1460.0}
    lives = table.lives
    assert (lives.run_ns[0], lives.work_ns[0]) == (FAULT + 700 * SECOND, 1155 * SECOND + 7)
    assert lives.spent_ns[Phase.RESTARTING][0] == 300 * SECOND
    assert made.host_faults.counts[int(faults.causes(NO_FAULTS, 1, np.array([0]), np.array([0]))[0])] == sum(made.host_faults.counts) == 1


def test_without_checkpoints_it_starts_anew() -> None:
    made = engine(clos(4), [gangs(1, checkpoint_ns=0)], fail_at={0: FAULT})
    assert ends(run(made)) == {0: 760.0 + 300.0 + 1000.0}


def test_a_fault_during_the_restart_costs_the_overhead_again_and_no_work() -> None:
    """As above, on hosts 1 and 2 from 760 s; host 1 fails at 1,005 s, in the overhead. From 1,010 s on hosts 2 and 3: 300 + 400 s."""
    made = engine(clos(4), [gangs(1)], fail_at={0: FAULT, 1: 1005 * SECOND})
    assert ends(run(made)) == {0: 1710.0}
    assert made.table.lives.lost_ns[0] == 155 * SECOND + 7
    assert made.table.lives.spent_ns[Phase.RESTARTING][0] == (245 + 300) * SECOND


def test_the_completion_of_the_same_nanosecond_wins() -> None:
    made = engine(clos(4), [gangs(1)], fail_at={0: 1000 * SECOND})
    assert ends(run(made)) == {0: 1000.0}
    assert (made.chronicle.restarts, made.table.lives.lost_ns[0], sum(made.host_faults.counts)) == (0, 0, 1)
    one_earlier = engine(clos(4), [gangs(1)], fail_at={0: 1000 * SECOND - 1})
    assert ends(run(one_earlier)) == {0: 1000.0 + 300.0 + 100.0}
    assert one_earlier.table.lives.lost_ns[0] == 100 * SECOND - 1


def test_the_gangs_other_hosts_are_placeable_at_the_next_cycle_and_the_repaired_one_at_the_first_after_its_repair() -> None:
    """Hosts 0 and 1 hold job 0, hosts 2 and 3 job 1 for a long time; job 2 (one host) waits. Host 0 fails: job 0 is requeued in its
    place, before job 2, and under `fifo` waits for two hosts; under `easy` job 2 (which ends long after the repair could be hoped for)
    takes host 1, since with a host down no end of a running job lets job 0 in before job 1's."""
    jobs = gangs(3, gpus=[16, 16, 8], duration_ns=np.array([1000, 50_000, 400]) * SECOND, submit_ns=np.array([0, 0, 5]) * SECOND)
    back = -(-(FAULT + drawn_repair_ns(0)) // (10 * SECOND)) * 10
    assert back > 1200

    fifo = engine(clos(4), [jobs], fail_at={0: FAULT})
    run_until(fifo, 760 * SECOND)
    assert list(fifo.scheduler.partitions[0].pending.in_order()) == [0, 2]
    assert fifo.scheduler.ledger.withheld(Withheld.DOWN) == {0}
    assert fifo.has_work()
    assert ends(run(fifo)) == {0: back + 700.0, 1: 50_000.0, 2: back + 700.0 + (-(back + 700) % 10) + 400.0}

    easy = engine(clos(4), [jobs], policy="easy", fail_at={0: FAULT})
    run_until(easy, 760 * SECOND)
    assert hosts_of(easy, 2) == [1]
    assert ends(run(easy)) == {0: back + 700.0, 1: 50_000.0, 2: 760.0 + 400.0}


def test_a_job_that_is_interrupted_too_often_has_failed() -> None:
    made = engine(clos(4), [gangs(1)], fail_at={0: FAULT, 1: 1005 * SECOND}, max_restarts=1)
    run(made)
    assert (made.table.state[0], made.table.end_ns[0]) == (State.FAILED, 1005 * SECOND)
    assert made.chronicle.reasons[0].startswith(f"host {made.cluster.host_name(1)} failed: ")
    assert made.chronicle.ended[State.FAILED] == 1
    assert made.scheduler.partitions[0].free.free_gpus == 16
    assert not made.has_work()


def test_one_fault_takes_every_job_of_its_host_and_no_other() -> None:
    made = engine(clos(2), [gangs(4, gpus=[4, 4, 4, 4], duration_ns=2000 * SECOND)], fail_at={0: FAULT})
    run_until(made, 760 * SECOND)
    assert made.table.restarts[:4] == [1, 1, 0, 0]


def test_an_injected_fault_lasts_as_long_as_was_asked_for() -> None:
    """Hosts 0 and 1 (of which job 0 has the second) break at the cycle at 500 s for 100 s, so they are back in the one at 600 s. Job 0
    goes on at once on hosts 1 and 2: wherever it is, 500 s of work are done, 200 of them lost."""
    made = engine(clos(3), [gangs(1, gpus=24)])
    made.post(BreakHosts(0, 2, 100 * SECOND), 500 * SECOND)
    run_until(made, 500 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.DOWN) == {0, 1}
    assert made.table.state[0] == State.PENDING
    run_until(made, 600 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.DOWN) == set()
    assert ends(run(made)) == {0: 600.0 + 300.0 + 700.0}
    assert made.host_faults.counts[faults.INJECTED] == 2


def test_a_broken_host_that_is_broken_again_stays_down_for_the_longer() -> None:
    made = engine(clos(2), [gangs(1)])
    made.post(BreakHosts(0, 1, 300 * SECOND), 100 * SECOND)
    made.post(BreakHosts(0, 2, 100 * SECOND), 200 * SECOND)
    run_until(made, 300 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.DOWN) == {0}
    run_until(made, 400 * SECOND)
    assert made.scheduler.ledger.withheld(Withheld.DOWN) == set()
    assert made.host_faults.counts[faults.INJECTED] == 2


def test_a_service_without_an_end_loses_nothing_it_has_served() -> None:
    service = job_columns(1, submit_ns=0, gpus=8, duration_ns=0, kind=int(JobKind.SERVICE))
    made = engine(clos(2), [service], fail_at={0: FAULT})
    run_until(made, 10**6 * SECOND)
    assert (made.table.restarts[0], made.table.lives.lost_ns[0], made.table.state[0]) == (1, 0, State.RUNNING)
    assert not made.has_work()


def test_a_cancelled_job_does_not_give_an_earlier_fault_as_its_reason() -> None:
    made = engine(clos(4), [gangs(1)], fail_at={0: FAULT})
    made.post(Cancel(0), 800 * SECOND)
    run(made)
    assert (made.table.state[0], made.table.end_ns[0]) == (State.CANCELLED, 800 * SECOND)
    assert 0 not in made.chronicle.reasons


def test_an_accepted_job_is_not_turned_away_because_faults_filled_the_queue() -> None:
    """The queue holds one. A job is accepted while it is empty; before its cycle a fault puts job 0 back into it."""
    made = engine(clos(2), [gangs(1)], pending_limit=1, fail_at={0: FAULT})
    run_until(made, 0)
    slots = made.scheduler.add(gangs(1, job_id=7, submit_ns=760 * SECOND))
    made.post(Submit(slots), 760 * SECOND)
    run_until(made, 760 * SECOND)
    assert made.table.state[:2] == [State.PENDING, State.PENDING]


def test_an_input_for_a_cycle_that_has_passed_is_an_error() -> None:
    made = engine(clos(2), [gangs(1)])
    run_until(made, 0)
    with pytest.raises(ValueError, match="the next cycle is at 10000000000 ns"):
        made.post(Cancel(0), 0)
    made.idle_to(50 * SECOND)
    assert made.open_cycle_ns() == 60 * SECOND


def test_preemption_leaves_its_rest_to_the_next_cycle() -> None:
    """Job 0 has all of host 0; job 1 of higher priority needs half of it from 100 s on. Job 2, of 4 GPUs, takes the other half 10 s
    later, though nothing else happens: the preempted job 0, first in the queue, does not fit there, and `easy` backfills what does not
    delay it."""
    jobs = gangs(
        3,
        gpus=[8, 4, 4],
        priority=[0, 5, 0],
        submit_ns=np.array([0, 95, 95]) * SECOND,
        duration_ns=np.array([1000, 500, 100]) * SECOND,
    )
    made = engine(clos(1), [jobs], policy="easy", preemption=True)
    run_until(made, 110 * SECOND)
    assert made.chronicle.preemptions == 1
    assert made.table.first_start_ns[:3] == [0, 100 * SECOND, 110 * SECOND]
    assert ends(run(made)) == {0: 600.0 + 300.0 + 1000.0, 1: 600.0, 2: 210.0}
