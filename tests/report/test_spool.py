"""What is put by comes back, whatever the disk does, and nothing is left in the folder."""

import errno
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.report.spool import Columns, Spool


def chunk(number: int) -> Columns:
    return {
        "a": np.arange(number, dtype=np.int64),
        "b": np.full((number, 2), 0.5 * number),
        "c": np.array([number % 2 == 0] * 3),
        "none": np.empty(0, dtype=np.float64),
    }


def assert_same(spool: Spool, count: int) -> None:
    found = list(spool.chunks("jobs"))
    assert len(found) == count
    for number, columns in enumerate(found):
        for name, column in chunk(number).items():
            assert columns[name].dtype == column.dtype
            np.testing.assert_array_equal(columns[name], column)


def test_what_is_put_by_comes_back_in_order_and_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(20):
        spool.add("jobs", chunk(number))
        assert not list(tmp_path.iterdir()), "a file with a name would be left behind by a crash"
    assert_same(spool, 20)
    spool.add("samples", chunk(7))
    spool.add("jobs", chunk(20))
    assert_same(spool, 21)
    assert len(list(spool.chunks("samples"))) == 1
    spool.close()


def test_no_file_where_nothing_is_put_by(tmp_path: Path) -> None:
    assert list(Spool(tmp_path / "not there").chunks("jobs")) == []


def test_a_disk_that_is_full_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    room, write = [1000], os.pwrite

    def pwrite(handle: int, data: Any, offset: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(handle, data[: min(room[0], 300)], offset)  # and never all at once
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)
    spool = Spool(tmp_path)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            spool.add("jobs", chunk(number))
    room[0] = 10**6  # a later chunk does not go behind the half of another
    spool.add("jobs", chunk(20))
    assert_same(spool, 21)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"cannot put ended jobs by in {tmp_path}: No space left on device; from now on they stay in memory"
    )


def test_a_folder_that_is_not_there_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "gone")
    for number in range(3):
        spool.add("jobs", chunk(number))
    assert_same(spool, 3)
    assert "No such file or directory" in caplog.text


def test_a_file_that_has_become_shorter_is_an_error(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add("jobs", chunk(5))
    os.truncate(spool._file.fileno(), 7)
    with pytest.raises(OSError, match="ends at"):
        list(spool.chunks("jobs"))
