"""Messages between the head and the process that drives Ray."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from emulator.runtime.actor import Share


@dataclass(frozen=True)
class Start:
    """Make actor ``number``, in the state after ``snapshot_window`` (no bytes: a fresh one) and the packed windows of ``log`` behind it."""

    number: int
    share: Share
    epoch: int
    snapshot_window: int
    snapshot: bytes
    log: Sequence[bytes]
    port: int  # of its metrics; 0: any


@dataclass(frozen=True)
class Opened:
    """A Ray is there: whether it is ours, its free CPUs, its nodes with one, and the directory of one of ours ("": not ours)."""

    ours: bool
    cpus: int
    nodes: int
    directory: str


@dataclass(frozen=True)
class Up:
    """An actor is there: the last window that it has run, the addresses of its metrics ("": none) and of its line, and its node's name."""

    window: int
    address: str
    line: str = ""
    node: str = ""


@dataclass(frozen=True)
class Lost:
    """An actor is gone, or did not answer."""

    words: str


@dataclass(frozen=True)
class Gone:
    """Ray says that the actor of that number and epoch has ended."""

    number: int
    epoch: int
    words: str


@dataclass(frozen=True)
class Call:
    """A method of ``actor.ShardHost`` with its arguments."""

    epoch: int
    verb: str
    arguments: tuple[Any, ...]
