"""A pool against one that goes step by step."""

import subprocess
import sys
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.draws import Stream, bits
from emulator.power.clocks import FULL, LOWEST
from emulator.racks.pool import Asks, Pool
from emulator.racks.pool_layout import LATEST_PS, NEVER_PS, NOT_YET
from emulator.racks.pool_records import DoesNotFit, EndedRequests, How, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.workload.serving.costs import BLOCK_TOKENS, StepCosts
from tests.racks.given_steps import tables
from tests.racks.plain_pool import PlainPool, Request

COUNTS = [
    "steps", "tokens_in", "tokens_out", "preemptions", "again_tokens", "cached_tokens", "busy_ps", "floor_ps", "memory_ps", "compute_ps",
    "crossed_ps",
]  # fmt: skip


@dataclass
class Case:
    costs: tuple[StepCosts, StepCosts]  # at the full clock, and at a lower one
    limits: ReplicaLimits
    settings: PoolSettings
    requests: list[Request]
    asks: list[Request]  # of users
    #: In order of time: what is done, and which of the places that are there it is done to.
    orders: list[tuple[int, str, int]]


def columns(requests: list[Request]) -> PoolRequests:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in requests], np.int64)

    start = np.cumsum([0] + [len(one.hashes) for one in requests])
    hashes = np.array([one for request in requests for one in request.hashes], np.int64)
    names = ("number", "arrival_ps", "prompt", "output", "priority", "cancel_ps")
    number, arrival_ps, prompt, output, priority, cancel_ps = (column(name) for name in names)
    return PoolRequests(number, arrival_ps, prompt, output, priority, cancel_ps, start, hashes, number, column("ready"), 2 * number)


ORDERS = ("open", "drain", "lose", "read", "cut", "restore", "rebase", "pace", "users")


def asks_of(asks: list[Request]) -> Asks:
    think_ps = np.array([one.think_ps for one in asks], np.int64)

    def next_ones(first: int, count: int) -> PoolRequests:
        rows = slice(first, first + min(count, 3))  # few, so that there are more to be asked for
        found = columns(asks[rows])
        return replace(found, tag=np.full(len(found.tag), -1), think_ps=think_ps[rows])

    return next_ones


#: Users' requests are numbered from 0 on.
FIRST_OF_OTHERS = 1000
GAPS = st.sampled_from([0, 0, 1, 10, 50, 1000, 20_000])
TIMES = st.one_of(st.integers(0, 3000), st.integers(0, 100_000))


