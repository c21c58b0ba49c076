"""Policies outside that resize jobs: what is done of that, what is refused, and what they are told."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.engine import Engine
from emulator.engine.gpu_time import held_time
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.outside import Outside, View
from emulator.scheduler.outside_actions import Action, Decisions, Hold, Preempt, Resize, Start
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import OutsideAccount
from emulator.scheduler.ranges import HostRange
from emulator.scheduler.rules import Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, engine
from tests.engine.test_elastic import gangs
from tests.engine.test_properties import check_sums
from tests.scheduler.drive import plan_at
from tests.scheduler.test_every_policy import gpus_are_held_once
from tests.scheduler.test_outside import Program, does, followed

FULL = 0xFF


def arrive(scheduler: Scheduler, first_id: int, *sizes: tuple[int, int], **columns: Any) -> list[int]:
    """Jobs with these GPUs and minima (0: none)."""
    gpus, least = zip(*sizes, strict=True)
    ids = first_id + np.arange(len(sizes))
    slots = scheduler.add(job_columns(len(sizes), job_id=ids, submit_ns=0, gpus=gpus, min_gpus=least, duration_ns=1000 * SECOND, **columns))
    for slot in slots:
        scheduler.arrive(slot)
    return slots


def running(**settings: Any) -> tuple[Scheduler, Program, list[int]]:
    """16 hosts: job 0 of 8 to 32 GPUs runs with 16 on hosts 0 and 1, job 1 of 8 GPUs on host 2; job 2, of 8 to 16, waits."""
    scheduler, program = followed(**settings)
    slots = arrive(scheduler, 0, (32, 8), (8, 0), (16, 8))
    assert does(scheduler, program, 0, Start(0, [(0, 2, FULL)]), Start(1, [(2, 1, FULL)])) == [0, 1]
    arrive(scheduler, 9, (128, 0))  # something happens in the next cycle
    return scheduler, program, slots


def standing(scheduler: Scheduler) -> object:
    table, free = scheduler.table, scheduler.partitions[0].free
    held = [(slot, table.rows[slot], table.size_gpus[slot], table.start_ns[slot], table.expected_ns[slot]) for slot in scheduler.running]
    return sorted(held), list(free.block_free), dict(free.split), free.free_gpus, [count.running_gpus for count in scheduler.counts]


def test_a_job_goes_on_where_it_is_told_to() -> None:
    scheduler, program, (slot, *_) = running()
    does(scheduler, program, 10, Resize(0, ranges=[(3, 4, FULL)], reason="there is room"))
    assert (scheduler.table.size_gpus[slot], scheduler.table.start_ns[slot]) == (32, 10 * SECOND)
    assert scheduler.draft.causes[slot] == "there is room"
    assert list(scheduler.hosts_of(scheduler.table.rows[slot])) == [3, 4, 5, 6]
    assert sum(count.running_gpus for count in scheduler.counts) == 40
    gpus_are_held_once(scheduler)
    arrive(scheduler, 20, (8, 0))
    does(scheduler, program, 20)
    view = program.views[-1]
    assert (view.started, view.left, view.running, view.refused) == ([], [], [], []), "what it did itself it is not told again"


def test_without_a_placement_it_goes_where_the_run_puts_it_and_that_is_told() -> None:
    scheduler, program, (slot, *_) = running()
    does(scheduler, program, 10, Resize(0, 24))
    assert scheduler.table.size_gpus[slot] == 24
    arrive(scheduler, 20, (8, 0))
    does(scheduler, program, 20)
    assert program.views[-1].started == [(0, 10 * SECOND, scheduler.table.rows[slot])]
    assert not program.account.refused


def test_those_of_a_group_give_up_their_gpus_together() -> None:
    """Jobs 0 and 3 change places and sizes, and job 2 takes what is left over; one after the other would not do."""
    scheduler, program, (first, _, third) = running()
    (other,) = arrive(scheduler, 3, (16, 8))
    does(scheduler, program, 10, Start(3, [(3, 1, FULL)]))
    arrive(scheduler, 20, (8, 0))
    swap = [Resize(0, ranges=[(3, 1, FULL)]), Resize(3, ranges=[(0, 2, FULL)])]
    does(scheduler, program, 20, *swap)
    assert program.refused() == [(0, Rule.FREE), (1, Rule.FREE)]
    arrive(scheduler, 21, (8, 0))
    grouped = [action._replace(group=5) for action in swap]
    assert does(scheduler, program, 30, *grouped, Start(2, [(4, 2, FULL)], group=5)) == [2]
    assert [scheduler.table.size_gpus[slot] for slot in (first, other, third)] == [8, 16, 16]
    gpus_are_held_once(scheduler)


@pytest.mark.parametrize(
    ("action", "rule", "told"),
    [
        (Resize(2, 8), "running", "job 2 does not run"),  # it waits
        (Resize(77, 8), "running", "job 77 does not run"),  # another's, or nobody's
        (Resize(-1, 8), "running", "job -1 does not run"),
        (Resize(0, 16), "size", "job 0 runs with 16 GPUs already"),
        (Resize(0, ranges=[(5, 2, FULL)]), "size", "job 0 runs with 16 GPUs already"),
        (Resize(0, 12), "size", "job 0 asks for 32 GPUs, or fewer in steps of 8 down to 8, and is given 12"),
        (Resize(0, 40), "size", "job 0 asks for 32 GPUs, or fewer in steps of 8 down to 8, and is given 40"),
        (Resize(0, 0), "size", "job 0 asks for 32 GPUs, or fewer in steps of 8 down to 8, and is given 0"),
        (Resize(0, -8), "size", "job 0 asks for 32 GPUs, or fewer in steps of 8 down to 8, and is given -8"),
        (Resize(0, ranges=[]), "size", "job 0 is given no GPUs"),
        (Resize(1, 4), "size", "job 1 asks for 8 GPUs and is given 4"),  # it has no other size
        (Resize(1, 8), "size", "job 1 runs with 8 GPUs already"),
        (Resize(0, ranges=[(2, 1, FULL)]), "free", "of host r00000-h02 not all of the GPUs 0, 1, 2, 3, 4, 5, 6, 7 are free"),
        (Resize(0, ranges=[(7, 1, FULL)]), "offered", "host r00000-h07 may not be used: cordoned"),
        (Resize(0, ranges=[(99, 1, FULL)]), "offered", "there are no 1 hosts from 99 on: the cluster has hosts 0 to 15"),
        (Resize(0, ranges=[(3, 1, FULL), (3, 1, FULL)]), "free", "a GPU is named twice"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_changes_nothing(action: Resize, rule: str, told: str) -> None:
    scheduler, program, _ = running()
    scheduler.ledger.withhold(7, Withheld.CORDONED)
    before = standing(scheduler)
    assert does(scheduler, program, 10, action) == []
    assert standing(scheduler) == before
    assert dict(program.account.refused) == {rule: 1}
    assert program.notices == [f"policy mine breaks the rule {rule}: {told}; its other actions stand, and this is said once"]
    assert not scheduler.draft.migrated
    arrive(scheduler, 20, (8, 0))
    assert does(scheduler, program, 20, Resize(0, 8), Start(2)) == [2], "the next is done"


@pytest.mark.parametrize(
    ("actions", "places", "told"),
    [
        ([Resize(0, 8), Resize(0, 32)], [1], "job 0 is given other GPUs in this cycle already"),
        ([Resize(0, 8, group=1), Resize(0, 32, group=1)], [0, 1], "job 0 is given other GPUs in this cycle already"),
        ([Resize(0, 8), Preempt(0)], [1], "job 0 is given other GPUs in this cycle already"),
        ([Preempt(0), Resize(0, 8)], [1], "job 0 does not run"),
        ([Preempt(0, group=1), Resize(0, 8, group=1)], [0, 1], "job 0 does not run"),
        ([Start(2, [(4, 2, FULL)]), Resize(2, 8)], [1], "job 2 starts in this cycle, so it does not run yet"),
        ([Resize(0, 8, group=1), Start(0, [(4, 1, FULL)], group=1)], [0, 1], "job 0 does not wait: it is running"),
        ([Start(0, [(4, 1, FULL)], group=1), Resize(0, 8, group=1)], [0, 1], "job 0 does not wait: it is running"),
        ([Hold(0, "why", group=1), Resize(0, 8, group=1)], [0, 1], "job 0 does not wait: it is running"),
        ([Resize(0, 8, group=1), Resize(0, 8, group=2)], [1], "job 0 is given other GPUs in this cycle already"),
    ],
)
def test_a_job_is_resized_once_a_cycle_and_nothing_else_is_done_with_it(actions: list[Action], places: list[int], told: str) -> None:
    scheduler, program, _ = running()
    before = standing(scheduler)
    does(scheduler, program, 10, *actions)
    assert f": {told}; " in program.notices[0]
    assert [place for place, _ in program.refused()] == places
    gpus_are_held_once(scheduler)
    if len(places) == len(actions):
        assert standing(scheduler) == before
        assert not scheduler.draft.migrated
        assert not scheduler.draft.starts
        assert not scheduler.draft.preempted


def test_with_never_no_job_has_another_size() -> None:
    scheduler, program = followed(elastic=Elastic.NEVER)
    arrive(scheduler, 0, (32, 8))
    assert does(scheduler, program, 0, Start(0, [(0, 2, FULL)]), Start(0)) == [0]
    arrive(scheduler, 1, (8, 0))
    does(scheduler, program, 10, Resize(0, 8))
    assert dict(program.account.refused) == {"size": 2}


def test_one_that_grew_by_the_run_has_left_and_runs() -> None:
    """Job 0 takes the GPUs that job 1 leaves; what grew and has ended since has left alone."""
    scheduler, program = followed(elastic=Elastic.ALWAYS, elastic_interval_ns=0)
    first, second = arrive(scheduler, 0, (128, 64), (64, 0))
    assert does(scheduler, program, 0, Start(0, [(0, 8, FULL)]), Start(1, [(8, 8, FULL)])) == [0, 1]
    scheduler.release(second, at_ns=15 * SECOND)
    scheduler.table.state[second] = State.FINISHED
    plan_at(scheduler, 20)  # nobody waits, so it is not asked
    assert scheduler.table.size_gpus[first] == 128
    arrive(scheduler, 2, (8, 0))
    does(scheduler, program, 30)
    view = program.views[-1]
    assert view.left == [(1, 15 * SECOND, State.FINISHED), (0, 20 * SECOND, State.PENDING)]
    assert (view.running, program.waiting()) == ([first], [2])
    arrive(scheduler, 3, (8, 0))
    does(scheduler, program, 40)
    assert (program.views[-1].left, program.views[-1].running) == ([], [])
    scheduler.release(first, at_ns=45 * SECOND)
    scheduler.table.state[first] = State.FINISHED
    arrive(scheduler, 4, (8, 0))
    does(scheduler, program, 50)
    assert program.views[-1].left == [(0, 45 * SECOND, State.FINISHED)]


class Drawing:
    """Answers with actions at random, most of them nonsense, and keeps what it is told."""

    def __init__(self, seed: int, hosts: int, jobs: int) -> None:
        self.draw, self.hosts, self.jobs = random.Random(seed), hosts, jobs
        self.where: dict[int, object] = {}
        self.account = OutsideAccount("mine")
        self.refused = 0

    def ranges(self) -> list[HostRange] | None:
        draw = self.draw
        if draw.random() < 0.5:
            return None
        return [(draw.randint(-1, self.hosts), draw.randint(0, 3), draw.choice((FULL, FULL, FULL, 1))) for _ in range(draw.randint(0, 2))]

    def action(self) -> Action:
        draw = self.draw
        job, group, kind = draw.randrange(-1, self.jobs + 1), draw.choice((0, 0, 1, 2)), draw.random()
        if kind < 0.4:
            return Resize(job, 8 * draw.randint(-1, 9), self.ranges(), "", group)
        if kind < 0.8:
            return Start(job, self.ranges(), draw.random() < 0.05, group)
        return Preempt(job, "", group, draw.random() < 0.5) if kind < 0.95 else Hold(job, "why", group)

    def ask(self, view: View) -> Decisions:
        self.refused += len(view.refused)
        return Decisions([self.action() for _ in range(self.draw.randint(0, 10))], view.now_ns + 30 * SECOND)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), elastic=st.sampled_from([Elastic.START, Elastic.ALWAYS]))
def test_whatever_it_answers_gpus_are_held_once_and_no_work_is_lost(seed: int, elastic: Elastic) -> None:
    draw, count, until = random.Random(seed), 8, 1500 * SECOND
    gpus = [draw.choice([8, 16, 24, 40, 64]) for _ in range(count)]
    least = [draw.choice([0, *range(8, size, 8)]) for size in gpus]
    seconds = [draw.randrange(100, 900) for _ in range(count)]
    program = Drawing(seed, 8, count)
    outside = Outside(program.ask, POLICIES["easy"], program.account, lambda _: None)
    jobs = gangs(gpus, least, seconds, sorted(draw.randrange(600) for _ in range(count)))
    made: Engine = engine(clos(8), [jobs], policy=outside.policy("mine"), elastic=elastic)
    while made.next_cycle_ns() < until:
        made.run_cycle(made.next_cycle_ns())
        gpus_are_held_once(made.scheduler)
        check_sums(made)
    program.action = lambda: Start(program.draw.randrange(count))  # type: ignore[method-assign]  # from now on all start
    while set(made.table.state) != {State.FINISHED} and (at := made.next_cycle_ns()) < 10**6 * SECOND:
        made.run_cycle(at)
    assert set(made.table.state) == {State.FINISHED}
    assert made.scheduler.free_gpus() == (64, 0)
    productive = held_time(made.table, range(count), made.now_ns)[0]
    assert productive == pytest.approx(1000 * SECOND * sum(a * b for a, b in zip(gpus, seconds, strict=True)), rel=1e-9)
    assert program.refused + len(outside.deeds.refused) == sum(program.account.refused.values())
