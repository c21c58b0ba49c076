"""Reading a whole file that somebody named: only what is a file, and no more of it than is sensible to hold."""

import os
import stat
from pathlib import Path

#: Most bytes of a file that people write by hand: a scenario, a job.
MOST_HAND_WRITTEN_BYTES = 4 * 2**20

#: Most bytes of a file that a program wrote to describe a cluster: a node-link JSON of 4,000,000 GPUs has about 300 MB.
MOST_DESCRIPTION_BYTES = 2**30


class UnreadableFile(OSError):
    """What is there is no file, or too large; ``strerror`` says which, and what is allowed."""


def open_file(path: str | Path) -> int:
    """A descriptor of a regular file, to read from. Raises OSError; of a pipe or device UnreadableFile, without waiting for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    kind = "a directory" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
    raise UnreadableFile(None, f"it is {kind}; allowed: a regular file")


def read_whole(path: str | Path, most_bytes: int) -> bytes:
    """What is in the file. Raises OSError: there is none, it may not be read, it is no regular file or larger than ``most_bytes``."""
    with os.fdopen(open_file(path), "rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UnreadableFile(None, f"it has more than {most_bytes:,} bytes, which is the most that is read")
    return data
