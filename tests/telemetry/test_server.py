"""The metrics server over real sockets, loopback only."""

import contextlib
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from operator import mul

import pytest

from emulator.telemetry import server as server_module
from emulator.telemetry.exposition import head_text
from emulator.telemetry.server import MAX_CONNECTIONS, MetricsServer, Page, PortTaken, TargetGroup, accepts_gzip, metrics_groups
from tests.telemetry.plausible import snapshot

TEXT = head_text(snapshot(3))


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    page = Page(lambda: TEXT)
    with MetricsServer(page, targets=lambda: metrics_groups(("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"), "laptop")) as running:
        yield running


def ask(server: MetricsServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_metrics_plain_and_gzip(server: MetricsServer) -> None:
    response, body = ask(server, "/metrics")
    assert (response.status, response.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert body == TEXT
    assert response.headers["Content-Encoding"] is None
    response, body = ask(server, "/metrics?collect=all", Accept_Encoding="gzip")
    assert response.headers["Content-Encoding"] == "gzip"
    assert int(response.headers["Content-Length"]) == len(body) < len(TEXT)
    assert gzip.decompress(body) == TEXT


def test_head_has_the_length_and_no_body(server: MetricsServer) -> None:
    response, body = ask(server, "/metrics", "HEAD")
    assert (response.status, int(response.headers["Content-Length"]), body) == (200, len(TEXT), b"")


def test_discovery_is_what_http_sd_reads(server: MetricsServer) -> None:
    response, body = ask(server, "/sd")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body) == [
        {"targets": ["127.0.0.1:1"], "labels": {"role": "head", "cluster": "laptop"}},
        {"targets": ["127.0.0.1:2", "127.0.0.1:3"], "labels": {"role": "shard", "cluster": "laptop"}},
    ]


def test_a_head_on_every_interface_is_listed_as_it_was_reached() -> None:
    targets = metrics_groups(("0.0.0.0:9464", "10.0.0.7:4000"), "x")
    with MetricsServer(Page(), targets=lambda: targets) as server:
        for host, seen in {"head.example:80": "head.example:9464", "[::1]:5": "[::1]:9464", "bad host": "0.0.0.0:9464"}.items():
            listed = json.loads(ask(server, "/sd", Host=host)[1])
            assert [group["targets"] for group in listed] == [[seen], ["10.0.0.7:4000"]]


def test_without_actors_there_is_no_empty_group() -> None:
    assert metrics_groups(("127.0.0.1:1",), "x") == [TargetGroup(["127.0.0.1:1"], {"role": "head", "cluster": "x"})]
    assert metrics_groups((), "x") == []


def test_health_and_index(server: MetricsServer) -> None:
    assert ask(server, "/healthz")[1] == b"ok\n"
    response, body = ask(server, "/")
    assert response.headers["Content-Type"].startswith("text/html")
    assert all(path in body for path in (b"/metrics", b"/sd", b"/healthz"))


def test_an_unknown_path_says_what_there_is(server: MetricsServer) -> None:
    response, body = ask(server, "/metric")
    assert response.status == 404
    assert body == b"there is no page /metric; allowed: /, /healthz, /metrics, /sd\n"
    with MetricsServer(Page()) as bare:
        assert ask(bare, "/sd")[1] == b"there is no page /sd; allowed: /, /healthz, /metrics\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(server: MetricsServer, method: str) -> None:
    response, body = ask(server, "/metrics", method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert method.encode() in body


def test_a_taken_port_is_named(server: MetricsServer) -> None:
    with pytest.raises(PortTaken, match=f"metrics port {server.port} on 127.0.0.1 is in use: choose another, or 0 for a free one"):
        MetricsServer(Page(), port=server.port)


def test_a_host_that_is_not_here_is_named() -> None:
    with pytest.raises(OSError, match=r"metrics cannot be served on 192\.0\.2\.1: "):
        MetricsServer(Page(), host="192.0.2.1")


def test_a_port_out_of_range_is_named() -> None:
    with pytest.raises(OSError, match="metrics port 65536 is out of range: 0"):
        MetricsServer(Page(), port=65536)


def test_it_listens_on_loopback_alone(server: MetricsServer) -> None:
    assert server.address == f"127.0.0.1:{server.port}"
    assert server._server.socket.getsockname()[0] == "127.0.0.1"


def test_a_port_is_free_again_after_close_and_kept_connections_end() -> None:
    server = MetricsServer(Page(lambda: TEXT))
    kept = http.client.HTTPConnection(server.host, server.port, timeout=30)
    kept.request("GET", "/metrics")
    assert kept.getresponse().read() == TEXT
    server.close()
    server.close()
    kept.auto_open = 0  # no new connection behind the test's back

    def ask_again() -> None:
        kept.request("GET", "/metrics")
        kept.getresponse()

    with pytest.raises((http.client.HTTPException, OSError)):
        ask_again()
    kept.close()
    with MetricsServer(Page(), port=server.port) as again:
        assert ask(again, "/healthz")[0].status == 200


def test_a_connection_serves_many_scrapes(server: MetricsServer) -> None:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    for _ in range(3):
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == TEXT
    connection.request("GET", "/nowhere")
    assert connection.getresponse().read().startswith(b"there is no page /nowhere")
    connection.close()


def test_rubbish_does_not_end_the_server(server: MetricsServer) -> None:
    with socket.create_connection((server.host, server.port), timeout=30) as rubbish:
        rubbish.sendall(b"\x16\x03\x01 rubbish\r\n\r\n")
        assert b"400" in rubbish.recv(4096)
    with socket.create_connection((server.host, server.port), timeout=30):
        pass
    assert ask(server, "/healthz")[0].status == 200


def silent(server: MetricsServer, stack: contextlib.ExitStack, said: bytes = b"") -> socket.socket:
    connection = stack.enter_context(socket.create_connection((server.host, server.port), timeout=30))
    connection.sendall(said)
    return connection


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["silent", "idle"])
def test_silent_and_idle_connections_make_room_the_oldest_first(server: MetricsServer, said: bytes) -> None:
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(MAX_CONNECTIONS + 8):
            held.append(silent(server, stack, said))
            if said:
                answer = b""
                while not answer.endswith(b"ok\n"):
                    answer += held[-1].recv(65_536)
        assert ask(server, "/metrics")[1] == TEXT
        assert held[0].recv(1) == b""
        held[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            held[-1].recv(1)


def test_where_all_are_being_answered_one_more_gets_503(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, entered = threading.Event(), threading.Semaphore(0)

    def slow() -> list[TargetGroup]:
        entered.release()
        gate.wait(30)
        return []

    with MetricsServer(Page(), targets=slow) as server, contextlib.ExitStack() as stack:
        stack.callback(gate.set)
        held = [silent(server, stack, b"GET /sd HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(MAX_CONNECTIONS)]
        for _ in held:
            assert entered.acquire(timeout=30)
        answer = silent(server, stack).recv(65_536)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
        gate.set()
        assert all(b"200 OK" in one.recv(65_536) for one in held)


@pytest.mark.parametrize("drip", [b"", b"G", b"GET / HTTP/1.1\r\nA: b\r\n"], ids=["nothing", "a letter", "some headers"])
def test_headers_come_in_time_or_never(monkeypatch: pytest.MonkeyPatch, drip: bytes) -> None:
    monkeypatch.setitem(server_module._LONGEST, server_module._Phase.NEW, 0.3)
    monkeypatch.setitem(server_module._LONGEST, server_module._Phase.READING, 0.3)
    with MetricsServer(Page(lambda: TEXT)) as server, contextlib.ExitStack() as stack:
        connection = silent(server, stack, drip)
        assert connection.recv(65_536) == b""
        assert ask(server, "/metrics")[1] == TEXT


def test_a_body_is_no_request(server: MetricsServer) -> None:
    """A body is dropped and the connection goes on; one that is long, or of unknown length, ends it."""
    smuggled = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.ExitStack() as stack:
        connection = silent(server, stack, b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(smuggled), smuggled))
        answer = b""
        while not answer.endswith(b"ok\n"):
            answer += connection.recv(65_536)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        for header in (b"Transfer-Encoding: chunked", b"Content-Length: 999999999999", b"Content-Length: -5", b"Content-Length: x"):
            connection = silent(server, stack, b"GET /healthz HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n%b" % (header, smuggled))
            answer = b""
            while part := _received(connection):
                answer += part
            assert answer.count(b"HTTP/1.1") == 1
            assert b"Connection: close" in answer


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:  # it closed before it had read everything
        return b""


def test_a_page_renders_once_a_publication_and_only_when_read() -> None:
    rendered: list[int] = []

    def render(number: int) -> bytes:
        rendered.append(number)
        return b"%d" % number

    page = Page()
    assert page.read() == b""
    page.publish(lambda: render(1))
    page.publish(lambda: render(2))
    assert rendered == []
    assert (page.read(), gzip.decompress(page.read(zipped=True)), page.read()) == (b"2", b"2", b"2")
    assert rendered == [2]
    page.publish(lambda: render(3))
    assert (gzip.decompress(page.read(zipped=True)), page.read()) == (b"3", b"3")
    assert rendered == [2, 3]


def test_a_failing_render_is_an_answer() -> None:
    def fail() -> bytes:
        raise ValueError("labels of racks 0 to 2")

    page = Page(fail)
    with MetricsServer(page) as server:
        response, body = ask(server, "/metrics")
        assert (response.status, body) == (500, b"/metrics could not be rendered: ValueError: labels of racks 0 to 2\n")
        page.publish(lambda: b"fine\n")
        assert ask(server, "/metrics")[1] == b"fine\n"


def test_many_readers_during_publications_see_whole_pages() -> None:
    page = Page(lambda: b"0" * 1000)
    seen: list[bytes] = []

    def read() -> None:
        seen.extend(page.read() for _ in range(200))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(1, 200):
        page.publish(partial(mul, b"%d" % (number % 10), 1000))
    for reader in readers:
        reader.join()
    assert all(len(set(body)) == 1 and len(body) == 1000 for body in seen)


@pytest.mark.parametrize(
    ("header", "allowed"),
    [("", False), ("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("*", True), ("identity", False),
     ("GZIP ; Q=1.0", True), ("*;q=0", False), ("gzip;q=x", False), ("br, *;q=0.1", True)],
)  # fmt: skip
def test_accept_encoding(header: str, allowed: bool) -> None:
    assert accepts_gzip(header) is allowed
