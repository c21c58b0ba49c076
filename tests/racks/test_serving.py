"""The replicas of a shard: orders in, reports out, the same wherever windows are cut and pools are held."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.racks import serving_pool
from emulator.racks.latencies import BINS, PS_PER_NS, bin_of
from emulator.racks.pool_records import How, PoolSettings, ReplicaLimits, Router
from emulator.racks.served import Patience, Served
from emulator.racks.serving import Serving
from emulator.racks.serving_messages import Latency, OrderRow, Role, ServingOrder, ServingReport, Tally, serving_orders
from emulator.racks.ways import Mix, Ways
from emulator.workload.requests import ClosedLoop, Generator, GeneratorSettings, Lengths, Prioritized
from emulator.workload.requests.lengths import lognormal, uniform_between
from emulator.workload.serving.costs import StepCosts
from tests.racks.given_steps import GivenSteps

SECOND = 10**9
TOKENS, UNITS = 64, 3
#: The pools of the service whose replicas are of two kinds.
SPLIT = range(2 * UNITS, 3 * UNITS)
END = 120 * SECOND
#: A step takes 10 ms, and 0.2 ms for each token and request in it.
_TABLE = np.arange(TOKENS + 1, dtype=np.int64) * 10**8
COSTS = StepCosts.plain(base_ps=10**10, table_ps=_TABLE, weights_ps=_TABLE // 2, running_ps=10**8, kv_ps=10**4, attention_ps=10**4)


def served(name: str = "chat", rate: float = 3.0, **pool: object) -> Served:
    source = Generator(GeneratorSettings(rate, Lengths(lognormal(60, 1.0), lognormal(20, 1.0)), burst_shape=2.0, burst_period_seconds=10.0))
    settings = {"router": Router.LEAST_OUTSTANDING, "most_waiting": 8, "retries": 2, "first_token_limit_ps": 20 * 10**12} | pool
    limits = ReplicaLimits(TOKENS, 6, 60)
    return Served(name, GivenSteps(COSTS), limits, PoolSettings(**settings), source, 10**12, 10**11, 10**9, Patience(0.1, 2.0))  # type: ignore[arg-type]


def with_classes(one: Served) -> Served:
    assert isinstance(one.source, Generator)
    return replace(one, source=Prioritized(one.source, ((0.3, 2), (0.2, -1))), ways=WAYS)


def closed(think_seconds: float) -> Served:
    """Its users ask what no replica can hold, too."""
    one = served("closed", router=Router.POWER_OF_TWO)
    return replace(one, source=ClosedLoop(11, Lengths(lognormal(90, 2.0), lognormal(40, 2.0)), think_seconds, ((0.2, 1),)))


#: Of two sites; requests of "code" and "split" enter at either, and have priorities.
WAYS = Ways(np.array([[0, 4 * 10**11], [4 * 10**11, 0]]))
SERVICES = (
    served(),
    with_classes(served("code", 1.5, router=Router.POWER_OF_TWO)),
    with_classes(replace(served("split"), split=True)),
    closed(2.0),
    closed(0.0),
)


def opened(pool: int, replica: int, at_ns: int = 0) -> OrderRow:
    """The first replica of a pool of two kinds computes prompts, the others answer."""
    role = Role.BOTH if pool not in SPLIT else Role.DECODE if replica % 100 else Role.PREFILL
    return at_ns, ServingOrder.OPEN, pool, replica, role, 0, 0.0, 0.0


def mix(pool: int, at_ns: int, *told: tuple[int, float]) -> list[OrderRow]:
    return [(at_ns, ServingOrder.WAY, pool, place, way, 0, 0.0, below) for place, (way, below) in enumerate(told)]


def share(pool: int, low: float, high: float, at_ns: int = 0) -> OrderRow:
    return at_ns, ServingOrder.SHARE, pool, -1, 0, 0, low, high


@st.composite
def days(draw: st.DrawFn) -> list[OrderRow]:
    """Some replicas that come, drain and are lost within two minutes, and shares that change."""
    rows: list[OrderRow] = []
    for pool in range(len(SERVICES) * UNITS):
        up: list[int] = []
        for number in range(draw(st.integers(0, 3))):
            rows.append(opened(pool, 100 * pool + number, draw(st.integers(0, 40)) * SECOND))
            up.append(100 * pool + number)
        for replica in up:
            kind = draw(st.sampled_from([None, ServingOrder.DRAIN, ServingOrder.LOSE]))
            if kind is not None:
                rows.append((draw(st.integers(41 * SECOND, 110 * SECOND)), kind, pool, replica, 0, 0, 0.0, 0.0))
        place = pool % UNITS
        rows.append(share(pool, place / UNITS, (place + 1) / UNITS))
        if draw(st.booleans()):
            rows.append(share(pool, 0.0, draw(st.sampled_from([0.0, 0.2, 0.9])), draw(st.integers(1, 100)) * SECOND))
        if UNITS <= pool < 3 * UNITS:
            for at_ns in sorted({0, *draw(st.lists(st.integers(1, 100), max_size=2))}):
                here = draw(st.integers(0, 1))
                rows += mix(pool, at_ns * SECOND, (here, draw(st.sampled_from([0.0, 0.3, 1.0]))), (2 + here, 1.0))
        if pool in SPLIT:
            speeds = st.tuples(st.integers(0, END), st.sampled_from([0, 10**6, 10**9, 10**10]), st.integers(1, 3))
            for at_ns, token_ps, ways in {one[0]: one for one in [(0, 10**7, 1), *draw(st.lists(speeds, max_size=3))]}.values():
                rows.append((at_ns, ServingOrder.SPEED, pool, -1, token_ps, ways, 0.0, 0.0))
    return rows


def run(made: Serving, rows: Sequence[OrderRow], cuts: Sequence[int], *, revive: bool = False) -> list[ServingReport]:
    """Windows that end at ``cuts``, each with its orders; ``revive``: the shard is made anew between them."""
    reports, before = [], -1
    for cut in cuts:
        reports.append(made.advance(cut, serving_orders([row for row in rows if before < row[0] <= cut])))
        before = cut
        if revive:
            state = made.snapshot()
            made = Serving(SERVICES, UNITS, 7)
            made.restore(state)
    return reports


def told(reports: Sequence[ServingReport]) -> dict[str, object]:
    """All that was reported, without the grouping into reports, and how things are at the end."""
    tallies: dict[int, list[int]] = {}
    counts: dict[tuple[int, int, int], int] = {}
    busy: dict[int, int] = {}
    moving: dict[int, int] = {}
    kept: list[tuple[object, ...]] = []
    for report in reports:
        for pool, row in zip(report.pool.tolist(), report.tallies.tolist(), strict=True):
            moving[pool] = moving.get(pool, 0) + int(report.moving_ps[report.pool.tolist().index(pool)])
            tallies[pool] = [one + other for one, other in zip(tallies.get(pool, [0] * len(row)), row, strict=True)]
        columns = (report.count_pool, report.count_of, report.count_bin, report.count)
        for pool, of, place, count in zip(*(column.tolist() for column in columns), strict=True):
            counts[pool, of, place] = counts.get((pool, of, place), 0) + count
        for replica, time_ps in zip(report.replica.tolist(), report.busy_ps.tolist(), strict=True):
            busy[replica] = busy.get(replica, 0) + time_ps
        kept += zip(*(getattr(report.kept, one.name).tolist() for one in fields(report.kept)), strict=True)
    last = reports[-1]
    end = {name: getattr(last, name).tolist() for name in ("pool", "waiting", "running", "replica", "kv_blocks")}
    open_now = {replica: time_ps for replica, time_ps in busy.items() if replica in end["replica"]}
    drained = sorted(replica for report in reports for replica in report.drained.tolist())
    return {"tallies": tallies, "counts": counts, "busy": open_now, "moving": moving, "kept": sorted(kept), "drained": drained} | end


@settings(max_examples=25, deadline=None)
@given(days(), st.lists(st.integers(1, END - 1), max_size=6, unique=True), st.booleans())
def test_cuts_and_rebuilding_change_nothing(rows: list[OrderRow], cuts: list[int], revive: bool) -> None:
    whole = told(run(Serving(SERVICES, UNITS, 7), rows, [END]))
    assert told(run(Serving(SERVICES, UNITS, 7), rows, [*sorted(cuts), END], revive=revive)) == whole


@settings(max_examples=15, deadline=None)
@given(days())
def test_pools_are_the_same_in_shards_of_their_own(rows: list[OrderRow]) -> None:
    whole = told(run(Serving(SERVICES, UNITS, 7), rows, [END]))
    parts = [told(run(Serving(SERVICES, UNITS, 7), [row for row in rows if row[2] % UNITS == unit], [END])) for unit in range(UNITS)]
    for name in ("tallies", "counts", "busy", "moving"):
        assert {key: value for part in parts for key, value in part[name].items()} == whole[name]  # type: ignore[attr-defined]
    assert sorted(row for part in parts for row in part["kept"]) == whole["kept"]  # type: ignore[attr-defined]


@settings(max_examples=15, deadline=None)
@given(days())
def test_every_request_is_accounted_for(rows: list[OrderRow]) -> None:
    """What arrived has ended in one way or is still there, waits for another try included; and the kept requests are those that ended."""
    moves = [(END, ServingOrder.SPEED, pool, -1, 10**6, 1, 0.0, 0.0) for pool in SPLIT]
    moves += [(END, ServingOrder.OPEN, pool, 99, Role.DECODE, 0, 0.0, 0.0) for pool in SPLIT]
    rest = run(
        Serving(SERVICES, UNITS, 7),
        [*rows, *(share(pool, 0.0, 0.0, END) for pool in range(len(SERVICES) * UNITS)), *moves],
        [END, 20 * END],
    )
    ends = (Tally.FINISHED, Tally.REJECTED, Tally.TIMED_OUT, Tally.CANCELLED, Tally.LOST, Tally.TOO_LONG)
    for pool, tallies in told(rest)["tallies"].items():  # type: ignore[attr-defined]
        assert sum(tallies[one] for one in ends) == tallies[Tally.ARRIVED], pool
    whole = told(rest)
    kept = sum(sum(row[one] for one in ends) - row[Tally.TOO_LONG] for row in whole["tallies"].values())  # type: ignore[attr-defined]
    assert len(whole["kept"]) == kept  # type: ignore[arg-type]


def test_the_zero_of_time_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [opened(0, 1), opened(0, 2), share(0, 0.0, 1.0), (70 * SECOND, ServingOrder.LOSE, 0, 1, 0, 0, 0.0, 0.0)]
    whole = told(run(Serving(SERVICES, UNITS, 7), rows, range(10 * SECOND, END + 1, 10 * SECOND)))
    monkeypatch.setattr(serving_pool, "REBASE_PS", 15 * 10**12)
    assert told(run(Serving(SERVICES, UNITS, 7), rows, range(10 * SECOND, END + 1, 10 * SECOND))) == whole


@pytest.mark.parametrize("source", [SERVICES[0].source, ClosedLoop(20, Lengths(lognormal(60, 1.0), lognormal(20, 1.0)), 1e4)])
def test_whoever_would_wait_for_weeks_waits_for_ever(source: Generator | ClosedLoop) -> None:
    """Drawn times have no end of their own, and those of a pool have."""
    made = Serving((replace(SERVICES[0], source=source, patience=Patience(1.0, 1e7)),), UNITS, 7)
    report = made.advance(20 * END, serving_orders([opened(0, 1), opened(0, 2), share(0, 0.0, 1.0)]))
    assert report.tallies[0, Tally.FINISHED] > 0


def test_a_followed_request_is_told_token_by_token_and_then_once() -> None:
    made = Serving(SERVICES, UNITS, 7)
    made.advance(SECOND, serving_orders([opened(0, 1)]))
    report = made.advance(SECOND + 10**8, serving_orders([(SECOND, ServingOrder.ASK, 0, 42, 30, 50, 0.0, 0.0)]))
    seen = [int(report.followed.generated[0])]
    until = SECOND + 10**8
    while report.followed.how[0] < 0:
        until += 10**8
        report = made.advance(until, serving_orders([]))
        seen.append(int(report.followed.generated[0]))
    assert seen == sorted(seen)
    assert (report.followed.number.tolist(), seen[-1]) == ([42], 50)
    first = COSTS.base_ps + int(COSTS.table_ps[30]) + COSTS.running_ps + COSTS.attention_ps * 30 * 31 // 2
    assert report.followed.first_ns[0] == SECOND + first // 1000
    assert len(made.advance(until + SECOND, serving_orders([])).followed.number) == 0


def test_who_asks_at_a_higher_priority_goes_first() -> None:
    """Of six seats all are taken; of two that ask at once the second begins before the first."""
    made = Serving(SERVICES, UNITS, 7)
    asks = [(SECOND, ServingOrder.ASK, 0, number, 30, 50, 0.0, 0.0) for number in range(6)]
    asks += [(SECOND, ServingOrder.ASK, 0, 6, 30, 5, -3.0, 0.0), (SECOND, ServingOrder.ASK, 0, 7, 30, 5, 4.0, 0.0)]
    report = made.advance(60 * SECOND, serving_orders([opened(0, 1), *asks]))
    assert dict(zip(report.kept.number.tolist(), report.kept.priority.tolist(), strict=True)) == {**dict.fromkeys(range(6), 0), 6: -3, 7: 4}
    assert report.followed.first_ns[7] < report.followed.first_ns[6]
    assert report.followed.first_ns[:6].max() < report.followed.first_ns[6]


def test_what_no_replica_can_hold_is_counted() -> None:
    made = Serving(SERVICES, UNITS, 7)
    report = made.advance(SECOND, serving_orders([opened(0, 1), (0, ServingOrder.ASK, 0, 5, 2000, 50, 0.0, 0.0)]))
    assert report.tallies[0, Tally.TOO_LONG] == 1
    assert report.followed.how.tolist() == [How.TOO_LONG]


def test_a_sample_is_a_part_of_all_that_is_kept() -> None:
    rows = [opened(0, 1), opened(0, 2)]
    whole, some = (
        set(told(run(Serving(SERVICES, UNITS, 7), [*rows, (0, ServingOrder.SHARE, 0, -1, shift, 0, 0.0, 1.0)], [20 * END]))["kept"])  # type: ignore[call-overload]
        for shift in (0, 2)
    )
    assert some < whole
    assert len(some) == pytest.approx(len(whole) / 4, rel=0.15)


def test_metrics_are_those_of_the_finished() -> None:
    made = Serving((replace(SERVICES[0], patience=Patience()),), UNITS, 7)
    report = made.advance(20 * END, serving_orders([opened(0, 1), opened(0, 2), share(0, 0.0, 1.0)]))
    read = made.read(20 * END)
    finished = int(report.tallies[0, Tally.FINISHED])
    assert int(read.finished.sum()) == finished == int(read.counts[:, 0].sum())
    first_ps = (report.kept.first_ns - report.kept.arrival_ns)[report.kept.how == 1].sum() * 1000
    assert int(read.sums[:, 0].sum()) == pytest.approx(first_ps + finished * SERVICES[0].front_end_ps, rel=1e-6)


def test_who_enters_elsewhere_waits_longer_by_the_round_trip() -> None:
    """Each by a draw of its own, from the order on that says so; replicas know nothing of it, nor do vLLM's counts."""
    source = Generator(GeneratorSettings(6.0, Lengths(uniform_between(40, 80), uniform_between(1, 40))))
    calm = replace(served(), source=source, patience=Patience(), first_token_ps=43 * 10**10)
    orders = [opened(0, 1), opened(0, 2), share(0, 0.0, 1.0), share(0, 0.0, 0.0, 19 * END)]
    near, far = Serving((calm,), UNITS, 7), Serving((replace(calm, ways=WAYS),), UNITS, 7)
    one = near.advance(20 * END, serving_orders(orders))
    other = far.advance(20 * END, serving_orders([*orders, *mix(0, 600 * SECOND, (0, 0.25), (2, 1.0))]))
    assert np.array_equal(near.read(20 * END).sums, far.read(20 * END).sums)
    kept, before = other.kept, one.kept
    for name in ("number", "arrival_ns", "first_ns", "done_ns", "how"):
        assert np.array_equal(getattr(kept, name), getattr(before, name)), name
    late = kept.arrival_ns >= 600 * SECOND
    crossed = Mix(np.array([0, 2]), np.array([0.25, 1.0])).drawn(7, 0, kept.number) == 2
    assert crossed[late].mean() == pytest.approx(0.75, abs=0.01)
    assert np.array_equal(kept.entry, np.where(late, crossed, -1))
    assert np.array_equal(kept.delay_ns - before.delay_ns, np.where(late & crossed, 4 * 10**8, 0))
    assert (PS_PER_NS * before.delay_ns == calm.front_end_ps).all()
    assert (int(other.tallies[0, Tally.REMOTE_REQUESTS]), int(one.tallies[0, Tally.REMOTE_REQUESTS])) == ((late & crossed).sum(), 0)
    done = kept.how == How.FINISHED
    first_ps = PS_PER_NS * (kept.first_ns - kept.arrival_ns + kept.delay_ns)[done]
    whole_ps = PS_PER_NS * (kept.done_ns - kept.arrival_ns + kept.delay_ns)[done]
    for latency, times_ps in ((Latency.TTFT, first_ps), (Latency.E2E, whole_ps)):
        assert np.array_equal(counts(other, latency), np.bincount(bin_of(times_ps), minlength=BINS)), latency
    assert np.array_equal(counts(other, Latency.TPOT), counts(one, Latency.TPOT))
    good = int((first_ps <= calm.first_token_ps).sum())  # each later token is in time
    assert int(other.tallies[0, Tally.GOOD]) == good < int(one.tallies[0, Tally.GOOD])


def counts(report: ServingReport, latency: Latency) -> np.ndarray:
    of = report.count_of == latency
    return np.bincount(report.count_bin[of], report.count[of], minlength=BINS).astype(int)
