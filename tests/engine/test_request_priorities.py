"""Classes of requests where more is asked than can be answered: who has a higher priority does not wait."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from emulator.racks.serving_messages import Tally
from tests.engine.test_services import CHAT, ENDS, run, tallies, under_way

#: Two replicas of 16 seats, in which an answer takes some 2.5 s: 12 requests a second are what they can do.
FULL: dict[str, Any] = CHAT | {
    "replicas": 2,
    "max_running": 16,
    "max_waiting": 100_000,
    "requests": {
        "per_second": 18,
        "lengths": {"name": "constant", "prompt_tokens": 200, "output_tokens": 200},
        "priorities": [{"ratio": 0.3, "priority": 5}, {"ratio": 0.1, "priority": -1}],
    },
}


def test_the_high_class_is_on_time_while_the_low_ones_wait(tmp_path: Path) -> None:
    outcome, engine = run(tmp_path, FULL)
    counted = tallies(engine)
    assert counted[Tally.ARRIVED] == sum(counted[one] for one in ENDS) + under_way(engine)
    assert under_way(engine) > 1000
    assert outcome.inference is not None
    high, middle, low = outcome.inference["services"]["chat"]["priorities"]
    assert [one["priority"] for one in (high, middle, low)] == [5, 0, -1]
    assert high["kept_requests"] == pytest.approx(0.3 * counted[Tally.ARRIVED], rel=0.05)
    assert high["slo_attainment_ratio"] > 0.99
    assert high["ttft_seconds"]["p99"] < 1
    assert middle["slo_attainment_ratio"] < 0.1
    assert middle["ttft_seconds"]["p50"] > 60
    assert low["kept_requests"] < 0.01 * counted[Tally.ARRIVED], "those of priority 0 alone are more than can be answered"
    table = outcome.requests_table() if outcome.requests_table else None
    assert table is not None
    found = Counter(table.column("priority").to_pylist())
    assert found == {one["priority"]: one["kept_requests"] for one in (high, middle, low) if one["kept_requests"]}


def test_classes_together_are_what_one_would_be(tmp_path: Path) -> None:
    """Who goes first changes nothing in how much is done where all requests are alike; and of one class there is nothing to say."""
    classes, none = (
        run(tmp_path, FULL | {"requests": one})[0].inference for one in (FULL["requests"], FULL["requests"] | {"priorities": []})
    )
    assert classes is not None
    assert none is not None
    assert classes["requests"] == none["requests"]
    assert classes["completed"] == pytest.approx(none["completed"], rel=1e-3)
    assert none["services"]["chat"]["priorities"] == []
