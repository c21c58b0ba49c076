"""The cost of the emulation itself: CPU time and memory of this process and its descendants."""

import os
from collections.abc import Iterator

import psutil


def _processes() -> Iterator[psutil.Process]:
    own = psutil.Process(os.getpid())
    yield own
    yield from own.children(recursive=True)


def own_usage() -> tuple[float, int]:
    """CPU seconds of this process so far and its memory in bytes, without its children."""
    process = psutil.Process()
    times = process.cpu_times()
    return times.user + times.system, _memory_bytes(process)


def cpu_seconds() -> float:
    """User and system time of all of them so far, ended children included."""
    total = 0.0
    for process in _processes():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
        if process.pid == os.getpid():
            total += times.children_user + times.children_system
    return total


def memory_bytes() -> int:
    """Resident memory of all of them now, shared pages counted once (PSS) where the system tells, else RSS."""
    total = 0
    for process in _processes():
        try:
            total += _memory_bytes(process)
        except psutil.Error:
            continue
    return total


def _memory_bytes(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))
