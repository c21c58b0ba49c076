"""As much of HTTP/1.1 as the endpoint needs (RFC 9112), over asyncio's streams."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from emulator.openai.asked import ApiError

#: Of the lines before a body.
MOST_HEAD_BYTES = 65_536
#: Of a body: a prompt of millions of tokens.
MOST_BODY_BYTES = 64 * 2**20
#: A connection that asks nothing for so long is closed.
IDLE_SECONDS = 300.0
#: A request has come whole within this, once it has begun.
REQUEST_SECONDS = 60.0


class Watched(asyncio.StreamReader):
    """Tells when the other side has gone, also while nobody reads."""

    def __init__(self) -> None:
        super().__init__(limit=MOST_HEAD_BYTES)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: BaseException) -> None:
        super().set_exception(exc)  # type: ignore[arg-type]  # as asyncio calls it
        self.gone.set()


@dataclass(frozen=True)
class Request:
    """``headers`` by their names in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    keeps: bool  # the connection stays for another


async def read_request(reader: Watched, writer: asyncio.StreamWriter) -> Request | None:
    """The next request; None where no more comes. Raises ApiError for one that cannot be read, after which the connection is of no use."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_SECONDS)
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        return None
    except asyncio.LimitOverrunError as error:
        raise ApiError(431, f"The headers are longer than {MOST_HEAD_BYTES} bytes.") from error
    line, *rows = head.decode("latin-1").split("\r\n")[:-2]
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ApiError(400, "This is no HTTP/1.1 request.")
    headers = {name.strip().lower(): value.strip() for name, colon, value in (row.partition(":") for row in rows) if colon}
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdecimal()):
        raise ApiError(411, "A body has to say its length (Content-Length).")
    if int(length[:20]) > MOST_BODY_BYTES:
        raise ApiError(413, f"The body has {length[:20]} bytes; allowed: {MOST_BODY_BYTES}.")
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    try:
        body = await asyncio.wait_for(reader.readexactly(int(length)), REQUEST_SECONDS)
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        return None
    keeps = headers.get("connection", "").lower() != "close" and words[2] != "HTTP/1.0"
    return Request(words[0], words[1].partition("?")[0], headers, body, keeps)


def head(status: int, headers: Mapping[str, str], *, keeps: bool) -> bytes:
    """The lines before a body."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join([*lines, f"Connection: {'keep-alive' if keeps else 'close'}"]) + "\r\n\r\n").encode("latin-1")


def whole(status: int, body: Mapping[str, Any], *, keeps: bool, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer in one."""
    text = json.dumps(body).encode()
    return head(status, {"Content-Type": "application/json", "Content-Length": str(len(text)), **(headers or {})}, keeps=keeps) + text


def chunk(data: bytes) -> bytes:
    """A part of a body whose length is not known before its end; of no bytes: its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)
