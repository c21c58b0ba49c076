"""``gigawatt up --openai``."""

import json
import socket
import urllib.request

import pytest

from emulator.cli import live, sessions
from tests.cli.conftest import Run
from tests.cli.fake_session import FakeSession
from tests.openai.conftest import FakeServing


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    session = FakeSession(ends=False)
    monkeypatch.setattr(sessions, "open_session", lambda request, resuming=None: session)
    return session


def test_services_are_asked_while_it_runs(gigawatt: Run, session: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    session.serving = FakeServing()
    told: list[object] = []

    def look(addresses: live.Served, *, to_stderr: bool) -> None:
        with urllib.request.urlopen(f"{addresses.openai}/models") as answer:
            told.append(json.load(answer)["data"][0]["id"])
        announce(addresses, to_stderr=to_stderr)
        session.ended.set()

    announce = live.announce
    monkeypatch.setattr(live, "announce", look)
    code, out, err = gigawatt("up laptop --port 0 --metrics-port 0 --openai 0 --quiet")
    assert (code, err, told) == (0, "", ["chat"])
    assert "OpenAI     http://127.0.0.1:" in out


def test_without_services_there_is_nothing_to_ask(gigawatt: Run, session: FakeSession) -> None:
    code, _, err = gigawatt("up laptop --port 0 --metrics-port 0 --openai 0 --quiet")
    assert (code, err) == (
        2, "gigawatt: error: --openai: the scenario has no services to ask; allowed: a scenario with a section services\n",
    )  # fmt: skip
    assert session.calls == ["close"]


def test_a_port_that_is_taken(gigawatt: Run, session: FakeSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = gigawatt("up laptop --port 0 --metrics-port 0 --openai", port)
    assert (code, session.calls) == (2, [])
    assert f"--openai: cannot listen on 127.0.0.1:{port}" in err
