"""A small HTTP server for metrics, the same in the head and in every actor.

    /metrics   the Prometheus text format, gzip when asked for
    /sd        what to scrape, for Prometheus' ``http_sd_configs`` (the head alone)
    /healthz   ``ok`` while the server answers
    /          an index of these; at the head with a table of the services

A scrape reads what was last published and never waits for the emulation. Text is rendered when somebody asks for it, at most once a
publication, in the thread of the request.
"""

import contextlib
import errno
import html
import json
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, Self

from emulator.telemetry.exposition import CONTENT_TYPE

#: Where the head serves metrics unless told otherwise; deploy/prometheus/prometheus.yml asks there.
DEFAULT_PORT = 9464
#: A connection that says nothing for so long between two requests is closed: Prometheus keeps its own open, up to 5 minutes.
IDLE_SECONDS = 330.0
#: The first request, and the headers of every one, come within so long.
REQUEST_SECONDS = 10.0
#: Whoever has not taken an answer by then has gone.
ANSWER_SECONDS = 60.0
#: More at once are answered with 503: each holds a thread, and one Prometheus needs one connection. The oldest that has been idle since
#: its last answer makes room for a new one.
MAX_CONNECTIONS = 64
#: A body that nobody asked for is read and dropped up to this size; behind a larger one the connection is closed.
MOST_BODY_BYTES = 65_536
#: The fastest level: a shard's text shrinks to a tenth with it, a third of the time of the default.
GZIP_LEVEL = 1


class PortTaken(OSError):
    """The port is in use, or this user may not open it."""


@dataclass(frozen=True)
class TargetGroup:
    """Targets (``host:port``) that share labels, as ``http_sd`` has them."""

    targets: Sequence[str]
    labels: Mapping[str, str] = field(default_factory=dict)


def metrics_groups(addresses: Sequence[str], cluster: str) -> list[TargetGroup]:
    """``Control.metrics_targets()`` as groups: the head first, then the actors. Labels ``role`` (head or shard) and ``cluster``."""
    head, shards = addresses[:1], addresses[1:]
    roles = (("head", head), ("shard", shards))
    return [TargetGroup(list(targets), {"role": role, "cluster": cluster}) for role, targets in roles if targets]


def discovery(groups: Sequence[TargetGroup], asked_host: str = "") -> bytes:
    """The JSON that ``http_sd_configs`` reads: a list of target groups.

    A target that listens on every interface is listed under the name that the asker reached this server by.
    """

    def seen(target: str) -> str:
        host, _, port = target.rpartition(":")
        return f"{asked_host}:{port}" if asked_host and host in ("0.0.0.0", "[::]") else target  # noqa: S104 - compared, not bound

    listed = [{"targets": [seen(target) for target in group.targets], "labels": dict(group.labels)} for group in groups]
    return json.dumps(listed, indent=1).encode() + b"\n"


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)  # 31: a gzip header, without a time of day
    return compressor.compress(body) + compressor.flush()


