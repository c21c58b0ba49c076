"""Closed loops in whole emulations: as many users as were asked for, in whatever pools, and the answers of ``gigawatt validate``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.engine.engine import Engine
from emulator.experiments.validation.serving import SHORTEST_RATIO, published_serving, served
from emulator.racks.serving_messages import Tally
from emulator.workload.jobs import SECOND
from tests.engine.test_services import CHAT, ENDS, opened, run, tallies, under_way

LENGTHS = {"name": "constant", "prompt_tokens": 300, "output_tokens": 100}
LOOP: dict[str, Any] = CHAT | {"requests": {"kind": "closed", "concurrency": 101, "lengths": LENGTHS}}


def looks(engine: Engine, until_s: int) -> Iterator[int]:
    """Run up to a time, and stop at each cycle after the first."""
    while engine.next_cycle_ns() <= until_s * SECOND:
        at_ns = engine.next_cycle_ns()
        engine.run_cycle(at_ns)
        if at_ns:
            yield at_ns // SECOND


def test_all_users_are_there_at_every_look(tmp_path: Path) -> None:
    """Requests with the service are the users, to the one, over two pools of a leaf each; every request is answered or there."""
    session = opened(tmp_path, LOOP | {"replicas": 32}, serving={"pool": "leaf", "interval": "10s"})
    engine = session._engine
    assert engine.services is not None
    for second in looks(engine, 600):
        assert engine.services._shares == {0: (0.0, 0.5, 0), 1: (0.5, 1.0, 0)}, "nobody waits, so shares stand"
        assert under_way(engine) == 101, second
    outcome = session.run_to_end()
    session.close()
    counted = tallies(engine)
    assert counted[Tally.ARRIVED] == counted[Tally.FINISHED] + under_way(engine)
    assert counted[Tally.FINISHED] > 10 * 101
    assert outcome.inference is not None
    assert outcome.inference["run_ratio"] == 1.0


def test_the_interactive_response_time_law(tmp_path: Path) -> None:
    """N = X (R + Z), Denning and Buzen 1978: within four standard errors of the times to think, and the ends of the run."""
    outcome, engine = run(tmp_path, LOOP | {"requests": LOOP["requests"] | {"think": "20s"}}, until="1h")
    assert outcome.requests_table is not None
    table = outcome.requests_table()
    response = float(np.mean(np.subtract(table.column("end_seconds"), table.column("arrival_seconds"))))
    rate = tallies(engine)[Tally.FINISHED] / 3600
    assert rate * (response + 20.0) == pytest.approx(101, rel=4 / np.sqrt(table.num_rows) + 0.01)


def test_users_of_replicas_that_are_lost_ask_others(tmp_path: Path) -> None:
    """The only pool loses half of its replicas, and then all; nobody is forgotten, and the first of them to come back serve everybody."""
    script = [
        {"at": "5m5s", "kind": "host", "name": "r00000-h00", "duration": "10m"},
        *({"at": "20m5s", "kind": "rack", "name": f"r0000{rack}", "duration": "10m"} for rack in (0, 1)),
    ]
    faults = {"enabled": False, "script": script}
    session = opened(tmp_path, LOOP | {"retries": {"most": 0}}, hosts=8, until="1h", faults=faults)
    engine = session._engine
    seen = {second: under_way(engine) for second in looks(engine, 3600)}
    session.run_to_end()
    session.close()
    counted = tallies(engine)
    assert counted[Tally.ARRIVED] == sum(counted[one] for one in ENDS) + under_way(engine)
    assert counted[Tally.LOST] > 0
    assert counted[Tally.REJECTED] > 0
    assert seen[300] == seen[600] == seen[3540] == 101
    assert seen[1500] == 0


def test_a_pool_that_stands_for_others_has_their_users(tmp_path: Path) -> None:
    """One of four pools is run with a quarter of the users, and counts four times."""
    service = LOOP | {"replicas": 64, "requests": LOOP["requests"] | {"concurrency": 400, "think": "3s"}}
    whole, some = (
        run(tmp_path, service | {"run_one_in": one_in}, hosts=32, until="30m", scheduler={"placement": "spread"}) for one_in in (1, 4)
    )
    one, other = whole[0].inference, some[0].inference
    assert one is not None
    assert other is not None
    assert other["run_ratio"] == pytest.approx(0.25, rel=0.02)
    for name in ("requests", "completed", "output_tokens", "energy_joules"):
        assert other[name] == pytest.approx(one[name], rel=0.03), name
    assert other["e2e_seconds"]["p50"] == pytest.approx(one["e2e_seconds"]["p50"], rel=0.03)


def test_users_have_priorities(tmp_path: Path) -> None:
    """Four times as many users as seats: those of the high class hardly wait."""
    change = {"priorities": [{"ratio": 0.2, "priority": 1}]}
    outcome, _ = run(tmp_path, LOOP | {"replicas": 1, "max_running": 25, "requests": LOOP["requests"] | change})
    assert outcome.inference is not None
    high, low = outcome.inference["services"]["chat"]["priorities"]
    assert high["ttft_seconds"]["p90"] < 0.2 * low["ttft_seconds"]["p50"]


@pytest.mark.parametrize("concurrency", [4, 16, 32])
def test_tpot_is_that_of_validate(tmp_path: Path, concurrency: int) -> None:
    """The row of one service, as its source ran it, beside the same loop in a scenario. There the users go on, so that of as many requests
    as the row has, the last ones have as much company as all others; in the row's last tenth they have ever less.
    """
    row = next(
        row
        for row in published_serving()
        if (row.gpu, row.engine, row.concurrency) == ("H100-SXM5-80GB", "vllm", concurrency) and row.plan.attention_data == 1
    )
    mean = (1.0 + SHORTEST_RATIO) / 2.0
    lengths = {"name": "uniform", "prompt_tokens": mean * row.input_tokens, "output_tokens": mean * row.output_tokens}
    service = {
        "name": "row", "model": row.model, "precision": row.precision, "engine": row.engine, "tensor": row.plan.tensor, "max_running": 1024,
        "requests": {"kind": "closed", "concurrency": concurrency, "lengths": lengths},
    }  # fmt: skip
    outcome, _ = run(tmp_path, service, hosts=8, until="30m")
    assert outcome.requests_table is not None
    table = outcome.requests_table().to_pydict()
    first, end, output = (np.array(table[name]) for name in ("first_token_seconds", "end_seconds", "output_tokens"))
    tpot = ((end - first) / (output - 1))[np.array(table["request"]) < 10 * concurrency]
    assert len(tpot) == 10 * concurrency
    assert tpot.mean() == pytest.approx(served(row).tpot_seconds, rel=0.01)
