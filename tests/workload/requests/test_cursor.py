"""The cursor: cuts, shares and pools change nothing that they should not."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.workload.requests import (
    NAMED_LENGTHS,
    SLICE_NS,
    Arrivals,
    Generator,
    GeneratorSettings,
    Prioritized,
    RequestColumns,
    RequestTrace,
    Source,
    constant,
    join,
)
from emulator.workload.requests.lengths import Lengths
from tests.workload.requests.helpers import SECOND, same, taken

END = 90 * SECOND
BURSTY = GeneratorSettings(requests_per_second=4.0, diurnal_ratio=0.4, burst_shape=2.0, burst_period_seconds=20.0)
TALKATIVE = replace(BURSTY, session_ratio=0.7, think_seconds=15.0, system_tokens=700, block_tokens=64, lengths=NAMED_LENGTHS["azure-conv"])


def trace(repeats: int = 0, together: bool = True) -> RequestTrace:
    """Twelve requests of five sessions within 17 seconds, some at one instant, over and over."""
    arrival_ns = np.array([0, 1, 1, 1, 3, 4, 5, 8, 8, 13, 16, 17]) * SECOND
    session = np.array([0, 1, 0, 2, 3, 1, 0, 4, 4, 2, 3, 0])
    count = np.arange(12) % 3
    start = np.concatenate(([0], np.cumsum(count)))
    hashes = np.concatenate([session[i] * 10 + np.arange(count[i]) for i in range(12)]).astype(np.int64)
    columns = RequestColumns(arrival_ns, 600 + np.arange(12), 1 + np.arange(12), start, hashes, session, np.arange(12) % 3)
    return RequestTrace(columns, 18 * SECOND, repeats, together)


SOURCES: dict[str, Source] = {
    "generator": Generator(BURSTY),
    "sessions": Generator(TALKATIVE),
    "trace": trace(),
    "trace by request": trace(together=False),
    "trace that ends": trace(repeats=3),
    "classes": Prioritized(Generator(TALKATIVE), ((0.3, 5), (0.2, -1))),
}


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=30)
@given(
    cuts=st.lists(
        st.one_of(st.integers(0, END), st.integers(0, 9).map(lambda k: k * SLICE_NS), st.integers(0, 90).map(lambda k: k * SECOND))
    )
)
def test_cuts_change_nothing(name: str, cuts: list[int]) -> None:
    whole = taken(SOURCES[name], [END])
    assert len(whole) > 30
    assert same(taken(SOURCES[name], [*sorted(cuts), END]), whole)


@pytest.mark.parametrize("name", SOURCES)
@given(cut=st.integers(0, END))
@settings(max_examples=15)
def test_a_restored_cursor_goes_on(name: str, cut: int) -> None:
    source = SOURCES[name]
    first = Arrivals(source, 3, 2, 5)
    before = first.take(cut, 0.2, 0.9)
    other = Arrivals(source, 3, 2, 5)
    other.restore(first.state())
    assert other.at_ns == cut
    rest = other.take(END, 0.2, 0.9)
    assert same(rest, first.take(END, 0.2, 0.9))
    assert same(join([before, rest]), taken(source, [END], 3, 2, 5, (0.2, 0.9)))


@pytest.mark.parametrize("name", SOURCES)
def test_a_share_holds_for_the_slices_that_begin_with_it(name: str) -> None:
    """At 13 s, inside the second slice, the share changes. That slice is the old share's to its end; all cuts agree on it."""
    source = SOURCES[name]

    def run(cuts: list[int]) -> RequestColumns:
        cursor = Arrivals(source, 1, 0, 0)
        return join([cursor.take(cut, *((0.0, 0.3) if cut <= 13 * SECOND else (0.3, 1.0))) for cut in cuts])

    changed = run([13 * SECOND, END])
    assert same(changed, run([SECOND, 13 * SECOND, 14 * SECOND, 31 * SECOND + 7, END]))
    old = taken(source, [END], share=(0.0, 0.3))
    early = int(np.searchsorted(old.arrival_ns, 2 * SLICE_NS))
    assert same(changed.rows(0, early), old.rows(0, early))
    assert len(changed) > len(old)