class Page:
    """The latest publication of one thing, as bytes. ``publish`` costs nothing; the first reader after it renders."""

    def __init__(self, render: Callable[[], bytes] = bytes) -> None:
        self._lock = threading.Lock()
        self._latest = render
        self._rendered: Callable[[], bytes] | None = None
        self._plain, self._zipped = b"", b""

    def publish(self, render: Callable[[], bytes]) -> None:
        """``render`` must give the same bytes whenever it is called, from any thread: it closes over finished readings."""
        self._latest = render

    def read(self, *, zipped: bool = False) -> bytes:
        with self._lock:
            latest = self._latest
            if latest is not self._rendered:
                self._plain, self._zipped, self._rendered = latest(), b"", latest
            if not zipped:
                return self._plain
            self._zipped = self._zipped or _gzip(self._plain)
            return self._zipped


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, 12.5.3): named, or ``*``, with a quality above zero."""
    qualities: dict[str, float] = {}
    for part in header.split(","):
        coding, _, parameters = part.partition(";")
        quality = parameters.strip().lower().removeprefix("q=") or "1"
        try:
            qualities[coding.strip().lower()] = float(quality)
        except ValueError:
            qualities[coding.strip().lower()] = 0.0
    return qualities.get("gzip", qualities.get("*", 0.0)) > 0


class _Phase(Enum):
    """Where a connection stands."""

    NEW = auto()  # nothing has come yet
    READING = auto()  # a request has begun to come
    ANSWERING = auto()
    IDLE = auto()  # the last request was answered


_QUIET = (_Phase.NEW, _Phase.IDLE)
_LONGEST = {
    _Phase.NEW: REQUEST_SECONDS,
    _Phase.READING: REQUEST_SECONDS,
    _Phase.ANSWERING: ANSWER_SECONDS,
    _Phase.IDLE: IDLE_SECONDS,
}
_BUSY_TEXT = b"all connections are in use; try again in a second\n"
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BUSY_TEXT), _BUSY_TEXT)
)


def _hang_up(connection: socket.socket) -> None:
    """The thread that reads from it or writes to it ends, and closes it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], routes: "Mapping[str, Route]", title: str) -> None:
        self.routes, self.title = routes, title
        self.connections: dict[socket.socket, tuple[_Phase, float]] = {}  # with the time of the phase's begin
        self._changing = threading.Lock()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's own method looks up the host's name in DNS, which can take seconds, and the name is not used here.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.enter(connection, _Phase.NEW)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Make room for a connection: that of whoever has asked for nothing for longest goes. Where all are being answered, 503."""
        with self._changing:
            if len(self.connections) <= MAX_CONNECTIONS:
                return True
            quiet = [(since, one) for one, (phase, since) in self.connections.items() if phase in _QUIET and one is not request]
        if quiet:
            _hang_up(min(quiet, key=lambda entry: entry[0])[1])
            return True
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_BUSY)
        return False

    def shutdown_request(self, request: Any) -> None:
        with self._changing:
            self.connections.pop(request, None)
        super().shutdown_request(request)

    def enter(self, connection: socket.socket, phase: _Phase) -> None:
        with self._changing:
            self.connections[connection] = phase, time.monotonic()

    def service_actions(self) -> None:
        """A few times a second: hang up on whoever takes longer than a phase may last, however often a byte of theirs comes."""
        now = time.monotonic()
        with self._changing:
            late = [one for one, (phase, since) in self.connections.items() if now - since > _LONGEST[phase]]
        for connection in late:
            _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair; anything else is answered with 500 by the handler."""


#: A media type, and the body for a host that was asked for, gzip or plain.
Route = tuple[str, Callable[[str, bool], bytes]]

