"""``gigawatt service`` against a running server."""

import json

import yaml

from tests.cli.conftest import Run
from tests.service.conftest import FakeControl


def test_list(gigawatt: Run, served: FakeControl) -> None:
    code, out, err = gigawatt("service list")
    assert (code, err) == (0, "")
    heading, _, *lines = out.splitlines()
    assert heading.split() == [
        *("SERVICE", "MODEL", "UP", "WANTED", "RUNNING", "WAITING", "REQUESTS/S", "TOKENS/S", "TTFT", "P90", "TPOT", "P90", "ATTAINED"),
        "J/TOKEN",
    ]
    assert [line.split() for line in lines] == [
        ["batch", "mixtral-8x7b", "0", "0", "0", "0", "0", "0", "-", "-", "-", "-"],
        ["chat", "llama3-70b", "9", "12", "310", "12", "16.5", "3,300", "0.25", "0.031", "0.925", "125"],
    ]


def test_list_and_get_for_programs(gigawatt: Run, served: FakeControl) -> None:
    rows = json.loads(gigawatt("service list -o json")[1])
    assert [row["name"] for row in rows] == ["batch", "chat"]
    assert rows[1]["requests"]["output_tokens"] == 4000
    assert rows[1]["recent_ttft_seconds"] == {"p50": 0.125, "p90": 0.25, "p99": 1.25}
    assert (rows[0]["slo_attainment_ratio"], rows[1]["joules_per_token"], rows[1]["joules_per_request"]) == (None, 125.0, 25_000.0)
    assert yaml.safe_load(gigawatt("service get chat -o yaml")[1]) == rows[1]


def test_get(gigawatt: Run, served: FakeControl) -> None:
    code, out, err = gigawatt("service get chat")
    assert (code, err) == (0, "")
    told = {words[0]: words[1:] for line in out.splitlines() if (words := line.split())}
    assert (told["up_replicas"], told["arrived"], told["kv_usage_ratio"]) == (["9"], ["40"], ["0.625"])
    code, _, err = gigawatt("service get nobody")
    assert (code, err) == (3, "gigawatt: error: there is no service 'nobody'; allowed: chat, batch\n")


def test_scale(gigawatt: Run, served: FakeControl) -> None:
    assert gigawatt("service scale chat 40") == (0, "chat is to have 40 replicas from 10 s on\n", "")
    assert served.service("chat").wanted_replicas == 40
    assert gigawatt("service scale chat 65") == (2, "", "gigawatt: error: 65 replicas of chat; allowed: 2 to 64\n")
    assert gigawatt("service scale nobody 3")[0] == 3
    for wrong in ("many", "-1", "1.5"):
        code, out, err = gigawatt("service scale chat --", wrong)
        assert (code, out, err.count("\n")) == (2, "", 1), err
