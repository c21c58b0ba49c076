"""Lives in closed form equal lives tick by tick, whatever happens in them and wherever they are looked at."""

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
        plain.detecting = True
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
