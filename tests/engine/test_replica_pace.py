"""How fast replicas step in whole emulations: at a lower clock, and where their tokens share the fabric with training."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.engine.commands import Submit
from emulator.engine.engine import Engine
from emulator.power.clocks import FULL, SLOWDOWN
from emulator.racks.serving_messages import Tally
from emulator.report.outcome import Outcome
from emulator.runtime import place
from emulator.runtime.inline import InlineShards
from emulator.workload.jobs import SECOND
from tests.engine.small import LANE, hosts_of, training
from tests.engine.test_disaggregated import BUILDINGS, job
from tests.engine.test_services import CHAT, opened, run, tallies

#: Requests that are alone.
ALONE = {"per_second": 0.2, "lengths": {"name": "constant", "prompt_tokens": 4000, "output_tokens": 3}}
#: A mixture whose experts are spread over several hosts.
EXPERTS: dict[str, Any] = {
    "name": "chat",
    "model": "deepseek-v3",
    "tensor": 1,
    "attention_data": 16,
    "replicas": 1,
    "objectives": {"ttft": "5s", "tpot": "500ms"},
    "requests": ALONE,
}


def times_ms(outcome: Outcome) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the requests, in order: when each came, in seconds, and its TTFT without the front end and its TPOT."""
    assert outcome.requests_table is not None
    table = outcome.requests_table()
    came, first, end = (np.array(table.column(f"{name}_seconds")) for name in ("arrival", "first_token", "end"))
    return came, 1000 * (first - came), 1000 * (end - first) / 2


def first_and_later_ms(engine: Engine, slowdown: float, token_ps: int = 0) -> tuple[float, float]:
    """Of a lone request of 4,000 and three tokens: the step that computes its prompt, and the mean of those that answer."""
    assert engine.services is not None
    costs = engine.services.settings.services[0].served.steps.costs(slowdown)
    pairs = 4000 * 4001 // 2
    first = costs.base_ps + costs.running_ps + int(costs.table_ps[4000]) + costs.attention_ps * pairs + 4000 * token_ps
    later = costs.base_ps + costs.running_ps + int(costs.table_ps[1]) + costs.kv_ps * 4001.5 + token_ps
    return first / 1e9, later / 1e9


def test_a_lower_clock_makes_prompts_slower_and_answers_hardly(tmp_path: Path) -> None:
    """From the tenth minute on there is less power than training needs, which lowers the clock. Lone requests have exactly its steps."""
    service = CHAT | {"replicas": 4, "requests": ALONE}
    power = {"supply": {"points": [["0s", "400kW"], ["10m", "120kW"]]}}
    session = opened(tmp_path, service, until="30m", power=power)
    engine = session._engine
    work = training(1, gpus=96, job_id=7, submit_ns=60 * SECOND, duration_ns=3600 * SECOND)
    engine.post(Submit(engine.scheduler.add(work)), 60 * SECOND)
    outcome = session.run_to_end()
    session.close()
    clocks = set(engine.runs.clock)
    assert len(clocks) == 1
    clock = clocks.pop()
    assert SLOWDOWN[clock] > 1.05
    came, first, later = times_ms(outcome)
    for part, slowdown in ((came < 590, 1.0), (came > 1200, SLOWDOWN[clock])):
        expected = first_and_later_ms(engine, slowdown)
        assert np.median(first[part]) == pytest.approx(expected[0], abs=2e-6)
        assert np.median(later[part]) == pytest.approx(expected[1], abs=2e-6)
    slower = [first_and_later_ms(engine, SLOWDOWN[clock])[one] / first_and_later_ms(engine, 1.0)[one] for one in (0, 1)]
    assert slower[0] > 1.0 + 0.6 * (SLOWDOWN[clock] - 1.0)
    assert slower[1] < 1.01


def test_experts_on_two_hosts_send_their_tokens_over_the_fabric(tmp_path: Path) -> None:
    """The arithmetic. Every token goes to 8 of the 256 experts of each of 58 layers, half of which are on the other host: to that in the
    mean 1 - 2^-8 of the times, 7,168 numbers of one byte there and of two back. That are 58 * 7,168 * 3 * 0.996 = 1,242,360 bytes, from 16
    GPUs 77,648 each, which take 1.635 us at 47.5 GB/s. There and back are two ways of 5 us in each of these layers.
    """
    outcome, engine = run(tmp_path, EXPERTS)
    assert engine.services is not None
    service = engine.services.settings.services[0]
    assert service.domains == 2
    assert service.fabric_bytes == pytest.approx(58 * 7168 * 3 * (1 - 2**-8) / 16)
    assert service.token_ps == round(service.fabric_bytes / 47.5e9 * 1e12) == 1_634_684
    _, first, later = times_ms(outcome)
    expected = first_and_later_ms(engine, 1.0, service.token_ps)
    assert np.median(first) == pytest.approx(expected[0], abs=2e-6)
    assert np.median(later) == pytest.approx(expected[1], abs=2e-6)


