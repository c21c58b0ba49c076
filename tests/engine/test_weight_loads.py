"""Replicas that start get their weights from others: over the fabric, on which training jobs run too, at the share of each cycle."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Submit
from emulator.engine.engine import Engine
from emulator.engine.weight_loads import WeightLoads
from emulator.jobs.life import Phase
from emulator.report.outcome import Outcome
from emulator.runtime import place
from emulator.runtime.inline import InlineShards
from emulator.runtime.session import Session
from emulator.workload.jobs import SECOND, JobKind
from tests.engine.small import LANE, hosts_of, training
from tests.engine.test_services import CHAT, opened, run

PEERS = CHAT | {"weights_from": "peers", "cold_start": "30s", "requests": {"per_second": 1}}
#: Whole hosts.
HOSTS = PEERS | {"tensor": 8}
#: By a GPU, from storage.
READ = 0.15e9
TENTHS = {"cycle": "100ms", "until": "3m"}
#: Leaves of four hosts, whose trunks have a quarter of their hosts' NICs: 8 cables, 380 GB/s of payload.
TRUNKS = {"host": "hgx-h100", "hosts": 16, "hosts_per_rack": 2, "switch": "qm9700", "array_hosts": 4, "oversubscription": {"leaf": 4}}


def until(engine: Engine, seconds: float) -> None:
    while engine.next_cycle_ns() <= seconds * SECOND:
        engine.run_cycle(engine.next_cycle_ns())


def loads(engine: Engine) -> WeightLoads:
    assert engine.services is not None
    return engine.services.weight_loads


def weights(engine: Engine) -> float:
    assert engine.services is not None
    return engine.services.settings.services[0].weight_bytes


def youngest(engine: Engine, count: int) -> list[int]:
    """Slots of replicas."""
    assert engine.services is not None
    return sorted(engine.services.replicas.of, key=engine.table.job_id.__getitem__)[-count:]


def started(engine: Engine, count: int) -> list[float]:
    """Seconds that the youngest replicas took to start."""
    return [engine.table.lives.spent_ns[Phase.STARTING][slot] / SECOND for slot in youngest(engine, count)]


def scaled(folder: Path, service: dict[str, Any], replicas: int, **sections: Any) -> tuple[Session, Engine]:
    """A minute after the start the service is to have so many replicas."""
    session = opened(folder, service, **sections)
    until(session._engine, 60)
    session.scale_service("chat", replicas)
    return session, session._engine


@pytest.mark.parametrize("cold_start", [0, 30, 34.25])
def test_one_that_loads_alone_has_its_nics(tmp_path: Path, cold_start: float) -> None:
    """Four of 47.5 GB/s of payload; it begins at its own time, whatever the cycle, and six replicas have what it needs."""
    session, engine = scaled(tmp_path, PEERS | {"cold_start": f"{round(cold_start * 1000)}ms"}, 7)
    until(engine, 130)
    assert started(engine, 1) == pytest.approx([cold_start + weights(engine) / (4 * LANE)], abs=2e-9)
    assert not loads(engine)._streams
    assert engine.network.stream_rate(loads(engine)._replicas.pools) is None
    session.close()


def test_what_it_sends_is_counted_on_the_links(tmp_path: Path) -> None:
    """Known to five binary digits, rounded up."""
    session, engine = scaled(tmp_path, HOSTS | {"replicas": 1}, 2, cluster=TRUNKS | {"array_hosts": 1, "oversubscription": {"leaf": 1}})
    until(engine, 130)
    carried = engine.read_links().carried_bytes
    trunks = engine.cluster.links.tier == 1
    for way in (0, 1):
        assert weights(engine) <= carried[trunks, way].sum() <= weights(engine) * 17 / 16
    session.close()


def test_two_divide_what_one_can_send(tmp_path: Path) -> None:
    """One replica of eight GPUs is up; the two that load from it have half of its NICs each."""
    session, engine = scaled(tmp_path, HOSTS | {"replicas": 1}, 3)
    until(engine, 130)
    assert started(engine, 2) == pytest.approx([30 + weights(engine) / (4 * LANE)] * 2, abs=2e-9)
    session.close()


def test_three_from_two_others(tmp_path: Path) -> None:
    session, engine = scaled(tmp_path, HOSTS | {"replicas": 2}, 5)
    until(engine, 130)
    assert started(engine, 3) == pytest.approx([30 + weights(engine) / (16 / 3 * LANE)] * 3, rel=1e-9)
    session.close()


def test_where_nobody_is_up_they_are_read_from_storage(tmp_path: Path) -> None:
    session, engine = scaled(tmp_path, PEERS | {"replicas": 0}, 2)
    until(engine, 300)
    assert started(engine, 2) == pytest.approx([30 + weights(engine) / (4 * READ)] * 2, abs=2e-9)
    session.close()


def test_one_that_waits_for_storage_is_no_source_and_one_that_is_up_is(tmp_path: Path) -> None:
    """The first reads from storage; one that begins to load when it is up has it from there."""
    session, engine = scaled(tmp_path, PEERS | {"replicas": 0}, 1)
    until(engine, 120)
    session.scale_service("chat", 2)
    until(engine, 230)
    session.scale_service("chat", 3)
    until(engine, 360)
    storage, peer = 30 + weights(engine) / (4 * READ), 30 + weights(engine) / (4 * LANE)
    assert started(engine, 3) == pytest.approx([storage, storage, peer], abs=2e-9)
    session.close()


def test_another_unit_of_the_site_will_do(tmp_path: Path) -> None:
    """Pools are leaves of a host. From the first to the second, whose trunks have it all."""
    session, engine = scaled(tmp_path, HOSTS | {"replicas": 1}, 2, cluster=TRUNKS | {"array_hosts": 1, "oversubscription": {"leaf": 1}})
    until(engine, 100)
    replicas = loads(engine)._replicas
    (slot,) = youngest(engine, 1)
    (here,), there = replicas.services[0].up.values(), replicas.of[slot].pool
    assert here != there
    assert loads(engine)._streams.keys() == {replicas.pools + here * replicas.units + there}
    until(engine, 130)
    assert started(engine, 1) == pytest.approx([30 + weights(engine) / (8 * LANE)], abs=2e-9)
    session.close()


def test_another_site_will_not(tmp_path: Path) -> None:
    """The west is full; the ninth replica is alone in the east, and its site's storage has what it needs."""
    part = {"host": "hgx-h100", "hosts": 8, "hosts_per_rack": 4, "switch": "sn5600", "array_hosts": 8}
    cluster = {
        "parts": [{"name": name, "site": name, **part} for name in ("west", "east")],
        "wan": {"gateway_bandwidth": "3.2Tbps", "distance_km": 4000},
    }
    session, engine = scaled(tmp_path, HOSTS | {"replicas": 8}, 9, cluster=cluster)
    until(engine, 200)
    assert loads(engine)._replicas.site_of_unit[loads(engine)._replicas.of[youngest(engine, 1)[0]].pool] == 1
    assert started(engine, 1) == pytest.approx([30 + weights(engine) / (8 * READ)], abs=2e-9)
    session.close()


