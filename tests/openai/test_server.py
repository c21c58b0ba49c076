"""The endpoint over real sockets, loopback only."""

import http.client
import json
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from emulator.openai import OpenAiServer, Progress
from emulator.openai.answers import WORDS
from emulator.openai.http import MOST_BODY_BYTES, MOST_HEAD_BYTES
from tests.openai.conftest import FakeServing, ended

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 3}


@pytest.fixture
def connection(server: OpenAiServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    yield connection
    connection.close()


def ask(connection: http.client.HTTPConnection, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method or ("GET" if data is None else "POST"), path, data)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def begin(connection: http.client.HTTPConnection, path: str, body: Any) -> None:
    connection.request("POST", path, json.dumps(body).encode())


def events(text: bytes) -> list[Any]:
    lines = [part.removeprefix(b"data: ") for part in text.split(b"\n\n") if part]
    return [one if one == b"[DONE]" else json.loads(one) for one in lines]


def test_models(connection: http.client.HTTPConnection) -> None:
    status, body = ask(connection, "/v1/models")
    assert (status, body["object"], [one["id"] for one in body["data"]]) == (200, "list", ["chat", "code"])
    assert ask(connection, "/v1/models/code")[1]["id"] == "code"
    assert ask(connection, "/v1/models/none")[0] == 404
    assert ask(connection, "/health")[0] == 200


def test_a_chat_completion(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    status, body = ask(connection, CHAT, HELLO)
    (choice,) = body["choices"]
    assert (status, body["object"], body["model"], choice["finish_reason"]) == (200, "chat.completion", "chat", "length")
    assert choice["message"]["content"].split() == list(WORDS[:3])
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}  # 11 characters
    assert serving.asked == [("chat", 3, 3)]
    serving.until(lambda: serving.cancelled == [0])  # nobody follows it any more


def test_a_completion(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    status, body = ask(connection, COMPLETIONS, {"model": "code", "prompt": [5, 6, 7, 8], "max_tokens": 2, "ignore_eos": True})
    assert (status, body["object"], body["choices"][0]["text"]) == (200, "text_completion", " ".join(WORDS[:2]))
    assert serving.asked == [("code", 4, 2)]


def test_a_stream_has_a_chunk_for_each_token(connection: http.client.HTTPConnection) -> None:
    begin(connection, CHAT, HELLO | {"stream": True, "stream_options": {"include_usage": True}})
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    told = events(response.read())
    deltas = [one["choices"][0]["delta"] for one in told[:-2]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == " ".join(WORDS[:3])
    assert len(deltas) == 1 + 3 + 1
    assert told[-3]["choices"][0]["finish_reason"] == "length"
    assert (told[-2]["choices"], told[-2]["usage"]["completion_tokens"], told[-1]) == ([], 3, b"[DONE]")
    assert {one["id"] for one in told[:-1]} == {"chatcmpl-0"}
    assert ask(connection, CHAT, HELLO)[0] == 200  # on the same connection


def test_tokens_come_as_they_are_told(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    serving.at_once = None
    begin(connection, COMPLETIONS, {"model": "chat", "prompt": "x", "max_tokens": 4, "stream": True})
    serving.until(lambda: serving.asked)
    serving.tell(0, Progress(2, 0.5))
    response = connection.getresponse()
    first = response.readline() + response.readline() + response.readline() + response.readline()
    assert [one["choices"][0]["text"] for one in events(first)] == [WORDS[0], f" {WORDS[1]}"]
    serving.tell(0, Progress(2, 0.5))  # nothing new
    serving.tell(0, Progress(4, 0.5, 0.9, "finished"))
    rest = events(response.read())
    assert [one["choices"][0]["text"] for one in rest[:-1]] == [f" {WORDS[2]}", f" {WORDS[3]}", ""]
    assert "usage" not in rest[-2]


def _asked(serving: FakeServing, number: int) -> bool:
    return len(serving.asked) > number


def test_who_goes_away_cancels(serving: FakeServing, server: OpenAiServer) -> None:
    serving.at_once = None
    for stream, told in ((True, Progress(1, 0.1)), (True, None), (False, None)):
        number = len(serving.asked)
        with socket.create_connection((server.host, server.port)) as raw:
            body = json.dumps(HELLO | {"stream": stream}).encode()
            raw.sendall(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), len(body), body))
            serving.until(partial(_asked, serving, number))
            assert number not in serving.cancelled
            if told is not None:
                serving.tell(number, told)
                assert raw.recv(10)
        serving.until(partial(serving.cancelled.__contains__, number))


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("rejected", 503, "overloaded"),
        ("timed_out", 504, "timeout"),
        ("lost", 503, "replica_lost"),
        ("too_long", 400, "context_length_exceeded"),
        ("cancelled", 503, "cancelled"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_how_requests_fail(
    connection: http.client.HTTPConnection, serving: FakeServing, how: str, status: int, code: str, stream: bool
) -> None:
    serving.at_once = lambda _: Progress(0, None, 2.0, how)
    found, body = ask(connection, CHAT, HELLO | {"stream": stream})
    assert (found, body["error"]["code"]) == (status, code)
    assert ask(connection, "/v1/models")[0] == 200


def test_a_stream_that_fails_says_so_in_it(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    serving.at_once = None
    begin(connection, CHAT, HELLO | {"stream": True})
    serving.until(lambda: serving.asked)
    serving.tell(0, Progress(1, 0.5))
    response = connection.getresponse()
    assert response.readline()
    serving.tell(0, Progress(1, 0.5, 0.7, "lost"))
    assert events(response.read().lstrip(b"\n"))[-1]["error"]["code"] == "replica_lost"


@pytest.mark.parametrize(
    ("path", "change", "status", "param"),
    [
        (CHAT, {"model": None}, 400, "model"),
        (CHAT, {"model": "gpt"}, 404, "model"),
        (CHAT, {"messages": []}, 400, "messages"),
        (CHAT, {"messages": "hello"}, 400, "messages"),
        (CHAT, {"messages": [{"content": "x"}]}, 400, "messages[0]"),
        (CHAT, {"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": "x" * 4000}]}, 400, "messages"),
        (CHAT, {"max_tokens": 0}, 400, "max_tokens"),
        (CHAT, {"max_tokens": "many"}, 400, "max_tokens"),
        (CHAT, {"max_completion_tokens": True}, 400, "max_completion_tokens"),
        (CHAT, {"n": 2}, 400, "n"),
        (CHAT, {"stream": "yes"}, 400, "stream"),
        (CHAT, {"stream_options": {"include_usage": True}}, 400, "stream_options"),
        (CHAT, {"stream": True, "stream_options": 5}, 400, "stream_options"),
        (CHAT, {"prompt_token_ids": []}, 400, "prompt_token_ids"),
        (COMPLETIONS, {}, 400, "prompt"),
        (COMPLETIONS, {"prompt": ["a", "b"]}, 400, "prompt"),
        (COMPLETIONS, {"prompt": [1, "b"]}, 400, "prompt"),
        (COMPLETIONS, {"prompt": {}}, 400, "prompt"),
        *((CHAT, {"priority": value}, 400, "priority") for value in ("high", 1.5, True, 2**31, -(2**31), [1])),
    ],
)
def test_what_is_refused(
    connection: http.client.HTTPConnection, serving: FakeServing, path: str, change: dict[str, Any], status: int, param: str
) -> None:
    found, body = ask(connection, path, HELLO | change)
    assert (found, body["error"]["param"], body["error"]["type"]) == (status, param, "invalid_request_error")
    assert body["error"]["message"]
    assert serving.asked == []
    assert ask(connection, CHAT, HELLO)[0] == 200  # the connection is as good as before


def test_an_answer_is_no_longer_than_the_context_has_room_for(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    body: dict[str, Any] = {"model": "chat", "prompt": [0] * 900}
    assert ask(connection, COMPLETIONS, body)[1]["usage"]["completion_tokens"] == 100
    assert ask(connection, COMPLETIONS, body | {"max_tokens": 5000})[1]["usage"]["completion_tokens"] == 100
    assert ask(connection, COMPLETIONS, {"model": "chat", "prompt": "x"})[1]["usage"]["completion_tokens"] == 256
    both = {"max_completion_tokens": 7, "max_tokens": 9, "prompt_token_ids": [1, 2]}
    assert ask(connection, CHAT, HELLO | both)[1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 7, "total_tokens": 9}


def test_of_vllms_priorities_the_lower_goes_first(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    for value in (0, 3, -7, None):
        assert ask(connection, CHAT, HELLO | {"priority": value})[0] == 200
    assert serving.priorities == [0, -3, 7, 0]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000])
def test_bodies_that_are_none(connection: http.client.HTTPConnection, body: bytes) -> None:
    status, told = ask(connection, CHAT, body, "POST")
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", CHAT, 405), ("POST", "/v1/models", 405), ("GET", "/v1/none", 404), ("GET", "/", 404)]
)
def test_wrong_urls(connection: http.client.HTTPConnection, method: str, path: str, status: int) -> None:
    found, body = ask(connection, path, method=method)
    assert (found, body["error"]["type"]) == (status, "invalid_request_error")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"hello\r\n\r\n", b"400"),
        (b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"411"),
        (b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY_BYTES + 1), b"413"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MOST_HEAD_BYTES + b"\r\n\r\n", b"431"),
    ],
)
def test_what_is_no_request_is_answered_and_hung_up_on(server: OpenAiServer, text: bytes, status: bytes) -> None:
    with socket.create_connection((server.host, server.port)) as raw:
        raw.settimeout(30)
        raw.sendall(text)
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.split()[1] == status


