"""Faults of whole units, drawn: together, named, repaired together, and the same over any number of shards."""

from typing import Any

import pytest

from emulator.engine.crews import Crews
from emulator.engine.engine import Engine
from emulator.engine.fault_book import Effect
from emulator.engine.slow_hosts import SlowHosts
from emulator.racks.buildout import Buildout
from emulator.racks.faults import CAUSE_OF, FaultSettings
from emulator.racks.hazard import Hazard
from emulator.racks.unit_faults import UnitFaultSettings
from emulator.scheduler.ledger import Withheld
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, engine, fingerprint, run_until

CLUSTER = clos(72, host="gb200-nvl72", hosts_per_rack=18)
DAY = 86_400 * SECOND
ALL = UnitFaultSettings(
    per_unit_year={
        "rack": 200.0,
        "leaf": 50.0,
        "cooling_unit": 100.0,
        "power_feed": 100.0,
        "switch_tray": 300.0,
        "backplane": 50.0,
        "suspect": 50.0,
        "slow": 80.0,
    },
    repair_seconds=dict.fromkeys(("rack", "cooling_unit", "power_feed", "backplane"), 3000.0),
    racks_each={"cooling_unit": 3, "power_feed": 2},
)
HAZARD = Hazard(lemon_ratio=0.1, lemon_factor=20.0, new_factor=5.0, new_ns=DAY)


def made(units: UnitFaultSettings, seed: int = 1, **more: Any) -> Engine:
    jobs = job_columns(
        400,
        submit_ns=[number * 400 * SECOND for number in range(400)],
        gpus=[(4, 8, 36, 72)[number % 4] for number in range(400)],
        duration_ns=[(3000 + 977 * (number % 13)) * SECOND for number in range(400)],
        checkpoint_ns=600 * SECOND,
    )
    return engine(CLUSTER, [jobs], unit_faults=units, seed=seed, until_ns=3 * DAY, **more)


def test_the_hosts_of_a_unit_go_down_and_come_back_at_one_instant_with_its_cause_and_name() -> None:
    heard: dict[tuple[int, int], list[int]] = {}
    one = made(UnitFaultSettings(per_unit_year={"power_feed": 500.0}, racks_each={"power_feed": 2, "cooling_unit": 1}))
    one.host_faults.on_host = lambda host, at_ns, cause: heard.setdefault((at_ns, cause), []).append(host)
    reasons: set[str] = set()
    one.chronicle.on_change = lambda slot, at_ns: reasons.add(one.chronicle.reasons.get(slot, ""))
    run_until(one, 3 * DAY)
    assert len(heard) > 4
    assert {tuple(hosts) for hosts in heard.values()} <= {tuple(range(36)), tuple(range(36, 72))}
    assert any(reason.endswith("failed, with power feed feed-00001: power_feed") for reason in reasons)


