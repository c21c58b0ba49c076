"""Largest job first, strictly in turn; ties by submission.

It packs well and makes small jobs wait (Krueger, Lai and Dixit-Radiya, "Job scheduling is more important than processor allocation for
hypercube computers", IEEE TPDS 1994).
"""

from emulator.scheduler.policies import fifo
from emulator.scheduler.policy import Policy
from emulator.scheduler.table import JobTable


def by_size(table: JobTable, slot: int) -> tuple[int, ...]:
    """Priority, then the most GPUs; ties by submission, then id."""
    size = table.gpus[slot] * table.milli_gpus[slot]
    return -table.priority[slot], -size, table.submit_ns[slot], table.job_id[slot], slot


POLICY = Policy("largest-first", fifo.plan, by_size, heads_only=True)