@pytest.mark.parametrize("name", ["trace", "trace by request", "trace that ends"])
@given(bounds=st.lists(st.floats(0.0, 1.0), max_size=5))
@settings(max_examples=25)
def test_pools_split_a_trace(name: str, bounds: list[float]) -> None:
    """Whatever the shares, every request is one pool's, with its own lengths and hashes."""
    ends = [0.0, *sorted(bounds), 1.0]
    parts = [taken(SOURCES[name], [END], pool=pool, share=(low, high)) for pool, (low, high) in enumerate(pairwise(ends))]
    whole = taken(SOURCES[name], [END])

    def rows(columns: RequestColumns) -> list[tuple[object, ...]]:
        one = [columns.rows(i, i + 1) for i in range(len(columns))]
        return [(int(r.arrival_ns[0]), int(r.prompt[0]), int(r.output[0]), int(r.key[0]), tuple(r.hashes.tolist())) for r in one]

    assert sorted(row for part in parts for row in rows(part)) == sorted(rows(whole))
    if name == "trace":
        keys = [set(part.key.tolist()) for part in parts]
        assert sum(map(len, keys)) == len(set(whole.key.tolist())), "a session is in two pools"


def test_trace_is_split_in_proportion() -> None:
    part = taken(trace(together=False), [3600 * SECOND], share=(0.25, 0.5))
    whole = 12 * 200
    assert abs(len(part) - whole / 4) < 5 * np.sqrt(whole * 3 / 16)


def test_pools_of_a_generator_are_independent() -> None:
    """What a pool gets does not depend on other pools being there, nor on the order in which they are asked; two pools differ."""
    source = Generator(TALKATIVE)
    alone = taken(source, [END], pool=2, share=(0.5, 0.75))
    cursors = {pool: Arrivals(source, 1, 0, pool) for pool in (7, 2, 0)}
    windows: dict[int, list[RequestColumns]] = {pool: [] for pool in cursors}
    for cut in range(15 * SECOND, END + 1, 15 * SECOND):
        for pool, cursor in cursors.items():
            windows[pool].append(cursor.take(cut, 0.5, 0.75))
    assert same(join(windows[2]), alone)
    assert not np.intersect1d(join(windows[7]).arrival_ns, alone.arrival_ns).size


def test_thinned_pools_have_the_rate_of_the_service() -> None:
    """Pools with a tenth and nine tenths together get as many as the service; each gets its part, with Poisson's scatter."""
    source = Generator(GeneratorSettings(requests_per_second=20.0, lengths=Lengths(constant(10), constant(10))))
    end = 3600 * SECOND
    small, large = taken(source, [end], share=(0.0, 0.1)), taken(source, [end], pool=1, share=(0.1, 1.0))
    for part, mean in ((small, 7200), (large, 64_800)):
        assert abs(len(part) - mean) < 4 * np.sqrt(mean)


def test_services_and_seeds_differ() -> None:
    source = Generator(BURSTY)
    found = [taken(source, [END], seed, service).arrival_ns.tolist() for seed in (1, 2) for service in (0, 1, 4095)]
    assert len({tuple(one) for one in found}) == 6


def test_a_pool_that_comes_later_begins_with_the_next_slice() -> None:
    source = Generator(BURSTY)
    late = Arrivals(source, 1, 0, 0, start_ns=12 * SECOND).take(END, 0.0, 1.0)
    whole = taken(source, [END])
    first = int(np.searchsorted(whole.arrival_ns, 2 * SLICE_NS))
    assert same(late, whole.rows(first, len(whole)))


def test_sessions_are_under_way_at_the_start() -> None:
    """The first minutes have the rate of all: 4 a second, in hundreds of pools that each see a part of a session's turns."""
    source = Generator(replace(TALKATIVE, burst_shape=0.0, diurnal_ratio=0.0))
    counts = [len(taken(source, [30 * SECOND], pool=pool)) for pool in range(200)]
    # A session's turns come together, so counts scatter more than Poisson's: by at most the 7 turns of a size-biased session.
    assert abs(np.mean(counts) - 120) < 4 * np.sqrt(120 * 7 / 200)


def test_no_share_gives_nothing() -> None:
    assert len(taken(Generator(BURSTY), [END], share=(0.4, 0.4))) == 0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.take(SECOND, 0.5, 0.4), "share"),
        (lambda c: c.take(SECOND, float("nan"), 0.4), "share"),
        (lambda c: (c.take(5 * SECOND, 0.0, 1.0), c.take(SECOND, 0.0, 1.0)), "until_ns: 1000000000"),
        (lambda _: Arrivals(Generator(BURSTY), 1, 4096, 0), "service: 4096 .allowed: 0 to 4095"),
        (lambda _: Arrivals(Generator(BURSTY), 1, 0, -1), "pool: -1"),
    ],
)
def test_what_a_cursor_refuses(call, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=said):
        call(Arrivals(Generator(BURSTY), 1, 0, 0))