@pytest.mark.parametrize(("seed", "crews"), [(1, None), (2, 2)])
def test_shards_change_nothing(seed: int, crews: int | None) -> None:
    own = FaultSettings(host_rate_per_1000_node_days=300.0, by_scope=True, crews=crews is not None, all_memory_errors=True, hazard=HAZARD)
    runs = []
    for shards in (1, 2, 4):
        one = made(ALL, seed, shards=shards, faults=own, crews=crews, buildout=Buildout(2, DAY, DAY // 8))
        run_until(one, 3 * DAY)
        runs.append((fingerprint(one), tuple(one.host_faults.counts), [vars(fault) for fault in one.fault_book.open.values()]))
    assert runs[0] == runs[1] == runs[2]
    assert sum(runs[0][1]) > 100


def test_the_book_and_the_ledger_agree_in_every_cycle() -> None:
    """A host is down if and only if a fault in the book has it down; and withdrawn if and only if one there waits for its jobs."""
    own = FaultSettings(host_rate_per_1000_node_days=300.0, by_scope=True)
    one = made(ALL, 3, faults=own)
    while one.next_cycle_ns() <= 3 * DAY:
        one.run_cycle(one.next_cycle_ns())
        ledger, faults = one.scheduler.ledger, one.fault_book.open.values()
        hosts = {effect: {host for fault in faults if fault.effect == effect for host in fault.hosts} for effect in Effect}
        assert set(ledger.withheld(Withheld.DOWN)) == hosts[Effect.DOWN]
        assert set(ledger.withheld(Withheld.DRAINED)) == hosts[Effect.WITHDRAWN]
        assert {host for host in range(72) if one.faults.slow.ratio(host) < 1.0} == hosts[Effect.SLOW]
        down = ledger.gpus_of(ledger.withheld(Withheld.DOWN)) - one.runs.broken_hosts.gpus()
        assert one.meter.down_gpus.value == down


def test_without_rates_nothing_is_drawn() -> None:
    one = made(UnitFaultSettings())
    run_until(one, 3 * DAY)
    assert sum(one.host_faults.counts) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_crew_has_one_repair_at_a_time_first_come_first_served(seed: int) -> None:
    """Against a plain queue: at each fault the crew that is free first takes it."""
    own = FaultSettings(host_rate_per_1000_node_days=800.0, by_scope=True, crews=True)
    one = made(UnitFaultSettings(), seed, faults=own, crews=3)
    down: dict[int, tuple[int, int]] = {}
    asked: list[tuple[int, int]] = []
    lasted: list[tuple[int, int]] = []

    def heard(host: int, at_ns: int, cause: int) -> None:
        if cause >= 0:
            down[host] = at_ns, cause
        elif host in down and own.waits[down[host][1]]:
            lasted.append((down[host][0], at_ns))

    one.host_faults.on_host = heard
    work = one.host_faults.crews
    assert work is not None

    class Noting(Crews):
        def done_ns(self, host: int, at_ns: int, work_ns: int) -> int:
            asked.append((at_ns, work_ns))
            return super().done_ns(host, at_ns, work_ns)

    one.host_faults.crews = Noting(3, [0] * 72)
    run_until(one, 3 * DAY)
    free, expected = [0, 0, 0], []
    for at_ns, work_ns in asked:
        crew = free.index(min(free))
        free[crew] = max(free[crew], at_ns) + work_ns
        expected.append((at_ns, free[crew]))
    assert asked == sorted(asked, key=lambda one: one[0])
    assert len(lasted) > 50
    assert sorted(lasted) == sorted(pair for pair in expected if pair[1] <= one.now_ns)
    assert max(sum(begin <= at < end for begin, end in lasted) for at, _ in lasted) > 3, "hosts waited for crews"


def test_a_suspect_host_gets_no_new_job_and_loses_none() -> None:
    one = made(UnitFaultSettings(per_unit_year={"suspect": 300.0}), faults=FaultSettings(enabled=False))
    run_until(one, 3 * DAY)
    assert one.host_faults.counts[CAUSE_OF["suspect_host"]] > 50
    assert one.chronicle.restarts == 0


def test_a_slow_host_is_slow_for_its_time_and_the_worst_counts() -> None:
    slow = SlowHosts()
    slow.begin(1, (3, 4), 0.5, 100)
    slow.begin(2, (4,), 0.8, 50)
    assert [slow.ratio(host) for host in (3, 4, 5)] == [0.5, 0.5, 1.0]
    assert (slow.slowest((4, 5)), slow.slowest((5, 6)), slow.next_ns(), slow.take()) == (0.5, 1.0, 50, 2)
    slow.end(1, (3, 4))
    assert [slow.ratio(host) for host in (3, 4)] == [1.0, 0.8]


def test_a_new_rack_is_tried_out_before_it_is_given_to_jobs() -> None:
    jobs = job_columns(1, submit_ns=0, gpus=288, duration_ns=100 * SECOND)
    one = engine(CLUSTER, [jobs], buildout=Buildout(2, 2000 * SECOND, 500 * SECOND))
    run_until(one, 2000 * SECOND)
    assert set(one.scheduler.ledger.withheld(Withheld.BURN_IN)) == set(range(54, 72))
    assert one.meter.gpus == 288, "they are in service"
    run_until(one, 10_000 * SECOND)
    assert one.table.first_start_ns[0] == 2500 * SECOND