@st.composite
def step_costs(draw: st.DrawFn, table: np.ndarray, running: int, kv: int, width: int) -> StepCosts:
    base, attention = draw(st.sampled_from([1, 10, 100])), draw(st.sampled_from([0, 1, 7]))
    plain = StepCosts.plain(base, table, running, kv, attention, table // 2)
    if width == 1:
        return plain
    decode = table[np.minimum(width * np.arange(len(table)), len(table) - 1)] // 2
    return replace(plain, width=width, decode_base_ps=max(1, base // 2), decode_ps=decode, decode_weights_ps=decode // 3, decode_ratio=0.5)


@st.composite
def cases(draw: st.DrawFn, *, cached: bool = False) -> Case:
    """Few blocks, seats and tokens, so that they run out; arrivals at the ends of steps too, since these are sums of few numbers.

    ``cached``: patient requests with few texts, for replicas that choose by their caches.
    """
    tokens = draw(st.sampled_from([1, 3, 16, 40, 200]))
    kv, running = (draw(st.sampled_from([0, 1, 7])) for _ in range(2))
    table = np.cumsum([0] + [draw(st.integers(0, 3)) for _ in range(tokens)]).astype(np.int64)
    width = 1 if cached or draw(st.booleans()) else draw(st.integers(1, min(tokens, 4)))
    costs = draw(step_costs(table, running, kv, width)), draw(step_costs(table + table // 3, running, kv, width))
    count = draw(st.integers(1, 14))
    at = np.cumsum([draw(GAPS) for _ in range(count)]).tolist()
    requests, asks = list[Request](), list[Request]()
    for number, arrival in enumerate(at):
        cancel = min(NEVER_PS, arrival + draw(st.one_of(st.just(NEVER_PS), TIMES)))
        lengths = draw(st.integers(1, 90)), draw(st.integers(1, 70))
        requests.append(Request(FIRST_OF_OTHERS + number, arrival, *lengths, draw(st.sampled_from([0, 0, 0, 1, 2])), cancel))
    for number in range(0 if cached else draw(st.sampled_from([0, 1, 5, 12]))):
        lengths = draw(st.integers(1, 90)), draw(st.integers(1, 70))
        cancel = draw(st.one_of(st.just(NEVER_PS), TIMES))
        asks.append(Request(number, NEVER_PS, *lengths, draw(st.sampled_from([0, 0, 1])), cancel, think_ps=draw(GAPS)))
    if draw(st.booleans()):
        for one in (*requests, *asks):
            one.priority = 0
    if cached or draw(st.booleans()):
        for one in (*requests, *asks):
            one.cancel_ps = NEVER_PS
    longest = max(-(-(one.prompt + one.output) // BLOCK_TOKENS) for one in requests)
    limits = ReplicaLimits(
        tokens, draw(st.integers(1, 6)), longest + draw(st.sampled_from([0, 0, 1, 2, 4, 12])), reserves=draw(st.booleans())
    )
    policy = PoolSettings(
        router=Router.PREFIX_AWARE if cached else draw(st.sampled_from(Router)),
        most_waiting=draw(st.sampled_from([1, 2, 5, NEVER_PS])),
        retries=draw(st.sampled_from([0, 1, 3])),
        retry_after_ps=draw(st.sampled_from([1, 50, 3000])),
        first_token_limit_ps=NEVER_PS if cached else draw(st.sampled_from([NEVER_PS, NEVER_PS, 20, 700, 10_000])),
        seed=draw(st.integers(0, 5)),
        entity=draw(st.integers(0, 5)),
        cache_block_tokens=(piece_tokens := draw(st.sampled_from([16, 16, 32] if cached else [0, 0, 16, 32]))),
        unlimited_cache=not cached and draw(st.booleans()),
        imbalance=draw(st.sampled_from([0, 1, 64])),
    )
    if not piece_tokens and draw(st.booleans()):
        for one in requests:
            one.ready = draw(st.sampled_from([0, one.prompt - 1, (one.prompt - 1) // 2]))
    if piece_tokens:
        for one in requests:  # of few texts, which some follow to their end and others leave on the way
            text, leaves_at = draw(st.integers(0, 2)), draw(st.integers(0, 6))
            most = draw(st.sampled_from([one.prompt // piece_tokens if cached else 0, one.prompt // piece_tokens]))
            one.hashes = tuple(1000 * text + at if at < leaves_at else 10**15 + 1000 * one.number + at for at in range(most))
    opened = [(0, "open", 0)] * draw(st.integers(1, 4))
    opened += [(0, "users", draw(st.integers(0, 4)))] if asks else []
    arrivals = st.sampled_from(at)
    times = st.one_of(TIMES, st.tuples(arrivals, st.sampled_from([0, 1, 10, 60, 300, 2000])).map(sum))
    orders = draw(
        st.lists(
            st.tuples(times, st.sampled_from(ORDERS), st.integers(0, 9)),
            max_size=10,
        )
    )
    # A reading is as of before an instant, and what else is done at it comes behind the steps that end then: so readings go first.
    orders.sort(key=lambda order: (order[0], order[1] != "read"))
    return Case(costs, limits, policy, requests, asks, opened + orders)


def check_reading(pool: Pool, plain: PlainPool, now: int, zero: int) -> None:
    read = pool.read(now - zero)
    assert read.place.tolist() == sorted(plain.replicas)
    for row, place in enumerate(read.place.tolist()):
        replica = plain.replicas[place]
        found = [read.running[row], read.waiting[row], read.blocks[row], *(getattr(read, name)[row] for name in COUNTS)]
        assert found == [len(replica.running), len(replica.waiting), plain.used(replica), *replica.counts]
    there = [one for replica in plain.replicas.values() for one in (*replica.running, *replica.waiting)] + plain.again
    under_way = {one.number: one.generated for one in there if one.think_ps is None}
    tags = np.array(sorted([*under_way, *(one.number for one in (*plain.ended, *plain.coming))]), np.int64)
    assert pool.progress(tags).tolist() == [under_way.get(tag, -1) for tag in tags.tolist()]


def play(  # noqa: C901 - one branch an order
    case: Case, *, compiled: bool
) -> tuple[PlainPool, Pool, dict[str, np.ndarray]]:
    """Both pools through the same orders, compared wherever they are read; gives both and the columns of the requests that ended."""
    every = [*case.requests, *case.asks]
    drawn = bits(case.settings.seed, Stream.ROUTE, case.settings.entity, np.array([one.number for one in every])) >> np.uint64(2)
    for one, bits_of_it in zip(every, drawn.tolist(), strict=True):
        one.draw = bits_of_it
    asks = asks_of([replace(one) for one in case.asks])
    plain = PlainPool(case.costs, case.limits, case.settings, case.requests, case.asks)
    pool = Pool(tables(*case.costs), case.limits, case.settings, asks=asks, compiled=compiled)
    pool.give(columns(case.requests))
    taken: list[dict[str, np.ndarray]] = []
    zero = 0

    def take() -> None:
        ended = pool.take_ended()
        found = {name.name: getattr(ended, name.name).copy() for name in fields(EndedRequests)}
        for name in ("arrival_ps", "begun_ps", "first_ps", "done_ps"):
            found[name] = np.where(found[name] == NOT_YET, NOT_YET, found[name] + zero)
        assert np.array_equal(found["way"], 2 * found["number"])
        taken.append(found)

    for now, what, which in case.orders:
        there = sorted(place for place, one in plain.replicas.items() if what == "lose" or not one.draining)
        place = there[which % len(there)] if there else None
        if what == "open":
            assert pool.open(now - zero) == plain.open(now)
        elif what in {"drain", "lose"} and place is not None:
            getattr(pool, what)(place, now - zero)
            getattr(plain, what)(place, now)
        elif what == "pace" and place is not None:
            pool.set_pace(place, now - zero, LOWEST if which % 2 else FULL, which // 4)
            plain.set_pace(place, now, slow=which % 2 == 1, token_ps=which // 4)
        elif what == "users":
            pool.set_users(which, now - zero)
            plain.set_users(which, now)
        else:
            pool.advance(now - zero)
            plain.run(now)
            plain.now_ps = max(plain.now_ps, now)
        if what == "read":
            check_reading(pool, plain, now, zero)
            assert pool.drained() == plain.drained()
        elif what == "restore":
            if which % 2:
                take()
            kept = pool.state()
            pool = Pool(tables(*case.costs), case.limits, case.settings, asks=asks, compiled=not compiled if which > 6 else compiled)
            pool.restore(kept)
        elif what == "rebase":
            take()
            pool.rebase(min(pool.now_ps, which * 100))
            zero = now - pool.now_ps
    there_is_more = plain.coming or plain.under_way() or plain.thinking or any(one.gone for one in plain.replicas.values())
    if not plain.users:
        assert pool.next_ps() != NEVER_PS if there_is_more else pool.next_ps() in {NEVER_PS, pool.now_ps}  # a step ended just now
    pool.advance(LATEST_PS)
    plain.run()
    take()
    return plain, pool, {name: np.concatenate([one[name] for one in taken]) for name in taken[0]}


def as_table(found: dict[str, np.ndarray]) -> dict[int, tuple[int, ...]]:
    times = ("arrival_ps", "begun_ps", "first_ps", "done_ps")
    names = (*times, "prompt", "output", "generated", "cached", "tries", "place", "how", "priority")
    rows = zip(*(found[name].tolist() for name in names), strict=True)
    return dict(zip(found["number"].tolist(), rows, strict=True))


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(cases(), cases(cached=True)), st.booleans())
def test_every_request_is_as_step_by_step(case: Case, compiled: bool) -> None:
    """To the picosecond, wherever the run is cut, read, kept and restored; compiled or not."""
    plain, pool, found = play(case, compiled=compiled)
    assert as_table(found) == {
        one.number: (
            one.arrival_ps,
            one.begun_ps,
            one.first_ps,
            one.done_ps,
            one.prompt,
            one.output,
            one.generated,
            one.cached,
            one.tries,
            one.place,
            one.how,
            one.priority,
        )
        for one in plain.ended
    }
    check_reading(pool, plain, pool.now_ps, 0)
    assert pool.lost_tokens == plain.lost_tokens
    assert pool.counts_of_gone.tolist() == plain.counts_of_gone
    counted = pool.counts_of_gone[2] + pool.read(pool.now_ps).tokens_out.sum()
    assert counted == found["generated"][found["how"] == How.FINISHED].sum() + pool.lost_tokens, "tokens in are tokens out and lost ones"


def test_what_a_pool_cannot_do_is_refused() -> None:
    table = np.zeros(9, np.int64)
    costs, limits, policy = StepCosts.plain(1, table, 0, 0, 0, table), ReplicaLimits(8, 4, 2), PoolSettings()
    pool = Pool(tables(costs), limits, policy, compiled=False)

    def given(*arrival_and_lengths: tuple[int, int, int]) -> PoolRequests:
        arrivals, prompts, outputs = np.array(arrival_and_lengths, np.int64).T
        return PoolRequests.of(arrivals, prompts, outputs)

    with pytest.raises(DoesNotFit, match="a request of 33 tokens; the KV memory holds 32"):
        pool.give(given((0, 30, 3)))
    with pytest.raises(ValueError, match="order of arrival"):
        pool.give(given((5, 1, 1), (0, 1, 1)))
    with pytest.raises(ValueError, match="without a token"):
        pool.give(given((0, 1, 0)))
    with pytest.raises(ValueError, match="less than"):
        pool.give(given((LATEST_PS, 1, 1)))
    pool.give(given((5, 1, 1)))
    with pytest.raises(ValueError, match="order of arrival"):
        pool.give(given((4, 1, 1)))
    with pytest.raises(ValueError, match="numbers of requests are to rise"):
        pool.give(given((6, 1, 1)))
    with pytest.raises(ValueError, match="no replica at place 0"):
        pool.drain(0, 5)
    with pytest.raises(ValueError, match="floor is 0 ps"):
        Pool(tables(StepCosts.plain(0, table, 0, 0, 0, table)), limits, policy, compiled=False)
    with pytest.raises(ValueError, match="9 step times"):
        Pool(tables(costs), ReplicaLimits(9, 4, 2), policy, compiled=False)
    with pytest.raises(ValueError, match="0 seats"):
        Pool(tables(costs), ReplicaLimits(8, 0, 2), policy, compiled=False)
    with pytest.raises(ValueError, match="goes away at"):
        pool.give(replace(given((9, 1, 1)), cancel_ps=np.array([LATEST_PS]), number=np.array([9])))
    with pytest.raises(ValueError, match="first_token_limit_ps of"):
        PoolSettings(first_token_limit_ps=LATEST_PS)
    with pytest.raises(ValueError, match="retry_after_ps of 0"):
        PoolSettings(retry_after_ps=0)
    with pytest.raises(ValueError, match="multiples of 16"):
        PoolSettings(cache_block_tokens=24)


def test_numba_is_imported_by_runs_that_serve_alone() -> None:
    program = """
import sys
import emulator.racks.pool
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
