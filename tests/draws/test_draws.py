"""The draws against Random123's known answers, and themselves in other pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import draws
from emulator.draws.philox import philox, philox_one

FourWords = tuple[int, int, int, int]
# Random123 tests/kat_vectors, "philox4x32 10": counter, key, answer.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
seeds = st.integers(0, 2**64 - 1)
words = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_known_answers(counter: FourWords, key: tuple[int, int], answer: FourWords) -> None:
    assert philox_one(counter, key) == answer
    a, b, c, d = (np.array([word], np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in philox((a, b, c, d), key)) == answer


@given(seeds, words, st.lists(st.tuples(seeds, words), min_size=1, max_size=20))
def test_one_draw_equals_the_same_draw_among_many(seed: int, stream: int, pairs: list[tuple[int, int]]) -> None:
    entity, counter = (np.array(column, np.uint64) for column in zip(*pairs, strict=True))
    together = draws.bits(seed, stream, entity, counter)
    assert [int(draws.bits(seed, stream, e, c)) for e, c in pairs] == together.tolist()
    assert draws.uniform(seed, stream, entity, counter).tolist() == [float(draws.uniform(seed, stream, e, c)) for e, c in pairs]
    assert draws.exponential(seed, stream, entity, counter).tolist() == [float(draws.exponential(seed, stream, e, c)) for e, c in pairs]


def test_pieces_and_broadcasting_change_nothing() -> None:
    entities = np.arange(40_000)
    whole = draws.bits(7, draws.Stream.HOST_FAULT, entities, 3)
    parts = [draws.bits(7, draws.Stream.HOST_FAULT, part, 3) for part in np.array_split(entities, 7)]
    assert np.array_equal(whole, np.concatenate(parts))
    table = draws.bits(7, 1, np.arange(5)[:, None], np.arange(4))
    assert table.shape == (5, 4)
    assert table[2, 3] == draws.bits(7, 1, 2, 3)
    assert draws.bits(7, 1, np.empty(0, np.int64), 3).shape == (0,)


def test_seed_stream_entity_and_counter_all_matter() -> None:
    base = int(draws.bits(1, 2, 3, 4))
    others = [(1 + 2**32, 2, 3, 4), (2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 3 + 2**32, 4), (1, 2, 4, 4), (1, 2, 3, 5)]
    assert len({base, *(int(draws.bits(*other)) for other in others)}) == 7


def test_moments_and_range() -> None:
    entities = np.arange(200_000)
    u = draws.uniform(11, 1, entities, 0)
    assert 0.0 < u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1.0
    assert np.abs(np.histogram(u, 20, (0, 1))[0] - 10_000).max() < 5 * np.sqrt(9_500)
    assert draws.exponential(11, 1, entities, 0).mean() == pytest.approx(1.0, abs=5 / np.sqrt(entities.size))
    z = draws.normal(11, 1, entities, 0)
    assert (z.mean(), z.std()) == (pytest.approx(0.0, abs=0.012), pytest.approx(1.0, abs=0.01))
