"""Columns put by until the end of a run, in a temporary file without a name: however the process ends, nothing is left behind.

A run that puts nothing by makes no file. What cannot be written (a full disk) stays in memory, and so does everything after it: nothing is
lost, and a warning says so once.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]

log = logging.getLogger(__name__)


class _Place(NamedTuple):
    """Where a chunk stands in the file."""

    offset: int
    layout: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]  # name, type and shape of each column


class Spool:
    """Chunks of columns of several kinds, given back in the order in which they came. The file is in ``folder``, or where temporary files
    are.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: Any = None
        self._size = 0
        self._chunks: dict[str, list[_Place | Columns]] = {}  # by kind
        self._full = False

    def add(self, kind: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Put a chunk by."""
        chunks = self._chunks.setdefault(kind, [])
        chunk = {name: np.ascontiguousarray(column) for name, column in columns.items()}
        if not self._full:
            try:
                chunks.append(self._write(chunk))
                return
            except OSError as error:
                self._full = True
                log.warning(
                    "cannot put ended jobs by in %s: %s; from now on they stay in memory, which grows, and the results are complete",
                    self._folder or tempfile.gettempdir(),
                    error.strerror or error,
                )
        chunks.append(chunk)

    def chunks(self, kind: str) -> Iterator[Columns]:
        """Every chunk of a kind; may be asked for again. Raises OSError where the file cannot be read."""
        for chunk in self._chunks.get(kind, ()):
            yield self._read(chunk) if isinstance(chunk, _Place) else chunk

    def close(self) -> None:
        """Give the file back; nothing can be put by or asked for any more."""
        if self._file is not None:
            self._file.close()

    def _write(self, chunk: Columns) -> _Place:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - for as long as the spool
        left = memoryview(b"".join(column.tobytes() for column in chunk.values()))
        place = _Place(self._size, tuple((name, column.dtype, column.shape) for name, column in chunk.items()))
        offset = self._size
        while left:
            written = os.pwrite(self._file.fileno(), left, offset)
            left, offset = left[written:], offset + written
        self._size = offset
        return place

    def _read(self, place: _Place) -> Columns:
        columns: Columns = {}
        offset = place.offset
        for name, dtype, shape in place.layout:
            column = columns[name] = np.empty(shape, dtype)
            left = column.view(np.uint8).reshape(-1)
            while len(left):
                read = os.preadv(self._file.fileno(), [left.data], offset)
                if not read:
                    raise OSError(f"the temporary file ends at {offset} bytes, before what was put by in it")
                left, offset = left[read:], offset + read
        return columns
