"""Compression by the first bytes, damage, and what is too much."""

import bz2
import gzip
import lzma
from collections.abc import Callable

import pyarrow as pa
import pytest

from emulator.workload.readers import TraceError, TraceLimits
from tests.workload.traces import CSV, PHILLY, Write, column, read_all

TEXT = (CSV + "".join(f"{number},{number},{number % 7 + 1},9\n" for number in range(5_000))).encode()


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}


@pytest.mark.parametrize("kind", PACKERS)
def test_compression_is_told_by_the_first_bytes(write: Write, kind: str) -> None:
    batches, report = read_all(write(PACKERS[kind](TEXT), "trace.csv"), "csv")
    assert report.kept == 5_000
    assert sum(column(batches, "gpus")) == sum(number % 7 + 1 for number in range(5_000))


@pytest.mark.parametrize("kind", PACKERS)
def test_several_archives_in_a_row_are_one_file(write: Write, kind: str) -> None:
    """As parallel packers and ``cat`` make them."""
    half = len(TEXT) // 2
    _, report = read_all(write(PACKERS[kind](TEXT[:half]) + PACKERS[kind](TEXT[half:])), "csv")
    assert report.kept == 5_000


def test_parallel_zstd_begins_with_a_frame_to_skip(write: Write) -> None:
    _, report = read_all(write(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstd(TEXT)), "csv")
    assert report.kept == 5_000


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("format", ["csv", "philly"])
def test_a_truncated_archive_is_one_line_with_the_place(write: Write, kind: str, format: str) -> None:
    packed = PACKERS[kind](TEXT if format == "csv" else PHILLY.encode() + b"2017-10-01,9,1,9,a\n" * 5_000)
    for size in (len(packed) - 3, len(packed) // 2, 12):
        with pytest.raises(TraceError, match=f"trace: damaged {kind}.*: .*allowed: a whole file") as error:
            read_all(write(packed[:size]), format)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", PACKERS)
def test_garbage_after_the_first_bytes_is_damage(write: Write, kind: str) -> None:
    magic = PACKERS[kind](b"")[:4]
    with pytest.raises(TraceError, match=r"damaged|not text"):
        read_all(write(magic + b"\xff\xfe\x00garbage" * 50), "csv")


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("format", ["csv", "philly"])
def test_a_bomb_is_refused_long_before_its_end(write: Write, kind: str, format: str) -> None:
    """Blank lines are nothing that a log is made of."""
    text = b"\n" * 3_000_000 if format == "csv" else b"[" + b" " * 3_000_000
    limits = TraceLimits(bomb_bytes=1 << 20)
    with pytest.raises(TraceError, match=r"bytes were unpacked from \d+, too many for a log .*at most 500 times"):
        read_all(write(PACKERS[kind](text)), format, limits=limits)
    if format == "csv":
        with pytest.raises(TraceError, match="the file is empty"):
            read_all(write(text), format, limits=limits)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_line_has_a_most_length(write: Write, kind: str) -> None:
    with pytest.raises(TraceError, match="trace:2: the line is too long"):
        read_all(write(PACKERS[kind](CSV.encode() + b"1" * 200_000)), "csv")
