"""Disaggregated services in whole emulations: keys and values go over the fabric, on which training jobs run too."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Submit
from emulator.engine.engine import Engine
from emulator.engine.service_settings import Service
from emulator.racks.serving_messages import Role, Tally
from emulator.report.outcome import Outcome
from emulator.runtime import place
from emulator.runtime.inline import InlineShards
from emulator.workload.jobs import SECOND
from tests.engine.small import LANE, ends, hosts_of, training
from tests.engine.test_services import CHAT, ENDS, opened, run, tallies, under_way

#: Two buildings of four leaves of 4 hosts, whose trunks have a quarter of their hosts' NICs.
BUILDINGS: dict[str, Any] = {
    "cluster": {
        "host": "hgx-h100",
        "hosts": 32,
        "hosts_per_rack": 2,
        "switch": "qm9700",
        "array_hosts": 4,
        "buildings": 2,
        "oversubscription": {"leaf": 4},
    },
    "serving": {"pool": "building"},
}
SPLIT = CHAT | {"replicas": 8, "disaggregated": {"prefill_replicas": 2}}
LONG = {"name": "constant", "prompt_tokens": 8000, "output_tokens": 20}


def roles(engine: Engine, number: int = 0) -> dict[int, list[int]]:
    """By pool, how many replicas compute prompts and how many answer."""
    assert engine.services is not None
    kinds = engine.services.replicas.services[number].kinds
    return {pool: [counts[Role.PREFILL], counts[Role.DECODE]] for pool, counts in sorted(kinds.items()) if sum(counts)}


def test_every_request_is_answered_and_its_keys_and_values_have_moved_once(tmp_path: Path) -> None:
    """Twenty replicas of whole hosts: one building is full of them, and the rest is in the other."""
    service = SPLIT | {"tensor": 8, "replicas": 20, "disaggregated": {"prefill_replicas": 5}}
    outcome, engine = run(tmp_path, service, **BUILDINGS)
    assert roles(engine) == {0: [4, 12], 1: [1, 3]}
    counted = tallies(engine)
    assert counted[Tally.ARRIVED] == counted[Tally.FINISHED] + under_way(engine)
    table = outcome.requests_table() if outcome.requests_table else None
    assert table is not None
    rows = table.to_pylist()
    moved = sum(row["prompt_tokens"] for row in rows if row["output_tokens"] > 1)
    assert moved <= counted[Tally.MOVED_TOKENS] <= moved + 40 * under_way(engine) * 1000
    assert outcome.inference is not None
    assert outcome.inference["slo_attainment_ratio"] > 0.95


def test_the_gap_behind_the_first_token_is_the_transfer_and_a_step(tmp_path: Path) -> None:
    """Requests that are alone, of 8,000 tokens and two of output. A replica has 4 NICs of 47.5 GB/s of payload, and nothing contends: a
    token of 80 layers with keys and values of 1,024 numbers each, bf16, is 327,680 bytes and takes 1.725 us between one pair of replicas;
    with 3 pairs 0.575 us of the turn, and 1.15 us behind it. Then comes one step that reads 8,001 tokens.
    """
    lengths = LONG | {"output_tokens": 2}
    service = SPLIT | {"disaggregated": {"prefill_replicas": 4}, "requests": {"per_second": 0.2, "lengths": lengths}}
    outcome, engine = run(tmp_path, service | {"kv_precision": "bf16"}, hosts=16, serving={"pool": "site"})
    assert roles(engine) == {0: [4, 4]}
    assert engine.services is not None
    given: Service = engine.services.settings.services[0]
    assert given.kv_bytes == 2 * 80 * 1024 * 2
    token_ps = -(-given.kv_bytes * 1e12 // (4 * 4 * 47.5e9))
    costs = given.served.steps.costs()
    step_ps = costs.base_ps + int(costs.table_ps[1]) + costs.running_ps + costs.kv_ps * 8001
    table = outcome.requests_table() if outcome.requests_table else None
    assert table is not None
    gaps = np.array(table.column("end_seconds")) - np.array(table.column("first_token_seconds"))
    assert np.median(gaps) == pytest.approx((8000 * token_ps * 4 + step_ps) / 1e12, abs=3e-9)


def job(engine: Engine) -> Submit:
    return Submit(engine.scheduler.add(training(1, gpus=80, job_id=7, submit_ns=60 * SECOND, duration_ns=900 * SECOND)))


def test_training_and_transfers_slow_each_other(tmp_path: Path) -> None:
    """The arithmetic. Leaves of four hosts with trunks of 8 cables: 380 GB/s of payload up and as much down.

    Replicas of whole hosts are on hosts 0 to 5, of which 0 and 5 compute prompts. The stream has 16 lanes, half from either host, and equal
    parts go to hosts 1 to 4: of the 8 lanes from host 5, in leaf 1 like host 4, 6 go up. A job has the other ten hosts, 6 and 7 in leaf 1
    and all of leaves 2 and 3: 8 of its rings go up from leaf 1. The stream sends for a part r of the time: 8 x + 6 r x = 380 GB/s is
    x = 47.5 * 8 / (8 + 6 r) a lane. The job's speed is 8 / (8 + 6 r), and the stream's rate while it sends 16 x.

    r is what the transfers of the minute before took: their tokens times 327,680 bytes over that rate.
    """
    lengths = {"name": "constant", "prompt_tokens": 8000, "output_tokens": 4}
    heavy = SPLIT | {"tensor": 8, "replicas": 6, "kv_precision": "bf16"}
    heavy["requests"] = {"per_second": 6, "lengths": lengths, "bursts": {"cv": 0.5, "period": "60s"}}
    cluster = {**BUILDINGS["cluster"], "hosts": 16, "buildings": 1}
    session = opened(tmp_path, heavy, cluster=cluster, serving={"pool": "site"}, until="30m")
    engine = session._engine
    network, table = engine.network, engine.table
    engine.post(job(engine), 60 * SECOND)
    ratios, moved = list[float](), 0
    while engine.next_cycle_ns() <= 900 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
        slot = table.slot_of.get(7)
        if slot is None or not network.has(slot):
            continue
        assert hosts_of(engine, 7) == list(range(6, 16))
        ratio = network._streams[~0].ratio
        lane = LANE * 8 / (8 + 6 * ratio)
        assert network.rate(slot) == pytest.approx(lane, rel=1e-12)
        assert network.stream_rate(0) == pytest.approx(16 * lane, rel=1e-12)
        assert table.lives.speed[slot] == pytest.approx(8 / (8 + 6 * ratio), rel=1e-12)
        if ratios and engine.now_ns % (60 * SECOND) == 0:
            took = (tallies(engine)[Tally.MOVED_TOKENS] - moved) * 327_680 / (16 * LANE * 8 / (8 + 6 * ratios[-1])) / 60
            assert took * 0.98 < ratio < took * 1.1  # a sixteenth, and one transfer at either end
        if engine.now_ns % (60 * SECOND) == 0:
            ratios.append(ratio)
            moved = tallies(engine)[Tally.MOVED_TOKENS]
    assert len(set(ratios)) > 1
    session.run_to_end()
    session.close()
    alone = opened(tmp_path, heavy | {"requests": {"per_second": 0}}, cluster=cluster, serving={"pool": "site"}, until="30m")
    alone._engine.post(job(alone._engine), 60 * SECOND)
    alone.run_to_end()
    alone.close()
    assert ends(alone._engine)[7] * 1.01 < ends(engine)[7] < ends(alone._engine)[7] * 1.1


def played(folder: Path, monkeypatch: pytest.MonkeyPatch, shards: int) -> tuple[Outcome, Engine]:
    """Two services, training, and a host that breaks."""
    monkeypatch.setattr(place, "InlineShards", partial(InlineShards, shards=shards))
    script = [{"at": "5m5s", "kind": "host", "name": "r00000-h00", "duration": "5m"}]
    heavy = SPLIT | {"tensor": 8, "replicas": 6, "requests": {"per_second": 8, "lengths": LONG}, "priority": 100}
    other = CHAT | {"name": "other", "replicas": 4, "scaling": {"metric": "concurrency", "target": 8, "min": 2}}
    sections = BUILDINGS | {
        "workload": {"kind": "generated", "generated": {"load": 0.8}},
        "faults": {"enabled": False, "script": script},
    }
    return run(folder, heavy, other, until="20m", **sections)


def test_the_same_digest_with_any_number_of_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, engine = played(tmp_path, monkeypatch, 1)
    assert tallies(engine)[Tally.RETRIED] > 0
    table = outcome.requests_table() if outcome.requests_table else None
    assert table is not None
    for shards in (2, 3):
        again, other = played(tmp_path, monkeypatch, shards)
        assert again.digest == outcome.digest
        assert [tallies(other, number) for number in range(2)] == [tallies(engine, number) for number in range(2)]
        table_again = again.requests_table() if again.requests_table else None
        assert table_again is not None
        assert table_again.equals(table)


def test_the_proportion_is_kept_when_the_service_scales(tmp_path: Path) -> None:
    """One of four computes prompts, but at least one does, and one answers."""
    session = opened(tmp_path, SPLIT | {"requests": {"per_second": 2}}, hosts=16, serving={"pool": "site"}, until="20m")
    engine = session._engine
    seen = {}
    for minute, count in ((1, 8), (3, 4), (5, 2), (7, 12), (12, 3)):
        while engine.next_cycle_ns() < minute * 60 * SECOND:
            engine.run_cycle(engine.next_cycle_ns())
        session.scale_service("chat", count)
        while engine.next_cycle_ns() < (minute + (4 if count == 12 else 1)) * 60 * SECOND:
            engine.run_cycle(engine.next_cycle_ns())
        seen[count] = roles(engine)[0]
    assert seen == {8: [2, 6], 4: [1, 3], 2: [1, 1], 12: [3, 9], 3: [1, 2]}
    session.run_to_end()
    session.close()
    counted = tallies(engine)
    assert counted[Tally.ARRIVED] == sum(counted[one] for one in ENDS) + under_way(engine)
    assert counted[Tally.RETRIED] == 0


def test_a_pool_without_a_kind_gets_nothing_where_others_have_both(tmp_path: Path) -> None:
    """Seventeen replicas of whole hosts: one building has 16 of them, and the other one, which nobody asks."""
    service = SPLIT | {"tensor": 8, "replicas": 17, "disaggregated": {"prefill_replicas": 4}, "requests": {"per_second": 2}}
    _, engine = run(tmp_path, service, **BUILDINGS)
    assert roles(engine) == {0: [3, 13], 1: [1, 0]}
    counted = tallies(engine)
    assert counted[Tally.FINISHED] > 0
    assert counted[Tally.REJECTED] == counted[Tally.LOST] == 0
    assert counted[Tally.ARRIVED] == counted[Tally.FINISHED] + under_way(engine)