def test_a_load_and_a_ring_slow_each_other(tmp_path: Path) -> None:
    """The arithmetic.

    Replicas of whole hosts are on hosts 0 to 3, of leaf 0. A job has hosts 4 to 14, so 8 of its rings come down to each of leaves 1 to 3;
    the fifth replica is on host 15, of leaf 3, and 8 lanes come down to it. It loads for the part r of a cycle of 0.1 s: 8 x + 8 r x =
    380 GB/s is x = 47.5 / (1 + r) a lane, which is what the job's speed follows, and 8 x the load's rate. The rates of the cycles times
    their lengths are the weights.
    """
    session = opened(tmp_path, HOSTS | {"replicas": 4}, cluster=TRUNKS, serving={"pool": "site"}, clock=TENTHS)
    engine = session._engine
    network, table = engine.network, engine.table
    engine.post(Submit(engine.scheduler.add(training(1, gpus=88, job_id=7, submit_ns=SECOND, duration_ns=900 * SECOND))), SECOND)
    until(engine, 60)
    session.scale_service("chat", 5)
    slot, ratios, left = table.slot_of[7], list[float](), weights(engine)
    expected_ns = 0
    while engine.next_cycle_ns() <= 100 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
        if not loads(engine)._streams:
            continue
        assert hosts_of(engine, 7) == list(range(4, 15))
        (number,) = loads(engine)._streams
        ratios.append(network._streams[~number].ratio)
        lane = LANE / (1 + ratios[-1])
        assert network.rate(slot) == pytest.approx(lane, rel=1e-12)
        assert network.stream_rate(number) == pytest.approx(8 * lane, rel=1e-12)
        assert table.lives.speed[slot] == pytest.approx(1 / (1 + ratios[-1]), rel=1e-12)
        assert left > 0
        expected_ns = engine.now_ns + min(SECOND // 10, round(left / (8 * lane) * SECOND))
        left -= 8 * lane / 10
    assert ratios[:3] == [1.0] * 3
    assert len(ratios) == 4
    assert 0.8 < ratios[3] < 0.9
    (new,) = youngest(engine, 1)
    assert table.start_ns[new] + round(started(engine, 1)[0] * SECOND) == pytest.approx(expected_ns, abs=5)
    assert table.lives.speed[slot] == 1.0
    session.close()


def test_a_source_that_is_lost_is_missed_from_the_next_cycle_on(tmp_path: Path) -> None:
    """The only one breaks 0.25 s after the load began at 405 GB over 380 GB/s; at 0.3 s what is left is read from storage."""
    script = [{"at": "90350ms", "kind": "host", "name": "r00000-h00", "duration": "10m"}]
    service = HOSTS | {"model": "llama3.1-405b", "replicas": 1, "cold_start": "30s", "objectives": {"tpot": "200ms"}}
    faults = {"enabled": False, "script": script}
    session, engine = scaled(tmp_path, service, 2, clock=TENTHS | {"until": "20m"}, faults=faults)
    until(engine, 90.1)
    (new,) = youngest(engine, 1)
    begins = engine.table.start_ns[new] / SECOND + 30
    assert begins == pytest.approx(90.1)
    until(engine, 90.3)
    assert loads(engine)._streams
    until(engine, 90.4)
    assert not loads(engine)._streams
    until(engine, 600)
    left = weights(engine) - (90.4 - begins) * 8 * LANE
    assert engine.table.lives.spent_ns[Phase.STARTING][new] / SECOND == pytest.approx(90.4 - begins + 30 + left / (8 * READ), rel=1e-8)
    session.close()


def test_one_that_is_paused_loads_when_it_goes_on(tmp_path: Path) -> None:
    session, engine = scaled(tmp_path, PEERS, 7)
    until(engine, 90)
    (new,) = youngest(engine, 1)
    engine.runs.pause(new, engine.now_ns, paused=True)
    paused_ns = engine.now_ns
    until(engine, 120)
    assert not loads(engine)._streams
    engine.runs.pause(new, 120 * SECOND, paused=False)
    loads(engine).retime(120 * SECOND)
    until(engine, 200)
    assert started(engine, 1) == pytest.approx([30 + weights(engine) / (4 * LANE)], abs=2e-9)
    assert engine.table.lives.spent_ns[Phase.PAUSED][new] == 120 * SECOND - paused_ns
    session.close()


def test_one_that_is_no_longer_wanted_leaves_no_stream(tmp_path: Path) -> None:
    """It goes in the middle of its load."""
    service = HOSTS | {"model": "llama3.1-405b", "replicas": 1, "objectives": {"tpot": "200ms"}}
    session, engine = scaled(tmp_path, service, 2, clock=TENTHS)
    until(engine, 90.5)
    assert loads(engine)._streams
    session.scale_service("chat", 1)
    until(engine, 91)
    assert not loads(engine)._streams
    assert not engine.network._streams
    assert not loads(engine)._loads
    session.close()


def played(folder: Path, monkeypatch: pytest.MonkeyPatch, shards: int, **more: str) -> Outcome:
    """Replicas come and go with the load, next to training, and a host breaks."""
    monkeypatch.setattr(place, "InlineShards", partial(InlineShards, shards=shards))
    scaling = {"metric": "concurrency", "target": 1, "min": 2, "down_cooldown": "0s"}
    requests = {"per_second": 8, "bursts": {"cv": 1.0, "period": "2m"}}
    service = CHAT | {"replicas": 4, "scaling": scaling, "cold_start": "33s", "requests": requests, "priority": 100} | more
    sections = {
        "cluster": TRUNKS,
        "serving": {"pool": "leaf"},
        "workload": {"kind": "generated", "generated": {"load": 0.8}},
        "scheduler": {"preemption": True, "preempt_after": "0s"},
        "faults": {"enabled": False, "script": [{"at": "5m5s", "kind": "host", "name": "r00000-h00", "duration": "5m"}]},
    }
    return run(folder, service, until="40m", **sections)[0]


def test_the_same_digest_with_any_number_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = played(tmp_path, monkeypatch, 1, weights_from="peers")
    assert len(np.unique(outcome.jobs.start_ns[outcome.jobs.kind == JobKind.SERVICE])) > 5
    assert outcome.digest != played(tmp_path, monkeypatch, 1).digest
    for shards in (2, 3):
        assert played(tmp_path, monkeypatch, shards, weights_from="peers").digest == outcome.digest
