"""SQLite's write-ahead log as a crash leaves it (https://www.sqlite.org/fileformat2.html#walformat).

A record that was being written at the crash ends in frames without a commit, or in a part of a frame. SQLite leaves them out
without a word; here they are counted, so that somebody can be told.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC = (0x377F0682, 0x377F0683)


@dataclass(frozen=True)
class Frames:
    """Whole frames of the log's present generation, sound or not, and the bytes of a part of one behind them."""

    whole: int
    partial_bytes: int


def frames(path: Path) -> Frames:
    """What the log at ``path`` holds; nothing where there is no log. Raises OSError."""
    if not path.exists():
        return Frames(0, 0)
    size = path.stat().st_size
    with path.open("rb") as log:
        header = log.read(_HEADER)
        if len(header) < _HEADER:
            return Frames(0, len(header))
        magic, _, page_bytes, _, salts = struct.unpack(">IIII8s8x", header)
        if magic not in _MAGIC or not page_bytes:
            return Frames(0, size)
        frame_bytes = _FRAME_HEADER + page_bytes
        whole, partial = divmod(size - _HEADER, frame_bytes)
        for number in range(whole):
            log.seek(_HEADER + number * frame_bytes)
            if log.read(_FRAME_HEADER)[8:16] != salts:  # left over from before the log was begun again
                return Frames(number, 0)
    return Frames(whole, partial)
