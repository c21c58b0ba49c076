"""Lives in closed form equal lives tick by tick, whatever happens in them and wherever they are looked at."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.jobs.life import IDLE_PHASES, Lives, Phase
from emulator.jobs.saving import Saving
from tests.jobs.plain import PlainRun

SPEEDS = {0: 0.0, 1: 0.5, 2: 1.0}

#: What may happen next: some time passes, the speed changes, it stands still for a while, or a fault makes it hang.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 40)),
        st.tuples(st.just("speed"), st.sampled_from([0, 1, 2])),
        st.tuples(st.just("still"), st.integers(1, 12)),
        st.tuples(st.just("look"), st.integers(1, 30)),
    ),
    max_size=30,
)


def lives_of(duration: int) -> Lives:
    lives = Lives()
    lives.extend([], [duration])
    return lives


def snapshot(lives: Lives) -> Lives:
    """Others, from what is written down of these."""
    others = Lives()
    others.restore(json.loads(json.dumps(lives.state())))
    assert others.state() == lives.state()
    names = ("remaining_ns", "speed", "again", "power_wait_ns", "spent_ns", "still_ns", "out", "paused", "full_clock_speed", "saving")
    assert all(getattr(others, name) == getattr(lives, name) for name in names)
    return others


def run_to(lives: Lives, plain: PlainRun, at: int) -> bool:
    """Both to ``at``, or to the end of the work; and on to the end of a unit of work, since the closed form keeps no part of one. Returns
    whether it is done.
    """
    while (plain.clock < at or plain.half_work) and not plain.done:
        plain.tick()
    lives.progress(0, plain.clock)
    return plain.done


@settings(max_examples=400, deadline=None)
@given(
    duration=st.integers(1, 300),
    ahead=st.integers(0, 15),
    every=st.sampled_from([0, 1, 2, 7, 20]),
    write=st.integers(0, 9),
    settle=st.integers(0, 20),
    steps=STEPS,
    fault=st.booleans(),
)
def test_equals_the_plain_version(
    duration: int, ahead: int, every: int, write: int, settle: int, steps: list[tuple[str, int]], fault: bool
) -> None:
    settle = min(settle, every)
    lives, plain = lives_of(duration), PlainRun(duration, ahead, every, write, settle)
    lives.start(0, 0, ahead, Saving(every, write, settle) if every else None)
    for what, amount in steps:
        if what == "pass":
            if run_to(lives, plain, plain.clock + amount):
                break
        elif what == "look":  # ahead, which changes nothing
            before = (lives.remaining_ns[0], lives.since_ns[0], str(lives.saving.get(0)))
            lives.passage(0, amount)
            assert (lives.remaining_ns[0], lives.since_ns[0], str(lives.saving.get(0))) == before
        elif what == "speed":
            plain.halves, lives.speed[0] = amount, SPEEDS[amount]
        elif plain.halves:
            lives.stand_still(0, plain.clock + amount)
            plain.still = max(plain.still, amount)
        if not plain.done:
            assert lives.remaining_ns[0] == plain.remaining
    if plain.done:
        assert lives.remaining_ns[0] == 0
    elif fault:
        safe = plain.safe_remaining()
        lives.lose_work(0, duration)
        assert lives.remaining_ns[0] == (duration if safe < 0 else safe)
        assert lives.lost_ns[0] == lives.remaining_ns[0] - plain.remaining
        lives.out[0] = Phase.DETECTING
        plain.out = "detecting"
        for _ in range(5):
            plain.tick()
        lives.progress(0, plain.clock)
    elif plain.halves:
        end = lives.end_ns(0)
        run_to(lives, plain, 10**6)
        assert plain.clock == end
        assert lives.remaining_ns[0] == 0
    spent = {phase: lives.spent_ns[phase][0] for phase in IDLE_PHASES}
    assert spent[Phase.STARTING] == plain.spent["ahead"]
    assert spent[Phase.STALLED] == plain.spent["stalled"]
    assert spent[Phase.CHECKPOINT] == plain.spent["checkpoint"]
    assert spent[Phase.DETECTING] == plain.spent["detecting"]
    assert plain.clock - sum(spent.values()) == plain.spent["working"]
    assert lives.work_ns[0] == plain.work


RUNS = st.lists(
    st.tuples(
        st.integers(0, 9),  # ahead of its work
        st.integers(0, 60),  # how long it runs, if it is not done before
        st.sampled_from(["fault", "kept", "drained", "cut", "suspended", "paused"]),
        st.integers(1, 8),  # how long that takes
        st.integers(1, 8),  # until it is restarted, where it is kept
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=400, deadline=None)
@given(
    duration=st.integers(1, 200),
    every=st.sampled_from([0, 3, 10]),
    write=st.integers(0, 5),
    settle=st.integers(0, 10),
    runs=RUNS,
    twice=st.booleans(),
)
def test_whole_lives_equal_those_lived_second_by_second(
    duration: int, every: int, write: int, settle: int, runs: list[tuple[int, int, str, int, int]], twice: bool
) -> None:
    """Run after run: it hangs after a fault, is kept, drains, is cut off, is suspended, or pauses. ``twice``: from snapshots on."""
    settle, clock, left = min(settle, every), 0, duration
    lives, spent, lost, work = lives_of(duration), Counter[str](), 0, 0
    for number, (ahead, length, end, out, wait) in enumerate(runs):
        began, plain = clock, PlainRun(left, ahead, every, write, settle)
        lives.start(0, began, ahead, Saving(every, write, settle) if every else None)

        def live(time: int, began: int = began, plain: PlainRun = plain) -> None:
            nonlocal lives
            for _ in range(time):
                if not plain.done:
                    plain.tick()
            lives.progress(0, began + plain.clock)
            lives = snapshot(lives) if twice else lives

        def be(phase: Phase, time: int, plain: PlainRun = plain) -> None:
            plain.out, lives.out[0] = phase.name.lower(), phase
            live(time)

        def lose(plain: PlainRun = plain) -> int:
            lives.lose_work(0, duration)
            return plain.safe_remaining() if every else duration

        live(length)
        if not plain.done and end == "paused":
            plain.out = "paused"
            lives.paused.add(0)
            live(out)
            plain.out = ""
            lives.paused.discard(0)
            live(wait)
        left = plain.remaining
        if not plain.done and end in ("fault", "kept"):
            left = lose()
            be(Phase.DETECTING, out)
            if end == "kept":
                be(Phase.RESTARTING, wait)
        elif not plain.done and end in ("drained", "cut"):
            be(Phase.DRAINING, out)
            left = lose() if end == "cut" else left
        lives.stop(0, plain.clock)
        clock, work, lost = clock + plain.clock, work + plain.work, lost + left - plain.remaining
        spent.update({"again" if name == "ahead" and number else name: time for name, time in plain.spent.items()})
        assert lives.remaining_ns[0] == left
        if plain.done:
            break
    assert (lives.run_ns[0], lives.work_ns[0], lives.lost_ns[0]) == (clock, work, lost)
    assert {phase: lives.spent_ns[phase][0] for phase in IDLE_PHASES} == {
        Phase.STARTING: spent["ahead"],
        Phase.RESTARTING: spent["again"] + spent["restarting"],
        Phase.CHECKPOINT: spent["checkpoint"],
        Phase.STALLED: spent["stalled"],
        Phase.DETECTING: spent["detecting"],
        Phase.DRAINING: spent["draining"],
        Phase.PAUSED: spent["paused"],
    }
    assert clock == sum(spent.values())
    assert not lives.out
    assert not lives.saving


def test_checkpoints_take_what_they_take() -> None:
    """100 s of work with a checkpoint of 3 s each 30 s: three are written, since after the last 10 s there is nothing to save."""
    lives = lives_of(100)
    lives.start(0, 0, 5, Saving(30, 3))
    assert lives.end_ns(0) == 5 + 100 + 3 * 3
    lives.progress(0, 5 + 30 + 1)
    assert lives.phase(0) == Phase.CHECKPOINT
    assert lives.saving[0].lost_ns() == 30, "it is not written yet"
    lives.progress(0, 5 + 30 + 3 + 7)
    assert (lives.phase(0), lives.saving[0].lost_ns()) == (Phase.WORKING, 7)


def test_an_asynchronous_checkpoint_is_safe_only_when_it_is_in_storage() -> None:
    lives = lives_of(100)
    lives.start(0, 0, 0, Saving(30, 1, 20))
    lives.progress(0, 30 + 1 + 19)
    assert lives.saving[0].lost_ns() == 19 + 30
    lives.progress(0, 30 + 1 + 20)
    assert lives.saving[0].lost_ns() == 20


@pytest.mark.parametrize(("again", "phase"), [(False, Phase.STARTING), (True, Phase.RESTARTING)])
def test_a_first_start_and_others(again: bool, phase: Phase) -> None:
    lives = lives_of(10)
    lives.again[0] = again
    lives.start(0, 0, 4, None)
    assert lives.phase(0) == phase
    lives.progress(0, 6)
    assert (lives.spent_ns[phase][0], lives.work_ns[0]) == (4, 2)