def test_training_and_experts_slow_each_other(tmp_path: Path) -> None:
    """The arithmetic. Leaves of four hosts with trunks of 8 cables: 380 GB/s of payload up and as much down.

    A replica is on hosts 0 to 5, four in leaf 0 and two in leaf 1. Of the 16 lanes of its GPUs in leaf 1 the part 4/5 goes up, since of the
    five other hosts four are in leaf 0: 12.8 lanes. A job has the other ten hosts, and 8 of its rings go up from leaf 1. The replica sends
    for a part r of the time: 8 x + 12.8 r x = 380 GB/s is x = 47.5 * 8 / (8 + 12.8 r) a lane, for both.

    r is the part of the minute before that its tokens took at the rate then.
    """
    lengths = {"name": "constant", "prompt_tokens": 4000, "output_tokens": 50}
    requests = {"per_second": 8, "lengths": lengths, "bursts": {"cv": 0.5, "period": "60s"}}
    cluster = {**BUILDINGS["cluster"], "hosts": 16, "buildings": 1}
    experts = EXPERTS | {"attention_data": 48, "requests": requests, "objectives": {"ttft": "60s", "tpot": "5s"}}
    session = opened(tmp_path, experts, cluster=cluster, serving={"pool": "site"}, until="30m")
    engine = session._engine
    assert engine.services is not None
    network, table, service = engine.network, engine.table, engine.services.settings.services[0]
    engine.post(job(engine), 60 * SECOND)
    seen, before = list[float](), (0, 0)
    while engine.next_cycle_ns() <= 900 * SECOND:
        engine.run_cycle(engine.next_cycle_ns())
        (replica,) = engine.services.replicas.services[0].up
        slot = table.slot_of.get(7)
        if slot is None or not network.has(slot):
            continue
        assert hosts_of(engine, 7) == list(range(6, 16))
        ratio = network._streams[~table.job_id[replica]].ratio * 5 / 6
        lane = LANE * 8 / (8 + 12.8 * ratio)
        assert network.rate(slot) == pytest.approx(lane, rel=1e-12)
        assert table.lives.speed[slot] == pytest.approx(8 / (8 + 12.8 * ratio), rel=1e-12)
        token_ps = engine.services.replicas.of[replica].token_ps
        assert token_ps == pytest.approx(service.fabric_bytes / lane * 1e12, abs=1)
        if engine.now_ns % (60 * SECOND) == 0:
            counted = tallies(engine)
            tokens = counted[Tally.INPUT_TOKENS] + counted[Tally.OUTPUT_TOKENS]
            if before[1]:
                assert (tokens - before[0]) * before[1] / 60e12 == pytest.approx(ratio, rel=0.1)
            before = tokens, token_ps
            seen.append(ratio)
    session.close()
    assert len(set(seen)) > 3
    assert max(seen) > 0.02


def played(folder: Path, monkeypatch: pytest.MonkeyPatch, shards: int) -> str:
    """A cap that moves the clock, training on the trunks, and a host that breaks."""
    monkeypatch.setattr(place, "InlineShards", partial(InlineShards, shards=shards))
    script = [{"at": "5m5s", "kind": "host", "name": "r00000-h00", "duration": "5m"}]
    sections = BUILDINGS | {
        "workload": {"kind": "generated", "generated": {"load": 0.8}},
        "faults": {"enabled": False, "script": script},
        "power": {"supply": {"points": [["0s", "400kW"], ["3m", "150kW"], ["12m", "165kW"]]}, "over_cap": "clock"},
    }
    lengths = {"name": "lognormal", "prompt_tokens": 3000, "output_tokens": 60}
    experts = EXPERTS | {"replicas": 3, "priority": 100, "requests": {"per_second": 6, "lengths": lengths}}
    drafted = CHAT | {"name": "drafted", "speculative": {"tokens": 3}, "pipeline": 2, "tensor": 2, "priority": 50}
    outcome, engine = run(folder, experts, drafted, **sections)
    assert engine.power.lowest_clock > FULL
    assert outcome.requests_table is not None
    table = outcome.requests_table()
    return outcome.digest + str(hash(tuple(map(tuple, table.to_pydict().values()))))


def test_the_same_over_any_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert played(tmp_path, monkeypatch, 1) == played(tmp_path, monkeypatch, 2)
