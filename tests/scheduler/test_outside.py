"""Policies that decide outside: what they are told, what is done of what they answer, and what happens when they are gone."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.calendar import HostReservation
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.outside import Gone, Outside, View
from emulator.scheduler.outside_actions import Action, Decisions, Hold, Preempt, Start
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import OutsideAccount
from emulator.scheduler.ranges import HostRange, ranges_of, rows_of
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import end, make_cluster, make_scheduler, plan_at, run_engine, submit, workload
from tests.scheduler.oracle import Job
from tests.scheduler.test_partitions import two_types
from tests.scheduler.test_simulations import feasible, random_jobs

FULL = 0xFF


class Program:
    """Answers with what a test has put in; keeps what it was told."""

    outside: Outside

    def __init__(self) -> None:
        self.views: list[View] = []
        self.answer = Decisions()
        self.gone = ""
        self.notices: list[str] = []
        self.account = OutsideAccount("mine")

    def ask(self, view: View) -> Decisions:
        self.views.append(view)
        if self.gone:
            raise Gone(self.gone)
        answer, self.answer = self.answer, Decisions()
        return answer

    def refused(self) -> list[tuple[int, str]]:
        """Place and rule of what was refused in the last cycle, which the next view tells."""
        return [(one.place, one.rule) for one in self.outside.deeds.refused]

    def waiting(self) -> list[int]:
        """Ids of the jobs that the last view has as waiting."""
        view = self.views[-1]
        return [view.table.job_id[slot] for slot in view.waiting]


def followed(**settings: Any) -> tuple[Scheduler, Program]:
    program = Program()
    program.outside = Outside(program.ask, POLICIES["easy"], program.account, program.notices.append)
    return make_scheduler(make_cluster("hgx"), policy=program.outside.policy("mine"), **settings), program


def does(scheduler: Scheduler, program: Program, seconds: int, *actions: Action, again: int = NEVER) -> list[int]:
    """One cycle, in which the program answers with ``actions``; ids of the jobs that started."""
    program.answer = Decisions(actions, again)
    return plan_at(scheduler, seconds)[0]


def jobs(count: int, gpus: int = 8) -> list[Job]:
    return [Job(number, 0, gpus, 100) for number in range(count)]


def test_what_is_told_is_what_is_new() -> None:
    scheduler, program = followed()
    slots = submit(scheduler, *jobs(3))
    scheduler.ledger.withhold(3, Withheld.DOWN)
    assert does(scheduler, program, 0, Start(1, [(0, 1, FULL)]), Start(2)) == [1, 2]
    assert (program.waiting(), program.views[-1].withdrawn, program.views[-1].offered) == ([0, 1, 2], [3], [])
    assert (program.views[-1].left, program.views[-1].started, program.views[-1].free_gpus) == ([], [], [15 * 8])

    scheduler.ledger.release(3, Withheld.DOWN)
    scheduler.ledger.withhold(4, Withheld.DOWN)
    scheduler.ledger.release(4, Withheld.DOWN)
    scheduler.ledger.withhold(5, Withheld.CORDONED)
    end(scheduler, slots[1], 7)
    scheduler.table.state[slots[1]], scheduler.table.end_ns[slots[1]] = State.FINISHED, 7 * SECOND
    end(scheduler, slots[2], 8)
    scheduler.requeue(slots[2])  # a fault
    does(scheduler, program, 10)
    view = program.views[-1]
    assert view.started == [(2, 0, scheduler.table.rows[slots[2]])]  # where the run's placement has put it
    assert view.left == [(1, 7 * SECOND, State.FINISHED), (2, 8 * SECOND, State.PENDING)]
    assert (program.waiting(), view.withdrawn, view.offered) == ([2], [5], [3])

    scheduler.cancel_pending(slots[0])
    scheduler.table.state[slots[0]], scheduler.table.end_ns[slots[0]] = State.CANCELLED, 15 * SECOND
    gone = submit(scheduler, Job(7, 0, 8, 100))[0]
    scheduler.cancel_pending(gone)  # before anybody was told of it
    scheduler.table.state[gone] = State.CANCELLED
    does(scheduler, program, 20)
    assert (program.views[-1].left, program.waiting()) == ([(0, 15 * SECOND, State.CANCELLED)], [])


def test_windows_to_come_are_told_and_what_only_a_window_keeps() -> None:
    first = HostReservation("first", (2, 3), "hosts 2 and 3", 20 * SECOND, 10 * SECOND, 30 * SECOND, 2)
    scheduler, program = followed(reservations=(first,))
    reserved = scheduler.reserved

    def cycle(seconds: int) -> View:
        submit(scheduler, Job(seconds, 0, 8, 5))
        assert reserved.calendar is not None
        if reserved.calendar.next_ns() <= seconds * SECOND:
            reserved.turn(seconds * SECOND)
        does(scheduler, program, seconds)
        return program.views[-1]

    view = cycle(0)
    assert (view.reservations, view.ended, view.withdrawn) == ([first], [], [])
    scheduler.ledger.withhold(3, Withheld.DOWN)
    view = cycle(10)
    assert (view.reservations, view.withdrawn, view.kept) == ([], [3], set())
    view = cycle(20)  # the window begins
    assert (view.withdrawn, view.kept, view.offered) == ([2], {2}, [])
    scheduler.ledger.release(3, Withheld.DOWN)
    scheduler.ledger.withhold(2, Withheld.CORDONED)
    view = cycle(25)
    assert (view.withdrawn, view.kept, view.offered) == ([2, 3], {3}, [])
    view = cycle(30)  # and ends
    assert (view.withdrawn, view.kept, view.offered) == ([], set(), [3])
    second = HostReservation("second", (5,), "host 5", 60 * SECOND, 10 * SECOND)
    reserved.add(second, 31 * SECOND)
    reserved.turn(31 * SECOND)
    assert cycle(35).reservations == [second]
    assert reserved.calendar is not None
    reserved.calendar.end("first", 36 * SECOND)
    view = cycle(40)
    assert (view.reservations, view.ended) == ([], ["first"])
    assert cycle(50).withdrawn == [], "no window of the first is to come"


def test_a_job_on_hold_has_left_and_is_told_again_when_it_waits_again() -> None:
    scheduler, program = followed()
    first, second = submit(scheduler, *jobs(2))
    scheduler.put_on_hold(second)  # before anybody was told of it
    does(scheduler, program, 0)
    assert program.waiting() == [0]
    scheduler.put_on_hold(first)
    scheduler.take_off_hold(second)
    does(scheduler, program, 10)
    assert (program.views[-1].left, program.waiting()) == ([(0, 10 * SECOND, State.PENDING)], [1])
    scheduler.take_off_hold(first)
    does(scheduler, program, 20)
    assert (program.views[-1].left, program.waiting()) == ([], [0])


def test_it_is_asked_where_somebody_waits_and_something_happened_or_where_it_wants() -> None:
    scheduler, program = followed()
    assert plan_at(scheduler, 0) == ([], [], None)
    assert not program.views
    submit(scheduler, *jobs(1))
    program.answer = Decisions((), 50 * SECOND)
    assert plan_at(scheduler, 10) == ([], [], 50)
    assert plan_at(scheduler, 20) == ([], [], 50)  # nothing happened
    assert len(program.views) == 1
    program.answer = Decisions((), 30 * SECOND)  # behind it
    assert plan_at(scheduler, 50) == ([], [], None)
    assert len(program.views) == 2


def test_a_preempted_job_waits_again() -> None:
    scheduler, program = followed()
    (slot,) = submit(scheduler, *jobs(1))
    does(scheduler, program, 0, Start(0))
    submit(scheduler, Job(1, 0, 8, 100))
    program.answer = Decisions([Preempt(0, "its turn is over")])
    assert plan_at(scheduler, 10)[1] == [0]
    assert scheduler.draft.causes[slot] == "its turn is over"
    does(scheduler, program, 20)
    assert (program.waiting(), program.views[-1].left) == ([0], [])


@pytest.mark.parametrize(
    ("action", "rule", "told"),
    [
        (Start(9), "pending", "job 9 does not wait: there is none"),
        (Start(1), "pending", "job 1 does not wait: it is running"),
        (Start(0, []), "size", "job 0 is given no GPUs"),
        (Start(0, [(9, 2, FULL)]), "size", "job 0 asks for 8 GPUs and is given 16"),
        (Start(0, [(0, 1, FULL)]), "free", "of host r00000-h00 not all of the GPUs 0, 1, 2, 3, 4, 5, 6, 7 are free"),
        (Start(0, [(15, 2, 0xF)]), "offered", "there are no 2 hosts from 15 on: the cluster has hosts 0 to 15"),
        (Start(0, [(-1, 1, FULL)]), "offered", "there are no 1 hosts from -1 on: the cluster has hosts 0 to 15"),
        (Start(0, [(1, 0, FULL)]), "offered", "there are no 0 hosts from 1 on: the cluster has hosts 0 to 15"),
        (Start(0, [(1, 1, 0x1FE)]), "size", "0b111111110 are no GPUs of a hgx-h100 host: masks are 0b1 to 0b11111111"),
        (Start(0, [(1, 1, 0)]), "size", "0b0 are no GPUs of a hgx-h100 host: masks are 0b1 to 0b11111111"),
        (Start(0, [(1, 1, 0xF), (1, 1, 0xF)]), "free", "a GPU is named twice"),
        (Start(0, [(1, 1, 0x7F), (2, 1, 0x3), (1, 1, 0x40)]), "free", "a GPU is named twice"),
        (Start(0, [(7, 1, FULL)]), "offered", "host r00000-h07 may not be used: cordoned"),
        (Preempt(0), "running", "job 0 does not run"),
        (Preempt(9), "running", "job 9 does not run"),
        (Hold(1, "why"), "pending", "job 1 does not wait: it is running"),
    ],
)
def test_what_breaks_a_rule_is_refused_and_the_rest_stands(action: Action, rule: str, told: str) -> None:
    scheduler, program = followed()
    submit(scheduler, *jobs(3))
    scheduler.ledger.withhold(7, Withheld.CORDONED)
    does(scheduler, program, 0, Start(1, [(0, 1, FULL)]))
    submit(scheduler, Job(5, 0, 8, 100))
    assert does(scheduler, program, 10, action, Start(2)) == [2]
    assert dict(program.account.refused) == {rule: 1}
    assert program.notices == [f"policy mine breaks the rule {rule}: {told}; its other actions stand, and this is said once"]
    submit(scheduler, Job(6, 0, 8, 100))
    does(scheduler, program, 20, action)
    assert [(one.place, one.job_id, one.rule, one.text) for one in program.views[-1].refused] == [(0, action.job_id, rule, told)]
    assert (dict(program.account.refused), len(program.notices)) == ({rule: 2}, 1)


def test_hosts_of_two_types_are_no_placement() -> None:
    ledger = make_scheduler(two_types("hgx-128")).ledger
    with pytest.raises(Refused, match="a job runs on hosts of one type, and these are hgx-h100 and hgx-h100-half") as refused:
        rows_of(ledger, [(60, 8, 0xF)])
    assert refused.value.rule is Rule.TYPE


def test_a_group_is_done_whole_or_not_at_all() -> None:
    scheduler, program = followed()
    submit(scheduler, *jobs(4), Job(4, 0, 128, 100))
    group: list[Action] = [Start(0, group=1), Hold(2, "why", group=1), Start(1, [(5, 9, FULL)], group=1)]
    assert does(scheduler, program, 0, *group, Start(3, group=2)) == [3]
    assert (dict(program.account.refused), scheduler.draft.whys) == ({"size": 1, "group": 2}, {})
    submit(scheduler, *[Job(9, 0, 8, 100)])
    assert does(scheduler, program, 10, Start(0, group=1), Start(4, group=1), Start(1, group=2), Start(2, group=2)) == [1, 2]
    assert [(one.place, one.rule) for one in program.views[-1].refused] == [(0, "group"), (1, "group"), (2, "size")]
    assert [job_id for job_id, _, _ in program.views[-1].started] == [3]
    submit(scheduler, Job(10, 0, 8, 100))
    does(scheduler, program, 20)
    assert [(one.place, one.rule) for one in program.views[-1].refused] == [(0, "group"), (1, "free")]
    assert [job_id for job_id, _, _ in program.views[-1].started] == [1, 2]


def test_where_it_must_start_and_does_not_the_rest_is_passed_over() -> None:
    scheduler, program = followed()
    submit(scheduler, Job(0, 0, 128, 100), Job(1, 0, 64, 100), Job(2, 0, 128, 100))
    assert does(scheduler, program, 0, Start(1), Start(0), Start(2, must=True), Start(0)) == [1]
    assert not program.account.refused
    submit(scheduler, Job(3, 0, 8, 100))
    assert does(scheduler, program, 10, Start(1, must=True), Start(3)) == []
    assert dict(program.account.refused) == {"pending": 1}


def test_what_starts_in_a_cycle_is_not_stopped_in_it() -> None:
    scheduler, program = followed()
    submit(scheduler, *jobs(2))
    assert does(scheduler, program, 0, Start(0), Preempt(0), Start(1)) == [0, 1]
    assert program.notices[0].startswith("policy mine breaks the rule running: job 0 starts in this cycle, so it does not run yet;")


def test_a_hold_is_why_a_job_waits() -> None:
    scheduler, program = followed()
    slots = submit(scheduler, *jobs(2))
    does(scheduler, program, 0, Hold(0, "waits for cheap power"))
    assert explain_pending(scheduler, slots[0])[:2] == ("policy", "waits for cheap power")
    assert explain_pending(scheduler, slots[1]).kind == "priority"
    submit(scheduler, Job(7, 0, 8, 100))
    does(scheduler, program, 10, Start(0))
    assert scheduler.draft.whys == {}


@pytest.mark.parametrize("fallback", sorted(POLICIES))
@pytest.mark.parametrize("seed", range(3))
def test_gone_from_the_start_is_the_fallback(fallback: str, seed: int) -> None:
    program = Program()
    program.gone = "it was never there"
    policy = Outside(program.ask, POLICIES[fallback], program.account, program.notices.append).policy("mine")
    mine, cluster = workload(60, 128, 1.5, seed), make_cluster("hgx")
    assert run_engine(cluster, mine, policy, "topology")[:2] == run_engine(cluster, mine, fallback, "topology")[:2]
    first = min(job.submit for job in mine)
    assert program.notices == [f"policy mine: it was never there; from {first} s on {fallback} decides"]
    assert (program.account.fallback, program.account.fallback_ns, program.account.cycles) == (fallback, first * SECOND, 1)


def test_gone_later_leaves_nobody_behind() -> None:
    scheduler, program = followed()
    slots = submit(scheduler, *jobs(3))
    does(scheduler, program, 0, Start(0), Hold(1, "why"), again=1000 * SECOND)
    program.gone = "it has ended the stream"
    end(scheduler, slots[0], 5)
    assert plan_at(scheduler, 10) == ([1, 2], [], None)
    assert (scheduler.draft.whys, scheduler.ledger.changes) == ({}, None)
    submit(scheduler, Job(9, 0, 8, 100))
    assert plan_at(scheduler, 20)[0] == [9]
    assert len(program.views) == 2


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_rows_and_ranges_are_the_same(data: st.DataObject) -> None:
    scheduler = make_scheduler(make_cluster(data.draw(st.sampled_from(["hgx-128", "leaves", "small-racks", "nvl72"]))))
    ledger = scheduler.ledger
    blocks = data.draw(st.lists(st.integers(0, len(ledger.block_type) - 1), unique=True, max_size=6))
    full = scheduler.partitions[0].free.full
    rows = []
    for block in blocks:
        size = ledger.first_host[block + 1] - ledger.first_host[block]
        hosts = data.draw(st.integers(1, (1 << size) - 1))
        rows.append((block, hosts, full))
        if rest := ((1 << size) - 1) & ~hosts:
            rows.append((block, rest & -rest, data.draw(st.integers(1, full - 1))))
    ranges: list[HostRange] = ranges_of(ledger.first_host, rows)
    assert rows_of(ledger, ranges) == rows
    named = [host for first, count, _ in ranges for host in range(first, first + count)]
    assert sorted(named) == sorted({*named})
    assert sum(count * mask.bit_count() for _, count, mask in ranges) == sum(
        hosts.bit_count() * mask.bit_count() for _, hosts, mask in rows
    )


@pytest.mark.parametrize("seed", range(12))
def test_whatever_it_answers_nothing_is_lost(seed: int) -> None:
    """Actions at random, most of them nonsense, then silence: every job ends, every GPU is free again, and none was held twice."""
    draw, cluster = random.Random(seed), make_cluster(("hgx", "leaves", "nvl72")[seed % 3])
    mine = random_jobs(draw, cluster, 80, 1, milli=0.2, priorities=(0, 1), levels=0.2)
    mine = [job for job in mine if feasible(cluster, job)]
    account = OutsideAccount("mine")
    engine: list[Scheduler] = []

    def ranges() -> list[HostRange] | None:
        if draw.random() < 0.4:
            return None
        hosts, full = cluster.host_count, (1 << cluster.gpus_per_host) - 1
        masks = (full, full, full, 1, draw.randint(0, 2 * full))
        return [(draw.randint(-1, hosts), draw.randint(0, 4), draw.choice(masks)) for _ in range(draw.randint(0, 3))]

    def action() -> Action:
        job, group = draw.randrange(-1, len(mine) + 1), draw.choice((0, 0, 1, 2))
        kind = draw.random()
        if kind < 0.7:
            return Start(job, ranges(), draw.random() < 0.1, group)
        return Preempt(job, "", group) if kind < 0.9 else Hold(job, "why", group)

    def ask(view: View) -> Decisions:
        if account.cycles > 25:
            raise Gone("it has had enough")
        for partition in engine[0].partitions:
            held = sum(engine[0].table.gpus[slot] for slot in partition.running if engine[0].table.milli_gpus[slot] == 1000)
            assert held + partition.free.free_gpus <= cluster.gpu_count
        return Decisions([action() for _ in range(draw.randint(0, 8))], view.now_ns + draw.randint(0, 3) * SECOND)

    policy = Outside(ask, POLICIES["easy"], account, lambda _: None).policy("mine")
    made = Scheduler.__init__

    def remembered(self: Scheduler, *arguments: Any) -> None:
        made(self, *arguments)
        engine.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scheduler, "__init__", remembered)
        starts, preempted, run = run_engine(cluster, mine, policy, "topology")
    assert account.fallback == "easy"
    assert account.refused[Rule.FREE] + account.refused[Rule.SIZE] > 0
    assert (run.chronicle.ended[State.FINISHED], run.scheduler.free_gpus()) == (len(mine), (cluster.gpu_count, 0))
    assert len(starts) == len(mine) + len(preempted) + run.chronicle.restarts


def test_what_was_decided_elsewhere_is_taken_over_unless_a_gpu_would_be_held_twice() -> None:
    """On a host that may not be used too: the job may have been there before."""
    scheduler = make_scheduler(make_cluster("hgx"))
    first, second = submit(scheduler, *jobs(2))
    ledger, free = scheduler.ledger, scheduler.partitions[0].free
    ledger.withhold(4, Withheld.DOWN)
    rows = rows_of(ledger, [(4, 1, FULL)])
    for slot in (first, second):
        scheduler.cancel_pending(slot)
    ledger.adopt(first, rows, 5 * SECOND)
    assert (scheduler.table.state[first], scheduler.table.start_ns[first], free.free_gpus) == (State.RUNNING, 5 * SECOND, 15 * 8)
    with pytest.raises(Refused, match="of host r00000-h04 not all of the GPUs 0, 1, 2, 3, 4, 5, 6, 7 are free"):
        ledger.adopt(second, rows, 5 * SECOND)
    assert scheduler.running == {first}
    scheduler.release(first, at_ns=9 * SECOND)
    ledger.release(4, Withheld.DOWN)
    assert free.free_gpus == 16 * 8


def test_who_was_stopped_and_goes_on_has_not_left() -> None:
    scheduler, program = followed()
    submit(scheduler, *jobs(2))
    does(scheduler, program, 0, Start(0))
    draft = scheduler.draft
    draft.begin(10 * SECOND)
    mark = draft.mark()
    draft.preempt(scheduler.table.slot_of[0])
    draft.undo(mark)
    submit(scheduler, Job(9, 0, 8, 100))
    does(scheduler, program, 20)
    assert (program.views[-1].left, program.views[-1].running, program.waiting()) == ([], [], [9])
