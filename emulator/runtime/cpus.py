"""The CPUs of this machine that are ours."""

import os


def usable_cpus() -> int:
    """CPUs that this process may run on, as ``taskset`` and containers set it; on a system that does not tell (macOS), all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
