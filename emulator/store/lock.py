"""A directory of state belongs to one process at a time.

The lock is the kernel's (flock): it ends with the process that holds it, however that ends, so none is left behind by a crash. The file's
text only names the holder.
"""

import fcntl
import os
import socket
from pathlib import Path

from emulator.store.errors import JournalError

FILE = "lock"


class DirectoryLock:
    """Held from its making to ``close``. Raises JournalError, with the holder's process id, where another process has the directory."""

    def __init__(self, directory: Path) -> None:
        path = directory / FILE
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}; allowed: a directory that can be written") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()} {socket.gethostname()}\n".encode())
        except OSError as error:
            holder = os.pread(self._file, 300, 0).decode(errors="replace").split()
            self.close()
            if isinstance(error, BlockingIOError):
                raise in_use(directory, holder) from None
            raise JournalError(f"{path}: {error.strerror}; allowed: a directory on a local disk, with room") from error

    def close(self) -> None:
        """May be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def check_unlocked(directory: Path) -> None:
    """Raises JournalError where a process has the directory. Writes nothing, so that a directory that cannot be written may be read."""
    try:
        file = os.open(directory / FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise in_use(directory, os.pread(file, 300, 0).decode(errors="replace").split()) from None
    except OSError:
        return
    finally:
        os.close(file)


def in_use(directory: Path, holder: list[str]) -> JournalError:
    """``holder``: process id and host, as far as the file says."""
    who = f"process {holder[0]}" if holder else "another process"
    where = f" on {holder[1]}" if len(holder) > 1 and holder[1] != socket.gethostname() else ""
    return JournalError(f"{directory} is in use by {who}{where}; allowed: another directory, or this one when that has ended")
