"""Clients that others wrote, against services that are emulated: what they measure is what the emulation says."""

import json
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from emulator.openai import OpenAiServer
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario.load import load
from tests.prometheus import wait_until

openai = pytest.importorskip("openai", reason="the client of OpenAI is not installed (pip install openai)")

SCENARIO = """
name: asked
cluster: {host: hgx-h100, hosts: 8, hosts_per_rack: 4, switch: qm9700}
clock: {cycle: 10ms, until: 1h, speed: 1}
workload: {kind: none}
faults: {enabled: false}
runtime: {actors: inline}
services:
  - {name: chat, model: llama3.1-70b, tensor: 4, replicas: 4, requests: {per_second: 12}}
"""
REQUESTS, TOKENS = 15, 24
#: Of the clients' times from the emulated ones, in the median.
MOST_SECONDS = 0.015


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[tuple[Session, str]]:
    (tmp_path / "asked.yaml").write_text(SCENARIO)
    with closing(open_session(load(tmp_path / "asked.yaml"))) as session:
        serving = session.askable()
        assert serving is not None
        session.start()
        with closing(OpenAiServer(serving)) as server:
            yield session, server.url
        session.stop()


def emulated(session: Session, count: int) -> list[tuple[float, float]]:
    """TTFT, and the seconds of each later token, of the last requests that were asked, as ``requests.parquet`` has them."""
    session.stop()
    table = session.outcome().requests_table
    assert table is not None
    mine = [row for row in table().to_pylist() if row["output_tokens"] == TOKENS and row["prompt_tokens"] == 51]
    assert len(mine) == count
    ahead = 0.0121  # the front end's, which is not the engine's (workload.serving.stacks)
    return [
        (row["first_token_seconds"] - row["arrival_seconds"] + ahead, (row["end_seconds"] - row["first_token_seconds"]) / (TOKENS - 1))
        for row in mine
    ]


def test_a_stream_takes_the_emulated_times(asked: tuple[Session, str]) -> None:
    session, url = asked
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    measured = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        stream = client.completions.create(model="chat", prompt="a" * 204, max_tokens=TOKENS, stream=True)
        times = [time.perf_counter() for part in stream if part.choices and part.choices[0].text]
        assert len(times) == TOKENS
        measured.append((times[0] - begun, (times[-1] - times[0]) / (TOKENS - 1)))
    client.close()
    for of, (ours, theirs) in enumerate(zip(zip(*emulated(session, REQUESTS), strict=True), zip(*measured, strict=True), strict=True)):
        differences = [abs(one - other) for one, other in zip(sorted(ours), sorted(theirs), strict=True)]
        assert statistics.median(differences) <= MOST_SECONDS, ("TTFT", "TPOT")[of]


def test_an_answer_in_one_takes_the_emulated_time(asked: tuple[Session, str]) -> None:
    session, url = asked
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    took = []
    for _ in range(REQUESTS):
        begun = time.perf_counter()
        answer = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "a" * 204}], max_tokens=TOKENS)
        took.append(time.perf_counter() - begun)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == TOKENS
    client.close()
    ours = [first + later * (TOKENS - 1) for first, later in emulated(session, REQUESTS)]
    assert statistics.median(abs(one - other) for one, other in zip(sorted(ours), sorted(took), strict=True)) <= MOST_SECONDS


def test_a_stream_that_is_cut_off_frees_its_place(asked: tuple[Session, str]) -> None:
    """Its request ends as cancelled long before its 4,000 tokens would have been there."""
    session, url = asked
    body = json.dumps({"model": "chat", "prompt": "a" * 204, "max_tokens": 4000, "stream": True}).encode()
    request = urllib.request.Request(f"{url}/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.readline().startswith(b"data: ")
    wait_until(lambda: session.service("chat").requests["cancelled"] == 1, 30, "the request to be cancelled")
    session.stop()
    table = session.outcome().requests_table
    assert table is not None
    (row,) = [row for row in table().to_pylist() if row["outcome"] == "cancelled"]
    assert row["end_seconds"] - row["arrival_seconds"] < 20
