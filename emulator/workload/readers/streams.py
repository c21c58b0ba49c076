"""The text of a trace file, plain or compressed, recognised by its first bytes; bounded, with the place of every error."""

import bz2
import codecs
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from emulator.workload.readers.errors import TraceError
from topology.files import open_file

#: First bytes and name of what is understood. Of bzip2 the fourth byte is the block size, a digit.
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
#: Parallel zstd puts a frame to be skipped before every other (RFC 8878, 3.1.2): 0x184D2A50 to 0x184D2A5F, little-endian.
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_ALLOWED = "UTF-8 text, plain or compressed with gzip, bzip2, xz or zstd"
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class TraceLimits:
    """How much of a file is held at once, and how much may come out of a small one."""

    chunk_rows: int = 8_192
    line_bytes: int = 65_536
    object_characters: int = 1 << 22  # of one object of a JSON file
    #: Logs pack about 5 to 30 times. A file that gives more than 500 times its size is refused as a bomb, once it has given 256 MiB.
    bomb_ratio: int = 500
    bomb_bytes: int = 1 << 28


def lines(path: Path, limits: TraceLimits) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1. Raises TraceError for anything that is not a text file."""
    number = total = 0
    check_at = limits.bomb_bytes
    with _opened(path, lambda: number) as (stream, raw, kind):
        longest = limits.line_bytes + 1
        while line := stream.readline(longest):
            number += 1
            if len(line) == longest:
                raise TraceError("the line is too long", file=str(path), line=number, allowed=f"at most {limits.line_bytes} bytes")
            total += len(line)
            if total > check_at:
                check_at = _no_bomb(path, number, total, raw if kind else None, limits)
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise TraceError("not text", file=str(path), line=number, allowed=_ALLOWED) from None
            if "\0" in text:
                raise TraceError("not text: a NUL byte", file=str(path), line=number, allowed=_ALLOWED)
            yield number, text


def blocks(path: Path, limits: TraceLimits) -> Iterator[str]:
    """The text in pieces of about a megabyte. Raises TraceError for anything that is not a text file."""
    line, total, check_at = 1, 0, limits.bomb_bytes
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with _opened(path, lambda: line) as (stream, raw, kind):
        while True:
            data = stream.read(_BLOCK_BYTES)
            total += len(data)
            if total > check_at:
                check_at = _no_bomb(path, line, total, raw if kind else None, limits)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                place = line + error.object[: error.start].count(b"\n")
                raise TraceError("not text", file=str(path), line=place, allowed=_ALLOWED) from None
            line += text.count("\n")
            if text:
                yield text
            if not data:
                return


def first_character(path: Path) -> str:
    """The first character that is not blank, of the first few kilobytes; "" where there is none. Raises TraceError."""
    with _opened(path, lambda: 1) as (stream, _, _):
        return stream.read(4096).decode("utf-8-sig", errors="replace").lstrip()[:1]


def _no_bomb(path: Path, line: int, total: int, raw: BinaryIO | None, limits: TraceLimits) -> int:
    """Raises TraceError if the unpacked text is far larger than the file. Returns when to check again."""
    if raw is not None and total > limits.bomb_ratio * max(1, raw.tell()):
        problem = f"{total} bytes were unpacked from {raw.tell()}, too many for a log"
        raise TraceError(
            problem,
            file=str(path),
            line=line,
            allowed=f"at most {limits.bomb_ratio} times as many; unpack the file first if it is what you want",
        )
    return total + limits.bomb_bytes


@contextmanager
def _opened(path: Path, line: object) -> Iterator[tuple[io.BufferedIOBase, BinaryIO, str]]:
    """(The unpacked stream, the file under it, the compression or ""); what goes wrong while it is read becomes a TraceError.

    ``line()`` is the number of the last line read.
    """
    kind = ""
    try:
        with os.fdopen(open_file(path), "rb") as raw:
            kind = _compression(raw.read(6))
            raw.seek(0)
            yield _unpacked(raw, kind), raw, kind
    except TraceError:
        raise
    except OSError as failure:
        if kind and failure.errno is None:  # of the unpackers, not of the disk
            raise _damaged(path, kind, line, failure) from None
        raise TraceError(f"cannot be read: {failure.strerror or failure}", file=str(path)) from None
    except (EOFError, zlib.error, lzma.LZMAError, ValueError) as failure:
        raise _damaged(path, kind, line, failure) from None


def _damaged(path: Path, kind: str, line: object, failure: Exception) -> TraceError:
    after = f" after line {line()}" if callable(line) and line() else ""
    return TraceError(f"damaged {kind}{after}: {failure}", file=str(path), allowed="a whole file")


def _compression(head: bytes) -> str:
    if head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5:
        return "zstd"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "")


def _unpacked(raw: io.BufferedReader, kind: str) -> io.BufferedIOBase:
    match kind:
        case "gzip":
            return io.BufferedReader(gzip.GzipFile(fileobj=raw))
        case "bzip2":
            return io.BufferedReader(bz2.BZ2File(raw))
        case "xz":
            return io.BufferedReader(lzma.LZMAFile(raw))
        case "zstd":
            import pyarrow as pa  # imported only when needed: it takes a tenth of a second

            return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
    return raw