ROUTE_HELP = {
    "/metrics": "Prometheus metrics, text format 0.0.4",
    "/sd": "what to scrape, for Prometheus' http_sd_configs",
    "/healthz": "ok while this server answers",
    "/": "this page",
}


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "gigawatt"
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        try:
            begun = self.rfile.peek(1)  # type: ignore[attr-defined]
        except OSError:
            begun = b""
        if not begun:
            self.close_connection = True
            return
        self.server.enter(self.connection, _Phase.READING)
        super().handle_one_request()
        if not self.close_connection:
            self.server.enter(self.connection, _Phase.IDLE)

    def _drop_body(self) -> None:
        """Read what follows the headers, or it would be taken for the next request; a body that is long, or of no known length, ends it."""
        length = self.headers.get("Content-Length", "0").strip()
        known = "Transfer-Encoding" not in self.headers and length.isdecimal() and int(length[:20]) <= MOST_BODY_BYTES
        if not known or len(self.rfile.read(int(length))) < int(length):
            self.close_connection = True

    def do_GET(self) -> None:
        self._drop_body()
        self.server.enter(self.connection, _Phase.ANSWERING)
        path = self.path.partition("?")[0]
        route = self.server.routes.get(path)
        if route is None:
            there = ", ".join(sorted(self.server.routes))
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", f"there is no page {path}; allowed: {there}\n".encode())
            return
        media_type, read = route
        zipped = accepts_gzip(self.headers.get("Accept-Encoding", ""))
        try:
            body = read(_host_alone(self.headers.get("Host", "")), zipped)
        except Exception as error:  # noqa: BLE001 - a scrape is answered, whatever its reader meets
            message = f"{path} could not be rendered: {type(error).__name__}: {error}\n"
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", message.encode())
            return
        self._send(HTTPStatus.OK, media_type, body, {"Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if zipped else {}))

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._drop_body()
        self.close_connection = True
        text = f"{self.command} is not allowed; GET and HEAD are\n"
        headers = {"Allow": "GET, HEAD", "Connection": "close"}
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", text.encode(), headers)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse

    def _send(self, status: HTTPStatus, media_type: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        ends = {"Connection": "close"} if self.close_connection else {}
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(body)), **ends, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log scrapes."""


def _host_alone(header: str) -> str:
    """A Host header without its port; empty where it is none (then nothing is made of it)."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d*)?", header.strip())
    return match[1] if match else ""


def _small(read: Callable[[str], bytes]) -> Callable[[str, bool], bytes]:
    """A body that is made for every request."""
    return lambda host, zipped: _gzip(read(host)) if zipped else read(host)


_STYLE = (
    "body{font-family:sans-serif}table{border-collapse:collapse}td,th{padding:.2em .6em;text-align:right}"
    "td:nth-child(-n+2){text-align:left}"
)


def _index(title: str, paths: Sequence[str], more: str) -> bytes:
    items = "".join(f'<li><a href="{path}">{path}</a>: {html.escape(ROUTE_HELP[path])}</li>' for path in paths if path != "/")
    name = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title><style>{_STYLE}</style></head>'
        f"<body><h1>{name}</h1><ul>{items}</ul>{more}</body></html>\n"
    ).encode()


class MetricsServer:
    """Serves ``metrics`` in a thread of its own until ``close``.

    ``targets`` is what /sd lists (None: there is no /sd). ``more`` is HTML for the page at /, made when asked for. Port 0 takes a free
    one. Raises PortTaken where the port cannot be had, and OSError where it is no port or the host is not an address of this machine.
    """

    def __init__(
        self,
        metrics: Page,
        *,
        targets: Callable[[], Sequence[TargetGroup]] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        title: str = "Gigawatt metrics",
        more: Callable[[], str] = str,
    ) -> None:
        routes: dict[str, Route] = {"/metrics": (CONTENT_TYPE, lambda _, zipped: metrics.read(zipped=zipped))}
        if targets is not None:
            routes["/sd"] = ("application/json", _small(lambda asked: discovery(targets(), asked)))
        routes["/healthz"] = ("text/plain; charset=utf-8", _small(lambda _: b"ok\n"))
        paths = [*routes]
        routes["/"] = ("text/html; charset=utf-8", _small(lambda _: _index(title, paths, more())))
        if not 0 <= port <= 65535:
            raise OSError(errno.EINVAL, f"metrics port {port} is out of range: 0 (any free one) to 65535")
        try:
            self._server = _Server((host, port), routes, title)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise OSError(error.errno, f"metrics cannot be served on {host}: {error.strerror or error}") from error
            why = "is in use" if error.errno == errno.EADDRINUSE else "may not be opened by this user"
            raise PortTaken(error.errno, f"metrics port {port} on {host} {why}: choose another, or 0 for a free one") from error
        self.host, self.port = host, self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """``host:port``, with the brackets that an IPv6 address needs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def close(self) -> None:
        """Stop answering, kept-open connections included. May be called twice."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._server.connections):
            _hang_up(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
