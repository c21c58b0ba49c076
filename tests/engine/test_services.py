"""Services in whole emulations: every request is accounted for, whatever becomes of their replicas, and replicas follow the load."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.engine.engine import Engine
from emulator.engine.service_accounts import MILLI
from emulator.engine.service_views import service_views
from emulator.engine.services import leaders_of
from emulator.jobs.life import Phase
from emulator.racks.serving_messages import Latency, ServingOrder, Tally
from emulator.report.outcome import Outcome
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario.load import load
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobKind

CHAT: dict[str, Any] = {
    "name": "chat",
    "model": "llama3.1-70b",
    "tensor": 4,
    "replicas": 6,
    "objectives": {"ttft": "1s", "tpot": "50ms"},
    "requests": {"per_second": 20},
}
ENDS = (Tally.FINISHED, Tally.REJECTED, Tally.TIMED_OUT, Tally.CANCELLED, Tally.LOST, Tally.TOO_LONG)


def opened(folder: Path, *services: dict[str, Any], hosts: int = 16, until: str = "20m", **sections: Any) -> Session:
    """A machine of two-rack leaves of 8 hosts, so of ``hosts / 8`` pools a service."""
    scenario = {
        "name": "serves",
        "cluster": {"host": "hgx-h100", "hosts": hosts, "hosts_per_rack": 4, "switch": "qm9700", "array_hosts": 8},
        "clock": {"cycle": "10s", "until": until},
        "workload": {"kind": "none"},
        "faults": {"enabled": False},
        "serving": {"pool": "leaf"},
        "services": list(services),
        "runtime": {"actors": "inline"},
    } | sections
    made = folder / "serves.yaml"
    made.write_text(yaml.safe_dump(scenario))
    return open_session(load(made))


def run(folder: Path, *services: dict[str, Any], **sections: Any) -> tuple[Outcome, Engine]:
    session = opened(folder, *services, **sections)
    outcome = session.run_to_end()
    session.close()
    return outcome, session._engine


def under_way(engine: Engine, number: int = 0) -> int:
    """Requests that have not ended, by the shards; those that wait for another try are what is missing."""
    assert engine.services is not None
    return engine.services.accounts[number].running + engine.services.accounts[number].waiting


def tallies(engine: Engine, number: int = 0) -> dict[Tally, int]:
    assert engine.services is not None
    account = engine.services.accounts[number]
    assert not (account.tallies % MILLI).any()
    return {one: int(account.tallies[one]) // MILLI for one in Tally}


def test_every_request_is_answered_or_still_there(tmp_path: Path) -> None:
    outcome, engine = run(tmp_path, CHAT)
    counted = tallies(engine)
    assert counted[Tally.ARRIVED] == pytest.approx(20 * 1200, rel=0.03)
    assert counted[Tally.ARRIVED] == counted[Tally.FINISHED] + under_way(engine)
    assert outcome.inference is not None
    assert outcome.inference["slo_attainment_ratio"] > 0.99
    assert outcome.inference["requests"] == counted[Tally.ARRIVED]
    table = outcome.requests_table() if outcome.requests_table else None
    assert table is not None
    assert table.num_rows == counted[Tally.FINISHED]
    assert set(table.column("outcome").to_pylist()) == {"finished"}


def test_littles_law(tmp_path: Path) -> None:
    """The mean number of requests with the replicas is their rate times how long they stay: L = lambda W, over the looks of an hour."""
    session = opened(tmp_path, CHAT, until="1h", serving={"pool": "leaf", "interval": "10s"})
    engine = session._engine
    there = []
    while engine.next_cycle_ns() < 3600 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
        there.append(under_way(engine))
    table = session.run_to_end().requests_table
    session.close()
    assert table is not None
    rows = table()
    stays = np.array(rows.column("end_seconds")) - np.array(rows.column("arrival_seconds"))
    assert np.mean(there) == pytest.approx(stays.sum() / 3600, rel=0.03)


def test_a_host_that_breaks_loses_its_requests_which_are_made_again(tmp_path: Path) -> None:
    script = [{"at": "5m5s", "kind": "host", "name": "r00000-h00", "duration": "10m"}]
    outcome, engine = run(tmp_path, CHAT, faults={"enabled": False, "script": script})
    counted = tallies(engine)
    assert counted[Tally.RETRIED] > 0
    assert counted[Tally.LOST] == 0
    assert counted[Tally.ARRIVED] == counted[Tally.FINISHED] + under_way(engine)
    table = outcome.requests_table() if outcome.requests_table else None
    assert table is not None
    again = [row for row in table.to_pylist() if row["tries"] > 1]
    assert again
    assert all(row["arrival_seconds"] < 310.0 < row["end_seconds"] for row in again)
    assert engine.chronicle.restarts > 0  # the replicas' jobs, which come back elsewhere
    assert sum(view.up_replicas for view in service_views(engine)) == 6


def test_without_another_try_they_are_lost(tmp_path: Path) -> None:
    script = [{"at": "5m5s", "kind": "host", "name": "r00000-h00", "duration": "10m"}]
    service = CHAT | {"retries": {"most": 0}}
    _, engine = run(tmp_path, service, faults={"enabled": False, "script": script})
    counted = tallies(engine)
    assert counted[Tally.LOST] > 0
    assert counted[Tally.RETRIED] == 0
    assert counted[Tally.ARRIVED] == sum(counted[one] for one in ENDS) + under_way(engine)


def test_replicas_that_leave_finish_what_they_have(tmp_path: Path) -> None:
    session = opened(tmp_path, CHAT | {"requests": {"per_second": 8}})
    engine = session._engine
    while engine.next_cycle_ns() <= 300 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    assert "2 replicas from" in session.scale_service("chat", 2)
    outcome = session.run_to_end()
    session.close()
    counted = tallies(engine)
    assert (counted[Tally.LOST], counted[Tally.RETRIED], counted[Tally.WASTED_TOKENS]) == (0, 0, 0)
    assert counted[Tally.ARRIVED] == counted[Tally.FINISHED] + under_way(engine)
    assert service_views(engine)[0].up_replicas == 2
    ended = outcome.jobs.end_ns[outcome.jobs.end_ns >= 0]
    assert len(ended) == 4
    assert (ended >= 310 * SECOND).all()


@pytest.mark.parametrize("output_tokens", [10, 50_000])
def test_replicas_that_are_lost_while_they_leave_do_not_come_back(tmp_path: Path, output_tokens: int) -> None:
    """Their hosts break when they have finished, which nobody has looked at yet, or before; either way their jobs have ended."""
    script = [{"at": "6m10s", "kind": "host", "name": f"r00000-h0{host}", "duration": "1h"} for host in range(3)]
    lengths = {"name": "constant", "prompt_tokens": 100, "output_tokens": output_tokens}
    service = CHAT | {"requests": {"per_second": 0.5, "lengths": lengths}}
    sections: dict[str, Any] = {"faults": {"enabled": False, "script": script}, "serving": {"pool": "leaf", "interval": "5m"}}
    session = opened(tmp_path, service, until="30m", **sections)
    engine = session._engine
    while engine.next_cycle_ns() <= 310 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    session.scale_service("chat", 1)
    session.run_to_end()
    session.close()
    assert engine.services is not None
    assert len(engine.services.replicas.of) == 1
    assert service_views(engine)[0].up_replicas == 1
    assert engine.scheduler.free_gpus()[0] == 13 * 8 - 4


def test_new_replicas_load_their_weights_first(tmp_path: Path) -> None:
    """70 GB by 4 GPUs at 0.15 GB/s each take 117.9 s, after a cold start of 30 s; meanwhile the GPUs are held and draw nothing more."""
    session = opened(tmp_path, CHAT | {"cold_start": "30s"})
    engine = session._engine
    while engine.next_cycle_ns() <= 60 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    session.scale_service("chat", 7)
    while engine.next_cycle_ns() <= 210 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    assert engine.services is not None
    weights = engine.services.settings.services[0].weight_bytes
    assert (service_views(engine)[0].up_replicas, service_views(engine)[0].starting_replicas) == (6, 1)
    while engine.next_cycle_ns() <= 240 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    assert service_views(engine)[0].up_replicas == 7
    slot = max(engine.services.replicas.of, key=engine.table.job_id.__getitem__)
    assert engine.table.lives.spent_ns[Phase.STARTING][slot] == pytest.approx((30 + weights / 0.6e9) * SECOND, rel=1e-6)
    session.close()


def test_replicas_follow_the_load_and_push_training_aside(tmp_path: Path) -> None:
    """The rate of requests rises fivefold over 12 h and falls again; preemptible jobs have the GPUs that are left."""
    service = CHAT | {
        "priority": 100,
        "replicas": 4,
        "scaling": {"metric": "concurrency", "target": 16, "min": 2},
        "requests": {"per_second": 30, "diurnal_ratio": 0.7, "peak_hour": 12},
    }
    outcome, engine = run(
        tmp_path,
        service,
        until="24h",
        workload={"kind": "generated", "generated": {"load": 1.5}},
        scheduler={"preemption": True, "preempt_after": "0s"},
    )
    assert outcome.inference is not None
    assert outcome.inference["slo_attainment_ratio"] > 0.97
    replicas = outcome.jobs.kind == JobKind.SERVICE
    held = outcome.jobs.gpu_seconds[replicas].sum() / (86_400 * 4)
    assert 3 < held < 20
    assert engine.chronicle.preemptions > 0
    assert len(np.unique(outcome.jobs.start_ns[replicas])) > 5


def test_to_zero_and_back(tmp_path: Path) -> None:
    """Requests for a minute, nothing for 20 minutes, and requests again: the first of them wait for a cold start."""
    trace = tmp_path / "trace.csv"
    rows = [f"{second},100,10" for second in (*range(60), *range(1500, 1800))]
    trace.write_text("arrival_seconds,prompt_tokens,output_tokens\n" + "\n".join(rows) + "\n")
    service = CHAT | {
        "replicas": 1,
        "scaling": {"metric": "concurrency", "target": 16, "min": 0, "idle": "5m", "down_cooldown": "0s"},
        "retries": {"most": 100, "after": "10s"},
        "requests": {"kind": "trace", "format": "requests", "path": str(trace)},
    }
    session = opened(tmp_path, service, until="40m")
    engine = session._engine
    while engine.next_cycle_ns() <= 1200 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    assert service_views(engine)[0].up_replicas == 0
    assert engine.scheduler.free_gpus()[0] == 128
    outcome = session.run_to_end()
    session.close()
    counted = tallies(engine)
    assert counted[Tally.FINISHED] == 360
    assert counted[Tally.RETRIED] > 0
    assert outcome.inference is not None
    assert outcome.inference["ttft_seconds"]["p99"] > 100


def test_weighted_copies_give_the_same_figures(tmp_path: Path) -> None:
    """One of four pools is run for all; counts and means are those of all four within the statistical error of a quarter of them."""
    service = CHAT | {"replicas": 64, "requests": {"per_second": 240}}
    whole, some = (
        run(tmp_path, service | {"run_one_in": one_in}, hosts=32, until="30m", scheduler={"placement": "spread"}) for one_in in (1, 4)
    )
    one, other = whole[0].inference, some[0].inference
    assert one is not None
    assert other is not None
    assert one["run_ratio"] == 1.0
    assert other["run_ratio"] == pytest.approx(0.25, rel=0.02)
    for name in ("requests", "completed", "input_tokens", "output_tokens", "energy_joules"):
        assert other[name] == pytest.approx(one[name], rel=0.03), name
    for latency in ("ttft_seconds", "tpot_seconds", "e2e_seconds"):
        for percentile in ("p50", "p90"):
            assert other[latency][percentile] == pytest.approx(one[latency][percentile], rel=0.06), (latency, percentile)


def test_copies_need_no_shard_and_give_back_their_gpus_at_once(tmp_path: Path) -> None:
    """Of four pools one is known to a shard. Where it is lost another of them is, with the replicas that it has."""
    script = [{"at": "10m5s", "kind": "rack", "name": f"r0000{rack}", "duration": "1h"} for rack in (0, 1)]
    service = CHAT | {"replicas": 64, "run_one_in": 4, "requests": {"per_second": 240}}
    faults = {"enabled": False, "script": script}
    session = opened(tmp_path, service, hosts=32, scheduler={"placement": "spread"}, faults=faults)
    engine = session._engine
    assert engine.services is not None
    replicas = engine.services.replicas
    told, tell = set[int](), replicas.tell

    def heard(at_ns: int, kind: ServingOrder, pool: int, replica: int, *more: int, **shares: float) -> None:
        told.add(pool)
        tell(at_ns, kind, pool, replica, *more, **shares)  # type: ignore[arg-type]

    replicas.tell = heard  # type: ignore[method-assign,assignment]
    while engine.next_cycle_ns() <= 300 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    assert told == {0}
    session.scale_service("chat", 60)
    while engine.next_cycle_ns() <= 600 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
    assert len(replicas.of) == 60
    outcome = session.run_to_end()
    session.close()
    assert len(told) == 2
    assert outcome.inference is not None
    assert outcome.inference["requests"] == pytest.approx(240 * 1200, rel=0.03)


POOLS = st.dictionaries(st.integers(0, 99), st.integers(1, 128), min_size=1)


@given(POOLS, st.integers(0, 99), st.integers(1, 128), st.integers(1, 30))
def test_who_stands_for_others(pools: dict[int, int], comes: int, replicas: int, every: int) -> None:
    """One of the same units that stands for itself and is no small pool; it changes only beside a pool that comes, and for a larger one."""

    def leaders(of: dict[int, int], before: dict[int, int]) -> dict[int, int]:
        there = sorted(of)
        led = [before.get(unit) == unit for unit in there]
        return {unit: there[place] for unit, place in zip(there, leaders_of(there, [of[unit] for unit in there], every, led), strict=True)}

    before = leaders(pools, {})
    more = pools | {comes: replicas}
    after = leaders(more, before)
    for of, found in ((pools, before), (more, after)):
        for unit, leader in found.items():
            assert leader // every == unit // every
            assert found[leader] == leader
            assert 2 * of[leader] >= max(count for other, count in of.items() if other // every == unit // every)
    assert all(after[unit] == leader or unit // every == comes // every for unit, leader in before.items())
    assert all(after[unit] in (leader, comes) or leader == comes for unit, leader in before.items())


def test_a_replica_that_comes_draws_what_its_pool_draws(tmp_path: Path) -> None:
    """From the next look on, also where what the pool draws stays the same: one comes every minute, to replicas that are full."""
    session = opened(tmp_path, CHAT | {"cold_start": "0s", "requests": {"per_second": 2000}})
    engine = session._engine
    assert engine.services is not None
    for minute in range(1, 20):
        session.scale_service("chat", 6 + minute)
        while engine.next_cycle_ns() <= 60 * (minute + 1) * SECOND:
            engine.run_cycle(engine.next_cycle_ns())
        up = engine.services.replicas.services[0].up
        drawn = {pool: {engine.table.utilization[slot] for slot, own in up.items() if own == pool} for pool in up.values()}
        assert all(len(of_pool) == 1 for of_pool in drawn.values()), (minute, drawn)
    session.close()


def test_power_follows_the_load(tmp_path: Path) -> None:
    """A service of four times the requests draws more, and each of its requests costs less."""
    light, heavy = (run(tmp_path, CHAT | {"requests": {"per_second": rate}})[0] for rate in (6, 24))
    assert light.inference is not None
    assert heavy.inference is not None
    assert heavy.it_energy_joules > light.it_energy_joules
    assert heavy.inference["joules_per_request"] < 0.5 * light.inference["joules_per_request"]
    replicas = heavy.jobs.kind == JobKind.SERVICE
    assert heavy.inference["energy_joules"] == pytest.approx(heavy.jobs.energy_joules[replicas].sum(), rel=1e-9)


def test_what_a_pool_reports_is_what_is_summed_up(tmp_path: Path) -> None:
    _, engine = run(tmp_path, CHAT)
    assert engine.services is not None
    account = engine.services.accounts[0]
    for latency in Latency:
        assert int(account.counts[latency].sum()) <= int(account.tallies[Tally.FINISHED])
    assert int(account.counts[Latency.TTFT].sum()) == int(account.tallies[Tally.FINISHED])


def test_replicas_that_do_not_fit_wait_with_a_reason(tmp_path: Path) -> None:
    _, engine = run(tmp_path, CHAT | {"replicas": 40}, hosts=16)
    table = engine.table
    waiting = [slot for slot, state in enumerate(table.state) if state == State.PENDING]
    assert len(waiting) == 8
    assert service_views(engine)[0].pending_replicas == 8