def test_an_emulation_that_has_ended(connection: http.client.HTTPConnection, serving: FakeServing) -> None:
    serving.over = ended()
    status, body = ask(connection, CHAT, HELLO)
    assert (status, body["error"]["type"], body["error"]["message"]) == (503, "server_error", "the emulation has ended")


def test_many_at_once(serving: FakeServing, server: OpenAiServer) -> None:
    serving.at_once = None
    connections = [http.client.HTTPConnection(server.host, server.port, timeout=30) for _ in range(100)]
    for one in connections:
        begin(one, CHAT, HELLO | {"stream": True})
    serving.until(lambda: len(serving.asked) == 100)
    for number in range(100):
        serving.tell(number, Progress(3, 0.1, 0.2, "finished"))
    for one in connections:
        assert events(one.getresponse().read())[-1] == b"[DONE]"
        one.close()


def test_a_port_that_is_taken(server: OpenAiServer, serving: FakeServing) -> None:
    with pytest.raises(OSError, match="in use"):
        OpenAiServer(serving, port=server.port)


def test_closing_ends_streams(serving: FakeServing) -> None:
    serving.at_once = None
    with OpenAiServer(serving) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
        begin(connection, CHAT, HELLO | {"stream": True})
        serving.until(lambda: serving.asked)
    assert serving.cancelled == [0]
    connection.close()
