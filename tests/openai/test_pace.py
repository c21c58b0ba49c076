"""Tokens are due at their emulated times."""

import math

from hypothesis import given
from hypothesis import strategies as st

from emulator.openai.pace import due_seconds
from emulator.openai.serving import Progress


def test_tokens_lie_between_the_first_and_the_last() -> None:
    progress = Progress(5, 0.5, 2.5, "finished")
    assert [due_seconds(progress, place, 2.0) for place in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.25]


def test_of_an_answer_under_way_they_are_due_as_they_are_told() -> None:
    progress = Progress(3, 0.5)
    assert [due_seconds(progress, place, 1.0) for place in range(3)] == [0.5, 0.5, 0.5]


def test_as_fast_as_it_can() -> None:
    assert due_seconds(Progress(2, 0.5, 9.0, "finished"), 1, math.inf) == 0.0


@given(st.integers(1, 50), st.floats(0, 100), st.floats(0, 100), st.floats(0.01, 1000))
def test_never_before_the_one_ahead_nor_after_the_end(tokens: int, first: float, more: float, speed: float) -> None:
    progress = Progress(tokens, first, first + more, "finished")
    due = [due_seconds(progress, place, speed) for place in range(tokens)]
    assert due == sorted(due)
    assert due[-1] <= (first + more) / speed * (1 + 1e-12)
