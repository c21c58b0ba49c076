"""Rack shards against a plain oracle, and against themselves under other windows and other cuts."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emulator.engine.shards import ShardRange
from emulator.racks.buildout import Buildout
from emulator.racks.faults import CAUSES, INJECTED, NEVER, FaultSettings, Scope
from emulator.racks.hazard import Hazard
from emulator.racks.messages import HostEvent, RackOrder, RackOrders
from emulator.racks.power import idle_milliwatts
from emulator.racks.shard import RackSettings, RackShard
from emulator.runtime.ranges import shard_ranges
from topology import catalog
from topology.cluster import Cluster, Counts, Level, Links


def make_cluster(rack_first: list[int], block_first: list[int], host: str = "hgx-h100") -> Cluster:
    none = np.empty(0, np.int32)
    hosts = rack_first[-1]

    def level(name: str, first: list[int]) -> Level:
        return Level(name, np.array(first, np.int32), np.zeros(len(first), np.int32), none)

    links = Links(none, none, none, none.astype(float), none.astype(np.int8), none.astype(np.int16), none.astype(np.int16), none, none,
                  none.astype(np.int8), none.astype(float), none.astype(float))  # fmt: skip
    host_type = catalog.host(host)
    counts = Counts(hosts * host_type.gpus, hosts, len(rack_first) - 1, 0, 0, 0, 0, 0, 0, 0, 1.0, 1.0, 0.0, 1.0)
    levels = (level("host", list(range(hosts + 1))), level("rack", rack_first), level("site", [0, hosts]))
    block_type = np.zeros(len(block_first) - 1, np.int8)
    return Cluster("test", (host_type,), block_type, hosts, levels, level("block", block_first), links, counts, 8, ("site",))


#: Both a rack and a block end at hosts 0, 16, 24 and 40 only.
CLUSTER = make_cluster([0, 4, 10, 16, 24, 30, 40], [0, 8, 16, 24, 40])
BLOCK_SIZES = np.diff(CLUSTER.block.first_host).tolist()
SECOND = 1_000_000_000
END = 600 * SECOND
QUIET = RackSettings(faults=FaultSettings(enabled=False))
#: A fault per host every 86 s of up time.
STORMY = RackSettings(faults=FaultSettings(host_rate_per_1000_node_days=1e6, repair_seconds={"faulty_gpu": 20.0, "injected": 40.0}))
#: The same with lemons, racks that come new, and repairs that wait for somebody.
WAITING = RackSettings(
    faults=FaultSettings(
        host_rate_per_1000_node_days=1e6, by_scope=True, all_memory_errors=True, crews=True,
        hazard=Hazard(lemon_ratio=0.2, lemon_factor=5.0, new_factor=3.0, new_ns=200 * SECOND),
    ),
    buildout=Buildout(3, 300 * SECOND),
)  # fmt: skip
COLUMNS = ("time_ns", "kind", "block", "host_mask", "gpu_mask", "milliwatts", "value_ns")
READINGS = ("power_milliwatts", "energy_joules", "gpus", "gpus_busy", "gpus_down", "hosts_down", "faults")


#: Time (ns), order, block, mask of hosts, mask of GPUs, milliwatts, value (ns), and of a BREAK_HOST that is no plain one cause and scope.
Row = tuple[int, ...]


def rack_orders(rows: Sequence[Row]) -> RackOrders:
    whole = [(*row, INJECTED, Scope.HOST) if len(row) == 7 else row for row in rows]
    dtypes = (np.int64, np.int8, np.int32, np.uint64, np.uint64, np.int64, np.int64, np.int16, np.int8)
    return RackOrders(*(np.array([row[i] for row in whole], dtype) for i, dtype in enumerate(dtypes)))


times = st.integers(0, END)


@st.composite
def power_rows(draw: st.DrawFn) -> list[Row]:
    """Jobs that start, are re-rated and end; some share GPUs."""
    rows: list[Row] = []
    for _ in range(draw(st.integers(0, 12))):
        block = draw(st.integers(0, len(BLOCK_SIZES) - 1))
        hosts = draw(st.integers(1, 2 ** BLOCK_SIZES[block] - 1))
        gpus = draw(st.one_of(st.just(255), st.integers(1, 255)))
        milliwatts, more = draw(st.integers(0, 800_000)), draw(st.integers(-1000, 1000))
        start, middle, end = sorted(draw(st.tuples(times, times, times)))
        rows.append((start, RackOrder.OCCUPY, block, hosts, gpus, milliwatts, 0))
        if draw(st.booleans()):
            rows.append((middle, RackOrder.RERATE, block, hosts, gpus, more, 0))
            milliwatts += more
        if draw(st.booleans()):
            rows.append((end, RackOrder.RELEASE, block, hosts, gpus, milliwatts, 0))
    return rows


@st.composite
def command_rows(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = []
    for _ in range(draw(st.integers(0, 4))):
        block = draw(st.integers(0, len(BLOCK_SIZES) - 1))
        hosts = draw(st.integers(1, 2 ** BLOCK_SIZES[block] - 1))
        kind = draw(st.sampled_from([RackOrder.BREAK_HOST, RackOrder.MEND_HOST]))
        value, cause = draw(st.sampled_from([0, 5 * SECOND, 10**12])), draw(st.integers(0, INJECTED))
        rows.append((draw(times), kind, block, hosts, 0, 0, value, cause, draw(st.sampled_from(Scope))))
    return rows


def split(rows: list[Row], spans: tuple[ShardRange, ...]) -> list[list[Row]]:
    """The rows of each shard, with blocks found by their first host."""
    first = CLUSTER.block.first_host
    return [[row for row in rows if span.first_host <= first[row[2]] < span.end_host] for span in spans]


def run(
    rows_by_window: list[list[Row]],
    untils: list[int],
    rack_settings: RackSettings,
    shards: int,
    seed: int = 3,
) -> tuple[list[tuple[int, ...]], dict[str, NDArray[np.float64] | NDArray[np.int32] | NDArray[np.int64]]]:
    """Events of all windows and the readings at the end, of as many shards as asked."""
    spans = shard_ranges(CLUSTER, shards)
    events, readings = [], []
    for i, span in enumerate(spans):
        shard, promise = RackShard(CLUSTER, span, rack_settings, seed), 0
        for until, rows in zip(untils, rows_by_window, strict=True):
            mine = split(rows, spans)[i]
            report = shard.advance(until, rack_orders(mine))
            assert report.until_ns == until < report.next_event_ns
            seen = list(zip(report.time_ns.tolist(), report.event.tolist(), report.host.tolist(), report.cause.tolist(), strict=True))
            assert seen == sorted(seen, key=lambda event: event[:3])
            commanded = any(row[1] in (RackOrder.BREAK_HOST, RackOrder.MEND_HOST) for row in mine)
            assert commanded or all(time >= promise for time, *_ in seen), "the promise was broken"
            promise = report.next_event_ns
            events += seen
        readings.append(shard.read(untils[-1]))
    joined = {name: np.concatenate([getattr(reading, name) for reading in readings]) for name in READINGS}
    return sorted(events), joined


def assert_same(
    one: tuple[list[tuple[int, ...]], dict[str, NDArray[np.float64] | NDArray[np.int32] | NDArray[np.int64]]],
    other: tuple[list[tuple[int, ...]], dict[str, NDArray[np.float64] | NDArray[np.int32] | NDArray[np.int64]]],
) -> None:
    assert one[0] == other[0]
    for name in READINGS:
        assert one[1][name].tobytes() == other[1][name].tobytes(), name


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_windows_and_shards_change_nothing(data: st.DataObject) -> None:
    power, commands = data.draw(power_rows()), data.draw(command_rows())
    stormy = data.draw(st.sampled_from([STORMY, WAITING]))
    whole = run([power + commands], [END], stormy, 1)
    untils = sorted({*data.draw(st.lists(times, max_size=5)), END})
    windows: list[list[Row]] = [[] for _ in untils]
    for row in commands:  # in the window that holds their time
        windows[next(i for i, until in enumerate(untils) if row[0] <= until)].append(row)
    for row in power:  # in that or any later one
        first = next(i for i, until in enumerate(untils) if row[0] <= until)
        windows[data.draw(st.integers(first, len(untils) - 1))].append(row)
    windows = [data.draw(st.permutations(window)) for window in windows]
    assert_same(run(windows, untils, stormy, data.draw(st.integers(1, 5))), whole)


def bits(mask: int) -> list[int]:
    return [i for i in range(64) if mask >> i & 1]


@settings(deadline=None, max_examples=100)
@given(power_rows(), st.sampled_from([QUIET, STORMY]))
def test_readings_equal_a_plain_sum_over_gpus(rows: list[Row], rack_settings: RackSettings) -> None:
    events, readings = run([rows], [END], rack_settings, 1)
    rack_of = CLUSTER.level("rack").host_unit
    energy = [Fraction(0)] * len(CLUSTER.level("rack"))
    power, busy = [0] * len(energy), dict[tuple[int, int], int]()

    def change(host: int, milliwatts: int, time: int) -> None:
        power[rack_of[host]] += milliwatts
        energy[rack_of[host]] += Fraction(milliwatts * (END - time), 10**12)

    idle = idle_milliwatts(CLUSTER.host_type)
    for host in range(CLUSTER.host_count):
        change(host, idle, 0)
    for time, event, host, _ in events:
        change(host, -idle if event == HostEvent.FAULT else idle, time)
    for time, kind, block, hosts, gpus, milliwatts, *_ in rows:
        for host in (int(CLUSTER.block.first_host[block]) + bit for bit in bits(hosts)):
            for gpu in bits(gpus):
                change(host, -milliwatts if kind == RackOrder.RELEASE else milliwatts, time)
                busy[host, gpu] = busy.get((host, gpu), 0) + (kind == RackOrder.OCCUPY) - (kind == RackOrder.RELEASE)
    assert readings["power_milliwatts"].tolist() == power
    assert readings["energy_joules"].tolist() == pytest.approx([float(joules) for joules in energy], rel=1e-14)
    for rack in range(len(energy)):
        assert readings["gpus_busy"][rack] == sum(1 for (host, _), jobs in busy.items() if jobs and rack_of[host] == rack)


@settings(deadline=None, max_examples=60)
@given(power_rows(), command_rows(), times, st.sampled_from([STORMY, WAITING]))
def test_a_restored_shard_goes_on_to_the_same_bits(power: list[Row], commands: list[Row], middle: int, stormy: RackSettings) -> None:
    rows = sorted(power + commands)
    before, after = [row for row in rows if row[0] <= middle], [row for row in rows if row[0] > middle]
    (span,) = shard_ranges(CLUSTER, 1)
    shard, other = (RackShard(CLUSTER, span, stormy, 3) for _ in range(2))
    shard.advance(middle, rack_orders(before))
    snapshot = shard.snapshot()
    shard_report = shard.advance(END, rack_orders(after))
    other.restore(snapshot)
    report = other.advance(END, rack_orders(after))
    for name in ("time_ns", "event", "host", "cause"):
        assert getattr(report, name).tolist() == getattr(shard_report, name).tolist()
    assert report.next_event_ns == shard_report.next_event_ns
    assert {name: array.tobytes() for name, array in shard.snapshot().items()} == {n: a.tobytes() for n, a in other.snapshot().items()}


def test_reading_changes_nothing_and_energy_grows_between_events() -> None:
    shard = RackShard(CLUSTER, shard_ranges(CLUSTER, 1)[0], QUIET, 1)
    shard.advance(SECOND, rack_orders([(0, RackOrder.OCCUPY, 0, 1, 1, 500_000, 0)]))
    state = {name: array.tobytes() for name, array in shard.snapshot().items()}
    first, later = shard.read(SECOND), shard.read(3 * SECOND)
    idle_watts = idle_milliwatts(CLUSTER.host_type) / 1000
    assert first.energy_joules[0] == pytest.approx(4 * idle_watts + 500.0, rel=1e-15)
    assert later.energy_joules[0] == pytest.approx(3 * (4 * idle_watts + 500.0), rel=1e-15)
    assert state == {name: array.tobytes() for name, array in shard.snapshot().items()}


def test_faults_switched_off_never_come_and_injected_ones_end() -> None:
    shard = RackShard(CLUSTER, shard_ranges(CLUSTER, 1)[0], QUIET, 1)
    assert shard.advance(0, rack_orders([])).next_event_ns == NEVER
    report = shard.advance(SECOND, rack_orders([(5, RackOrder.BREAK_HOST, 1, 0b101, 0, 0, 7 * SECOND)]))
    assert (report.time_ns.tolist(), report.host.tolist()) == ([5, 5], [8, 10])
    assert {CAUSES[cause].name for cause in report.cause} == {"injected"}
    assert report.next_event_ns == 7 * SECOND + 5
    assert shard.read(SECOND).hosts_down.tolist() == [0, 1, 1, 0, 0, 0]
    # broken again while down: stays down longer, one fault
    report = shard.advance(2 * SECOND, rack_orders([(2 * SECOND, RackOrder.BREAK_HOST, 1, 0b001, 0, 0, 9 * SECOND)]))
    assert (len(report.time_ns), report.next_event_ns) == (0, 7 * SECOND + 5)
    report = shard.advance(8 * SECOND, rack_orders([(3 * SECOND, RackOrder.MEND_HOST, 1, 0b101, 0, 0, 0)]))
    assert (report.time_ns.tolist(), report.event.tolist(), report.host.tolist()) == ([3 * SECOND] * 2, [HostEvent.REPAIR] * 2, [8, 10])
    reading = shard.read(8 * SECOND)
    assert (report.next_event_ns, reading.hosts_down.sum(), reading.faults.tolist()) == (NEVER, 0, [0, 1, 1, 0, 0, 0])


#: A plain host: (broken now, scope, the time it is whole) by second, with faults as (second, scope, repair) and repairs as (second,).
STRIKES = st.lists(
    st.tuples(st.integers(1, 60), st.sampled_from(Scope), st.integers(1, 20))
    | st.tuples(st.integers(1, 60), st.just(None), st.integers(0, 60)),
    max_size=8,
    unique_by=lambda strike: strike[0],
)


@settings(deadline=None, max_examples=200)
@given(STRIKES)
def test_faults_of_any_scope_on_one_host_agree_with_a_plain_host(strikes: list[tuple[int, Scope | None, int]]) -> None:
    """Second by second. A strike takes what it takes of what is left, and the host is whole when the last repair is over."""
    by_second = {second: (scope, value) for second, scope, value in strikes}
    expected, whole, broken, dark_seconds = [], 0, Scope.NOTHING, 0
    for second in range(100):
        if whole and second >= whole:
            expected.append((second, HostEvent.REPAIR, broken))
            whole, broken = 0, Scope.NOTHING
        if second in by_second:
            scope, value = by_second[second]
            if scope is None:  # mend at ``value``
                whole = whole and max(second, value)
                if whole == second:
                    expected.append((second, HostEvent.REPAIR, broken))
                    whole, broken = 0, Scope.NOTHING
            elif broken < Scope.HOST:
                expected.append((second, HostEvent.FAULT, scope))
                if scope >= Scope.GPU:
                    whole, broken = max(whole, second + value), max(broken, scope)
            elif scope >= Scope.GPU:
                whole = max(whole, second + value)
        dark_seconds += broken == Scope.HOST
    rows: list[Row] = []
    for second, scope, value in strikes:
        kind = RackOrder.MEND_HOST if scope is None else RackOrder.BREAK_HOST
        rows.append((second * SECOND, kind, 0, 1, 0, 0, value * SECOND, 0, Scope.HOST if scope is None else scope))
    shard = RackShard(CLUSTER, shard_ranges(CLUSTER, 1)[0], QUIET, 1)
    report = shard.advance(99 * SECOND, rack_orders(rows))
    seen = zip((report.time_ns // SECOND).tolist(), report.event.tolist(), report.scope.tolist(), strict=True)
    assert sorted(seen) == sorted(expected)
    reading, idle = shard.read(99 * SECOND), idle_milliwatts(CLUSTER.host_type) / 1000
    assert reading.hosts_down[0] == (whole > 0)
    assert reading.energy_joules[0] == pytest.approx(idle * (4 * 99 - dark_seconds + (broken == Scope.HOST)))


def test_an_injected_fault_postpones_the_drawn_one_by_the_time_it_is_down() -> None:
    span = shard_ranges(CLUSTER, 1)[0]
    undisturbed = RackShard(CLUSTER, span, STORMY, 5).advance(END, rack_orders([]))
    first: dict[int, int] = {}
    for time, host in zip(undisturbed.time_ns.tolist(), undisturbed.host.tolist(), strict=True):
        first.setdefault(host, time)
    host = max(first, key=lambda host: first[host] * (host < 8))
    shard = RackShard(CLUSTER, span, STORMY, 5)
    report = shard.advance(END, rack_orders([(1, RackOrder.BREAK_HOST, 0, 1 << host, 0, 0, 10 * SECOND)]))
    mine = report.time_ns[report.host == host].tolist()
    assert mine[:3] == [1, 1 + 10 * SECOND, first[host] + 10 * SECOND]


def test_a_host_mended_early_has_its_next_fault_earlier_by_as_much() -> None:
    span = shard_ranges(CLUSTER, 1)[0]
    broken = [(1, RackOrder.BREAK_HOST, 0, 1, 0, 0, 100 * SECOND)]

    def next_fault(rows: Sequence[Row]) -> int:
        report = RackShard(CLUSTER, span, STORMY, 5).advance(10**12, rack_orders(rows))
        return int(report.time_ns[(report.host == 0) & (report.event == HostEvent.FAULT)][1])

    assert next_fault(broken) - next_fault([*broken, (1 + 30 * SECOND, RackOrder.MEND_HOST, 0, 1, 0, 0, 0)]) == 70 * SECOND


def test_the_next_injected_fault_after_a_restore_has_a_new_repair_time() -> None:
    span = shard_ranges(CLUSTER, 1)[0]
    shard, other = (RackShard(CLUSTER, span, QUIET, 5) for _ in range(2))
    first = shard.advance(SECOND, rack_orders([(0, RackOrder.BREAK_HOST, 0, 1, 0, 0, 0)])).next_event_ns
    other.restore(shard.snapshot())
    again = [(first, RackOrder.BREAK_HOST, 0, 1, 0, 0, 0)]
    ends = {held.advance(first, rack_orders(again)).next_event_ns for held in (shard, other)}
    assert len(ends) == 1
    assert ends.pop() != 2 * first


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((5, RackOrder.OCCUPY, 4, 1, 1, 1, 0), "block 4"),
        ((5, RackOrder.OCCUPY, 0, 1 << 8, 1, 1, 0), "beyond the end of its block"),
        ((5, RackOrder.OCCUPY, 0, 1, 1 << 8, 1, 0), "beyond the host's 8"),
        ((21, RackOrder.OCCUPY, 0, 1, 1, 1, 0), "after the window's end"),
        ((5, RackOrder.BREAK_HOST, 0, 1, 0, 0, 0), "broken or mended at 5"),
    ],
)
def test_wrong_orders_are_refused_before_anything_changes(row: Row, words: str) -> None:
    shard = RackShard(CLUSTER, shard_ranges(CLUSTER, 1)[0], QUIET, 1)
    shard.advance(10, rack_orders([]))
    before = shard.snapshot()
    with pytest.raises(ValueError, match=words):
        shard.advance(20, rack_orders([(6, RackOrder.OCCUPY, 1, 1, 1, 5, 0), row]))
    assert all(np.array_equal(before[name], array) for name, array in shard.snapshot().items())


def test_time_runs_forwards_and_readings_need_the_events_before_them() -> None:
    shard = RackShard(CLUSTER, shard_ranges(CLUSTER, 1)[0], STORMY, 1)
    report = shard.advance(SECOND, rack_orders([]))
    for at in (0, report.next_event_ns):
        with pytest.raises(ValueError, match="advance first"):
            shard.read(at)
    with pytest.raises(ValueError, match="after the window's end"):
        shard.advance(0, rack_orders([]))
    with pytest.raises(ValueError, match="means never"):
        shard.advance(NEVER, rack_orders([]))
    with pytest.raises(ValueError, match="not whole"):
        RackShard(CLUSTER, type("Span", (), {"first_rack": 0, "end_rack": 1, "first_host": 0, "end_host": 4})(), QUIET, 1)


def test_shards_end_with_racks_and_blocks() -> None:
    for count in range(1, 9):
        spans = shard_ranges(CLUSTER, count)
        assert spans[0].first_host == 0
        assert spans[-1].end_host == 40
        assert all(a.end_host == b.first_host and a.end_rack == b.first_rack for a, b in pairwise(spans))
        assert {span.first_host for span in spans} <= {0, 16, 24}
    assert len(shard_ranges(CLUSTER, 8)) == 3
    with pytest.raises(ValueError, match="at least 1"):
        shard_ranges(CLUSTER, 0)
