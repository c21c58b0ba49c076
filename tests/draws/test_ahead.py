"""Draws made ahead are those made one by one, whoever asks for which first."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from emulator.draws import Stream, exponential, normal, uniform
from emulator.draws.ahead import BLOCKS_KEPT, TOGETHER, Ahead
from emulator.jobs.costs import StartUp
from emulator.jobs.stragglers import drawn_luck

ENTITIES = st.lists(st.integers(0, 2**40) | st.integers(0, 40 * TOGETHER), min_size=1, max_size=30)


@given(ENTITIES)
def test_each_entity_has_what_it_has_alone(entities: list[int]) -> None:
    ahead = Ahead(lambda numbers: normal(7, Stream.JOB_START_UP, numbers, 0).tolist())
    assert [ahead.of(entity) for entity in entities] == [float(normal(7, Stream.JOB_START_UP, entity, 0)) for entity in entities]


def test_only_the_last_blocks_are_kept() -> None:
    asked = list[int]()

    def draw(numbers: NDArray[np.int64]) -> list[int]:
        asked.append(int(numbers[0]) // TOGETHER)
        return [int(number) for number in numbers]

    ahead = Ahead(draw)
    for block in (*range(BLOCKS_KEPT), 0, BLOCKS_KEPT, BLOCKS_KEPT, 1, 0):
        assert ahead.of(block * TOGETHER + 5) == block * TOGETHER + 5
    assert asked == [*range(BLOCKS_KEPT), BLOCKS_KEPT, 0]


@given(st.integers(0, 2**32))
def test_what_is_drawn_for_jobs_has_the_bits_of_single_draws(job: int) -> None:
    (start_up,) = StartUp().drawn_ns(3, np.array([job]))
    assert StartUp().drawn_ns(3, np.arange(job - min(job, 500), job + 500))[min(job, 500)] == start_up
    uniforms = [float(uniform(3, Stream.FAIL_SLOW, job, counter)) for counter in range(4)]
    (luck,) = drawn_luck(3, np.array([job])).tolist()
    assert luck == uniforms + [float(exponential(3, Stream.FAIL_SLOW, job, counter)) for counter in (4, 5)]
