"""What the head serves of a service and what the shards serve of its replicas, of one session: both tell of the same requests."""

from pathlib import Path

import pytest

from emulator.engine.shards import Readings
from emulator.engine.snapshot import Snapshot
from emulator.racks.serving_pool import GONE
from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.telemetry.exporter import ShardText
from emulator.telemetry.exposition import head_text
from tests.telemetry.test_exposition import key, parse

SCENARIO = """
name: serves
cluster: {host: hgx-h100, hosts: 16, hosts_per_rack: 4, switch: qm9700, array_hosts: 8}
clock: {cycle: 10s, until: 10m, speed: max}
workload: {kind: none}
faults: {enabled: false}
serving: {pool: leaf}
services:
- name: chat
  model: llama3.1-70b
  tensor: 4
  replicas: 6
  objectives: {ttft: 1s, tpot: 50ms}
  requests: {per_second: 20}
  scaling: {min: 2, max: 12}
runtime: {actors: inline}
"""


def test_head_and_shards_tell_of_the_same_requests(tmp_path: Path) -> None:
    path = tmp_path / "serves.yaml"
    path.write_text(SCENARIO)
    session = open_session(load(str(path)))
    published: list[tuple[Snapshot, Readings]] = []
    session.attach_metrics("127.0.0.1:1", lambda snapshot, readings: published.append((snapshot, readings)))
    session.scale_service("chat", 3)  # so that some replicas leave
    session.start()
    assert session.wait(120)
    session.stop()
    snapshot, readings = published[-1]
    assert GONE in [int(one) for shard in readings.serving for one in shard.replica]
    head = parse(head_text(snapshot))
    pods = ShardText(session.topology, session.local_shards, "pod", session.served_pools)
    racks = ShardText(session.topology, session.local_shards, "rack", session.served_pools)
    session.close()
    by_pool, by_replica = (parse(text(readings.racks, readings.planes, readings.serving)) for text in (pods, racks))

    def total(name: str, **labels: str) -> float:
        wanted = {("model_name", "chat"), *labels.items()}
        return sum(value for (metric, of), value in by_pool.items() if metric == name and wanted <= of)

    finished = head[key("gigawatt_service_requests_total", service="chat", outcome="finished")]
    assert finished > 5000
    assert total("vllm:request_success_total", finished_reason="stop") == finished
    for name in ("e2e_request_latency_seconds", "time_to_first_token_seconds", "request_queue_time_seconds", "request_prompt_tokens"):
        assert total(f"vllm:{name}_count") == finished, name
    assert total("vllm:request_prompt_tokens_sum") == head[key("gigawatt_service_tokens_total", service="chat", kind="input")]
    assert total("vllm:request_generation_tokens_sum") == head[key("gigawatt_service_tokens_total", service="chat", kind="output")]
    running = head[key("gigawatt_service_active_requests", service="chat", state="running")]
    assert total("vllm:num_requests_running") == running
    generated = total("vllm:generation_tokens_total")
    assert generated == pytest.approx(head[key("gigawatt_service_tokens_total", service="chat", kind="output")], rel=0.05)
    engines = [labels for name, labels in by_replica if name == "vllm:num_requests_running"]
    assert len(engines) == head[key("inference_pool_ready_pods", name="chat")] == 3
