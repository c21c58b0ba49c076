"""A pool of replicas that compute prompts and replicas that answer, against two plain pools and transfers one after the other."""

from dataclasses import dataclass, field, fields, replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.draws import Stream, bits
from emulator.racks.pool_layout import LATEST_PS, NEVER_PS, NOT_YET
from emulator.racks.pool_records import EndedRequests, How, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.racks.split_pool import SplitPool
from emulator.racks.transfers import SLOWEST_PS, Transfers
from emulator.workload.serving.costs import BLOCK_TOKENS, StepCosts
from tests.racks.given_steps import tables
from tests.racks.plain_pool import PlainPool, Request

OTHER_ENTITY = 1 << 40
#: A turn that nobody has: the replica that computed the prompt has left.
DRAINED = -1
Order = tuple[int, str, int, int]  # time, what is done, and two numbers
Row = tuple[int | None, ...]


@dataclass(eq=False)
class OnItsWay:
    number: int
    ready_ps: int
    tokens: int
    place: int
    left_ps: int | None = None


@dataclass
class PlainTransfers:
    """One after the other, with a loop."""

    coming: list[OnItsWay]
    waiting: list[OnItsWay] = field(default_factory=list)
    late: list[tuple[int, OnItsWay]] = field(default_factory=list)
    free_ps: int = 0
    token_ps: int | None = None
    last_token_ps: int = 1
    ways: int = 1
    busy_ps: int = 0

    def run(self, until_ps: int) -> list[tuple[int, OnItsWay]]:
        """Who arrives before then."""
        while self.coming and self.coming[0].ready_ps <= until_ps:
            self.waiting.append(self.coming.pop(0))
        while self.waiting and self.token_ps is not None:
            one = self.waiting[0]
            begins = max(self.free_ps, one.ready_ps)
            lasts = one.tokens * self.token_ps if one.left_ps is None else one.left_ps
            if begins + lasts >= until_ps:
                break
            self.free_ps = begins + lasts
            self.busy_ps += lasts
            self.late.append((self.free_ps + (self.ways - 1) * one.tokens * self.token_ps, self.waiting.pop(0)))
        there = sorted([row for row in self.late if row[0] < until_ps], key=lambda row: (row[0], row[1].number))
        self.late = [row for row in self.late if row[0] >= until_ps]
        return there

    def set_speed(self, at_ps: int, token_ps: int, ways: int) -> None:
        if self.waiting and (took_ps := at_ps - max(self.free_ps, self.waiting[0].ready_ps)) > 0:
            one = self.waiting[0]
            if self.token_ps is not None:
                one.left_ps = (one.tokens * self.token_ps if one.left_ps is None else one.left_ps) - took_ps
            self.free_ps = at_ps
            self.busy_ps += took_ps
        if self.token_ps is not None:
            self.last_token_ps = self.token_ps
        self.token_ps, self.ways = token_ps if 0 < token_ps * ways <= SLOWEST_PS else None, ways
        if self.token_ps is not None and self.waiting and self.waiting[0].left_ps is not None:
            self.waiting[0].left_ps = -(-self.waiting[0].left_ps * self.token_ps // self.last_token_ps)

    def lose(self, at_ps: int, place: int) -> list[int]:
        if self.waiting and self.waiting[0].place == place:
            self.busy_ps += max(0, at_ps - max(self.free_ps, self.waiting[0].ready_ps))
            self.free_ps = max(self.free_ps, at_ps)
        gone = [one.number for one in (*self.waiting, *(row[1] for row in self.late)) if one.place == place]
        self.waiting = [one for one in self.waiting if one.place != place]
        self.late = [row for row in self.late if row[1].place != place]
        return gone


@dataclass
class Case:
    costs: StepCosts
    limits: ReplicaLimits
    settings: PoolSettings
    requests: list[Request]
    orders: list[Order]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    tokens = draw(st.sampled_from([1, 16, 40, 200]))
    table = np.cumsum([0] + [draw(st.integers(0, 3)) for _ in range(tokens)]).astype(np.int64)
    costs = StepCosts.plain(
        draw(st.sampled_from([1, 10, 100])), table, 1, draw(st.sampled_from([0, 1])), draw(st.sampled_from([0, 1])), table // 2
    )
    count = draw(st.integers(1, 12))
    at = np.cumsum([draw(st.sampled_from([0, 0, 1, 50, 1000])) for _ in range(count)]).tolist()
    requests = []
    for number, arrival in enumerate(at):
        cancel = draw(st.sampled_from([NEVER_PS, NEVER_PS, 30, 500, 5000]))
        one = Request(number, arrival, draw(st.integers(1, 90)), draw(st.integers(1, 40)), draw(st.sampled_from([0, 0, 1])))
        requests.append(replace(one, cancel_ps=min(NEVER_PS, arrival + cancel)))
    longest = max(-(-(one.prompt + one.output) // BLOCK_TOKENS) for one in requests)
    limits = ReplicaLimits(tokens, draw(st.integers(1, 6)), longest + draw(st.sampled_from([0, 1, 12])), reserves=draw(st.booleans()))
    policy = PoolSettings(
        router=draw(st.sampled_from(Router)),
        most_waiting=draw(st.sampled_from([1, 5, NEVER_PS])),
        retries=draw(st.sampled_from([0, 1, 3])),
        retry_after_ps=draw(st.sampled_from([1, 50, 3000])),
        first_token_limit_ps=draw(st.sampled_from([NEVER_PS, NEVER_PS, 700])),
        seed=draw(st.integers(0, 5)),
        cache_block_tokens=draw(st.sampled_from([0, 16])),
    )
    if policy.cache_block_tokens:
        for one in requests:
            text = draw(st.integers(0, 2))
            one.hashes = tuple(1000 * text + at for at in range(one.prompt // policy.cache_block_tokens))
    first = [(0, "open", kind, 0) for kind in draw(st.lists(st.integers(0, 1), max_size=5))]
    speeds = st.tuples(st.sampled_from([0, 1, 7, 60, 1000]), st.integers(1, 3))
    first.append((0, "speed", *draw(speeds)))
    times = st.one_of(st.integers(0, 3000), st.integers(0, 30_000), st.sampled_from(at))
    orders = []
    for _ in range(draw(st.integers(0, 10))):
        what = draw(st.sampled_from(["open", "drain", "lose", "lose", "speed", "speed", "cut", "restore", "rebase"]))
        orders.append((draw(times), what, *(draw(speeds) if what == "speed" else (draw(st.integers(0, 1)), draw(st.integers(0, 5))))))
    return Case(costs, limits, policy, requests, first + sorted(orders, key=lambda order: order[0]))


def columns(requests: list[Request]) -> PoolRequests:
    def column(name: str) -> np.ndarray:
        return np.array([getattr(one, name) for one in requests], np.int64)

    start = np.cumsum([0] + [len(one.hashes) for one in requests])
    hashes = np.array([one for request in requests for one in request.hashes], np.int64)
    names = ("number", "arrival_ps", "prompt", "output", "priority", "cancel_ps")
    number, arrival_ps, prompt, output, priority, cancel_ps = (column(name) for name in names)
    return PoolRequests(number, arrival_ps, prompt, output, priority, cancel_ps, start, hashes, number, way=2 * number)


def drawn(policy: PoolSettings, requests: list[Request]) -> list[Request]:
    for one in requests:
        one.draw = int(bits(policy.seed, Stream.ROUTE, np.array([policy.entity]), np.array([one.number]))[0] >> np.uint64(2))
    return requests


def one_side(case: Case, policy: PoolSettings, requests: list[Request], kind: int) -> tuple[PlainPool, list[tuple[int, int, int]]]:
    """A plain pool through the orders of its kind, and which of its places were lost: when, in which order, which place."""
    plain, lost = PlainPool((case.costs, case.costs), case.limits, policy, drawn(policy, requests)), list[tuple[int, int, int]]()
    of_lost = set[int]()  # requests of replicas that are gone, in whose places there may be others
    for row, (now, what, of, which) in enumerate(case.orders):
        plain.run(now)
        for place in plain.drained():
            for one in plain.ended:
                one.turn = DRAINED if one.place == place and one.number not in of_lost else one.turn
        if of != kind and what in {"open", "drain", "lose"}:
            continue
        there = sorted(place for place, one in plain.replicas.items() if what == "lose" or not one.draining)
        if what == "open":
            plain.open(now)
        elif what in {"drain", "lose"} and there:
            place = there[which % len(there)]
            getattr(plain, what)(place, now)
            if what == "lose":
                lost.append((now, row, place))
                of_lost |= {one.number for one in plain.ended if one.place == place}
    plain.run()
    return plain, lost


def expected(case: Case) -> tuple[dict[int, Row], int]:
    """What becomes of every request, and how long the way was in use."""
    prefill, lost = one_side(case, case.settings, [replace(one, output=1) for one in case.requests], 0)
    given = {one.number: one for one in case.requests}
    found: dict[int, Row] = {}

    def ends(one: Request, how: How | None, done_ps: int, generated: int, place: int, tries: int, prefill: Request) -> None:
        begun_ps, first_ps, cached = prefill.begun_ps, prefill.first_ps, prefill.cached
        found[one.number] = (one.arrival_ps, begun_ps, first_ps, done_ps, one.prompt, one.output, generated, cached, tries, place, how)

    goes = []
    first = {one.number: one for one in prefill.ended}
    for one in sorted(prefill.ended, key=lambda one: (one.done_ps, one.number)):
        if one.how == How.FINISHED and given[one.number].output > 1:
            goes.append(OnItsWay(one.number, one.done_ps, one.prompt, -1 if one.turn == DRAINED else one.place))
        else:
            place = 2 * one.place if one.place >= 0 else -1
            ends(given[one.number], one.how, one.done_ps, one.generated, place, one.tries, one)
    way, joins, more = PlainTransfers(goes), [], dict.fromkeys(first, 0)
    for row, (now, what, one_number, other) in enumerate(case.orders):
        joins += [(at, on.number, True) for at, on in way.run(now)]
        if what == "speed":
            way.set_speed(now, one_number, other)
        for when, order, place in lost:
            if order == row:
                for number in sorted(way.lose(when, place)):
                    if first[number].tries > case.settings.retries:
                        ends(given[number], How.LOST, now, 1, 2 * place, first[number].tries, first[number])
                    else:
                        more[number] = 1
                        joins.append((now + case.settings.retry_after_ps, number, False))
    joins += [(at, on.number, True) for at, on in way.run(LATEST_PS)]
    joins.sort()
    policy = replace(
        case.settings,
        router=Router.LEAST_OUTSTANDING if case.settings.router == Router.PREFIX_AWARE else case.settings.router,
        first_token_limit_ps=NEVER_PS,
        cache_block_tokens=0,
        entity=OTHER_ENTITY,
    )
    second, numbers = list[Request](), list[int]()
    for at, number, whole in joins:
        one = given[number]
        ready = one.prompt if whole else 0
        second.append(Request(len(second), at, one.prompt + 1, one.output - 1, one.priority, one.cancel_ps, ready=ready))
        numbers.append(number)
    decode, _ = one_side(case, policy, second, 1)
    for two in decode.ended:
        one = first[numbers[two.number]]
        place, tries = 2 * two.place + 1 if two.place >= 0 else -1, one.tries + more[one.number] + two.tries - 1
        ends(given[one.number], two.how, two.done_ps, two.generated + 1, place, tries, one)
    return found, way.busy_ps


def played(case: Case, *, compiled: bool) -> tuple[dict[int, Row], SplitPool]:  # noqa: C901
    pool = SplitPool(tables(case.costs), case.limits, case.settings, compiled=compiled)
    pool.give(columns(case.requests))
    found: dict[int, Row] = {}
    zero = 0

    def take() -> None:
        ended = pool.take_ended()
        told = {one.name: getattr(ended, one.name) for one in fields(EndedRequests)}
        for name in ("arrival_ps", "begun_ps", "first_ps", "done_ps"):
            told[name] = np.where(told[name] == NOT_YET, NOT_YET, told[name] + zero)
        assert np.array_equal(told["way"], 2 * told["number"])
        names = ("arrival_ps", "begun_ps", "first_ps", "done_ps", "prompt", "output", "generated", "cached", "tries", "place", "how")
        priorities = {one.number: one.priority for one in case.requests}
        assert told["priority"].tolist() == [priorities[number] for number in told["number"].tolist()]
        for number, *row in zip(told["number"].tolist(), *(told[name].tolist() for name in names), strict=True):
            assert number not in found
            found[number] = tuple(row)

    there: dict[int, bool] = {}  # place -> whether it drains
    for now, what, of, which in case.orders:
        pool.advance(now - zero)
        for place in pool.drained():
            del there[place]
        mine = sorted(place for place, drains in there.items() if place % 2 == of and (what == "lose" or not drains))
        if what == "open":
            there[pool.open(now - zero, answers=bool(of))] = False
        elif what == "speed":
            pool.set_speed(now - zero, of, which)
        elif what in {"drain", "lose"} and mine:
            place = mine[which % len(mine)]
            getattr(pool, what)(place, now - zero)
            there[place] = True
            if what == "lose":
                del there[place]
        elif what == "cut":
            take()
        elif what == "restore":
            kept = pool.state()
            pool = SplitPool(tables(case.costs), case.limits, case.settings, compiled=compiled)
            pool.restore(kept)
        elif what == "rebase":
            by = min(now - zero, 100 * which)
            pool.rebase(by)
            zero += by
        assert sorted(pool.read(now - zero).place.tolist()) == sorted(there)
    pool.advance(LATEST_PS)
    take()
    return found, pool


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(cases(), st.booleans())
def test_every_request_is_as_with_plain_pools(case: Case, compiled: bool) -> None:
    """Requests that nothing moves never end."""
    table, busy_ps = expected(case)
    found, pool = played(case, compiled=compiled)
    assert found == table
    assert len(found) + pool.on_the_way() == len(case.requests)
    if not pool.on_the_way():
        assert pool.busy_ps() == busy_ps


def test_the_arithmetic_of_one_request() -> None:
    """A step takes 100 ps, a token and a request in it cost nothing. The prompt of 10 tokens is there at 100, and with it the first token.
    Its keys and values take 7 ps a token: the turn is over at 170, and with two pairs of replicas the last of them come 70 ps later, at
    240. Two more tokens: 340 and 440. Of the next request, whose prompt is there at 100 too, the turn is from 170 to 240.
    """
    table = np.zeros(101, np.int64)
    pool = SplitPool(tables(StepCosts.plain(100, table, 0, 0, 0, table)), ReplicaLimits(100, 8, 10), PoolSettings())
    pool.open(0, answers=False)
    pool.open(0, answers=True)
    pool.set_speed(0, 7, 2)
    requests = PoolRequests.of(np.zeros(2, np.int64), np.array([10, 10]), np.array([3, 2]))
    pool.give(replace(requests, tag=np.array([8, 9])))
    pool.advance(235)
    assert (pool.on_the_way(), pool.busy_ps()) == (2, 135)
    assert pool.progress(np.array([7, 8, 9])).tolist() == [-1, 1, 1]
    pool.advance(10_000)
    ended = pool.take_ended()
    assert ended.number.tolist() == [0, 1]
    assert ended.first_ps.tolist() == [100, 100]
    assert ended.done_ps.tolist() == [440, 440]  # the second comes at 310, and waits for the step that began at 240
    assert (pool.busy_ps(), pool.moved_tokens) == (140, 20)


def test_what_is_slower_than_the_slowest_does_not_move() -> None:
    way = Transfers()
    way.add(np.array([5]), np.array([1]), np.array([3]))
    way.set_speed(0, SLOWEST_PS, 2)
    assert (len(way.arrived(LATEST_PS).number), way.busy_ps(105)) == (0, 100)
    way.set_speed(LATEST_PS, SLOWEST_PS, 1)
    assert way.arrived(LATEST_PS + 3 * SLOWEST_PS + 1).at_ps.tolist() == [LATEST_PS + 3 * SLOWEST_PS]
