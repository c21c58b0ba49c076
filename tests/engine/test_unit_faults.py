"""Faults of whole units, drawn: together, named, repaired together, and the same over any number of shards."""

from typing import Any

import pytest

from emulator.engine.engine import Engine
from emulator.racks.faults import FaultSettings
from emulator.racks.unit_faults import UnitFaultSettings
from emulator.scheduler.ledger import Withheld
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import clos, engine, fingerprint, run_until

CLUSTER = clos(72, host="gb200-nvl72", hosts_per_rack=18)
DAY = 86_400 * SECOND
ALL = UnitFaultSettings(
    per_unit_year={"rack": 200.0, "leaf": 50.0, "cooling_unit": 100.0, "power_feed": 100.0, "switch_tray": 300.0, "backplane": 50.0},
    repair_seconds=dict.fromkeys(("rack", "cooling_unit", "power_feed", "backplane"), 3000.0),
    racks_each={"cooling_unit": 3, "power_feed": 2},
)


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
    one.on_change = lambda slot, at_ns: reasons.add(one.reasons.get(slot, ""))
    run_until(one, 3 * DAY)
    assert len(heard) > 4
    assert {tuple(hosts) for hosts in heard.values()} <= {tuple(range(36)), tuple(range(36, 72))}
    assert any(reason.endswith("failed, with power feed feed-00001: power_feed") for reason in reasons)


@pytest.mark.parametrize("seed", [1, 2])
def test_shards_change_nothing(seed: int) -> None:
    own = FaultSettings(host_rate_per_1000_node_days=300.0, by_scope=True)
    runs = []
    for shards in (1, 2, 4):
        one = made(ALL, seed, shards=shards, faults=own)
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
        assert set(ledger.withheld(Withheld.DOWN)) == {host for fault in faults if fault.struck for host in fault.hosts}
        assert set(ledger.withheld(Withheld.DRAINED)) == {host for fault in faults if not fault.struck for host in fault.hosts}
        down = ledger.gpus_of(ledger.withheld(Withheld.DOWN)) - one.runs.broken_hosts.gpus()
        assert one.meter.down_gpus.value == down


def test_without_rates_nothing_is_drawn() -> None:
    one = made(UnitFaultSettings())
    run_until(one, 3 * DAY)
    assert sum(one.host_faults.counts) == 0
