"""Traces of requests that others recorded, run whole through a service."""

import csv
import gzip
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from tests.workload.traces import TRACES


def trace(name: str) -> Path:
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"no {path}: GIGAWATT_TRACES names the folder of the traces")
    return path


def served(folder: Path, format: str, path: Path, **service: Any) -> dict[str, Any]:
    """The section ``inference`` of a run that is longer than the trace."""
    scenario = {
        "name": "traced",
        "cluster": {"host": "hgx-h100", "hosts": 32, "hosts_per_rack": 4, "switch": "qm9700"},
        "clock": {"cycle": "10s", "until": "90m"},
        "workload": {"kind": "none"},
        "faults": {"enabled": False},
        "runtime": {"actors": "inline"},
        "services": [
            {
                "name": "chat",
                "model": "llama3.1-70b",
                "tensor": 8,
                "requests": {"kind": "trace", "format": format, "path": str(path)},
            }
            | service
        ],
    }
    made = folder / "traced.yaml"
    made.write_text(yaml.safe_dump(scenario))
    with closing(open_session(load(made))) as session:
        found: dict[str, Any] = summary(session.run_to_end())["inference"]
    return found


def test_azure(tmp_path: Path) -> None:
    """Every request of the hour is answered, with the tokens that the trace has."""
    path = trace("azure/AzureLLMInferenceTrace_conv.csv.gz")
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    found = served(tmp_path, "azure", path, replicas=3)
    assert (found["requests"], found["completed"], found["rejected"]) == (len(rows), 19_366, 0)
    assert found["input_tokens"] == sum(int(row["ContextTokens"]) for row in rows)
    assert found["output_tokens"] == sum(int(row["GeneratedTokens"]) for row in rows)
    assert 0.04 < found["ttft_seconds"]["p50"] < 0.3


@pytest.mark.parametrize("router", ["least-outstanding", "prefix-aware"])
def test_mooncake_with_a_cache_without_limit(tmp_path: Path, router: str) -> None:
    """37.4 % of the prompts' tokens are there already where their replica is found (Mooncake, FAST'25); less where nobody looks for it."""
    path = trace("mooncake/conversation_trace.jsonl.gz")
    cache = {"enabled": True, "unlimited": True}
    found = served(tmp_path, "mooncake", path, replicas=16, prefix_cache=cache, router=router, max_waiting=10_000)
    assert found["completed"] == 12_031
    if router == "prefix-aware":
        assert found["cache_hit_ratio"] == pytest.approx(0.374, abs=0.005)
    else:
        assert 0.05 < found["cache_hit_ratio"] < 0.3


def test_mooncake_on_too_few_replicas(tmp_path: Path) -> None:
    """Requests are turned away and made again, and all are accounted for."""
    path = trace("mooncake/conversation_trace.jsonl.gz")
    found = served(tmp_path, "mooncake", path, replicas=2, max_waiting=64, prefix_cache={"enabled": True})
    assert found["rejected"] > 0
    assert found["retried"] > 0
    assert found["completed"] + found["rejected"] == found["requests"] == 12_031
