"""Classes of requests: each has its part, of whole sessions, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from emulator.workload.requests import Generator, GeneratorSettings, Lengths, Prioritized, constant
from tests.workload.requests.helpers import SECOND, same, taken

SOURCE = Generator(GeneratorSettings(requests_per_second=20.0, lengths=Lengths(constant(100), constant(10))))
TALKS = Generator(replace(SOURCE.settings, session_ratio=1.0, session_turns=5.0, think_seconds=10.0))
CLASSES = ((0.25, 7), (0.05, -2), (0.0, 99))


def test_each_class_has_its_part() -> None:
    """Within four standard deviations of the binomial distribution; the rest has 0."""
    found = taken(Prioritized(SOURCE, CLASSES), [2000 * SECOND]).priority
    for ratio, priority in ((0.25, 7), (0.05, -2), (0.7, 0), (0.0, 99)):
        assert abs(int((found == priority).sum()) - ratio * len(found)) <= 4 * np.sqrt(len(found) * ratio * (1 - ratio))


def test_all_of_them_may_be_of_classes() -> None:
    assert set(taken(Prioritized(SOURCE, tuple([(0.1, one) for one in range(1, 11)])), [1000 * SECOND]).priority.tolist()) == set(
        range(1, 11)
    )


def test_a_session_is_of_one_class() -> None:
    found = taken(Prioritized(TALKS, CLASSES), [2000 * SECOND])
    pairs = set(zip(found.key.tolist(), found.priority.tolist(), strict=True))
    assert len(pairs) == len(set(found.key.tolist())) < 0.5 * len(found)
    assert len({priority for _, priority in pairs}) == 3


def test_nothing_else_changes() -> None:
    without, found = taken(TALKS, [500 * SECOND]), taken(Prioritized(TALKS, CLASSES), [500 * SECOND])
    assert same(replace(found, priority=without.priority), without)


def test_pools_and_seeds_draw_anew() -> None:
    """Requests of one number are not of one class everywhere: pools of a seed agree as often as chance has it."""
    found = [taken(Prioritized(SOURCE, ((0.5, 1),)), [1000 * SECOND], seed=seed, pool=pool) for seed, pool in ((1, 0), (1, 1), (2, 0))]
    for other in found[1:]:
        _, here, there = np.intersect1d(found[0].key, other.key, return_indices=True)
        agree = found[0].priority[here] == other.priority[there]
        assert abs(agree.mean() - 0.5) < 4 * np.sqrt(0.25 / len(agree))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (((0.6, 1), (0.5, 2)), "ratios of all classes: 1.1 together .allowed: at most 1"),
        (((1.5, 1),), "ratio: 1.5 .allowed: 0 to 1"),
        (((float("nan"), 1),), "ratio: nan"),
        (((0.5, 2**31),), "priority: 2147483648 .allowed: -2147483647 to 2147483647"),
    ],
)
def test_what_cannot_be(classes: tuple[tuple[float, int], ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Prioritized(SOURCE, classes)
