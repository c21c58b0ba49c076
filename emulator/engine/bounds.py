"""Bounds of numbers that come from outside: what is beyond them is refused by whoever reads it, and within them every formula holds."""

from math import inf

from emulator.workload.jobs import SECOND

#: Where the emulated clock ends: with all that is ever added to it, a time stays within int64 nanoseconds (292 years).
CLOCK_END_YEARS = 100
CLOCK_END_NS = CLOCK_END_YEARS * 366 * 86_400 * SECOND

#: Longest time that a request may name (the running time of a job, the repair of a fault).
LONGEST_YEARS = 10
LONGEST_NS = LONGEST_YEARS * 365 * 86_400 * SECOND

#: Emulated seconds per wall second, where it is not infinite. At the slowest a cycle of 10 s takes 116 days.
SLOWEST, FASTEST = 1e-6, 1e9
SPEED_RULE = "0.000001 to 1,000,000,000 emulated seconds per wall second"

#: What a part of the fabric keeps under a fault, unless that is nothing. A link of 400 Gbps has 400 Mbps left then.
LEAST_REMAINING_RATIO = 0.001
REMAINING_RULE = "0, or 0.001 up to, not including, 1"

#: Cycles that one request may step.
MOST_STEP_CYCLES = 1_000_000

#: One step of training: how short and how long it may be, and what it may send and compute.
SHORTEST_STEP_SECONDS, LONGEST_STEP_SECONDS = 1e-6, LONGEST_NS / SECOND
LEAST_SECONDS = 1e-9
MOST_STEP_BYTES = 1e18
MOST_STEP_FLOPS = 1e33
MOST_STEP_HOPS = 1e9


def is_speed(speed: float) -> bool:
    """Whether the clock can run so fast; infinity is as fast as it can."""
    return SLOWEST <= speed <= FASTEST or speed == inf


def is_remaining_ratio(ratio: float) -> bool:
    """Whether a part of the fabric can keep this share of its capacity under a fault."""
    return ratio == 0.0 or LEAST_REMAINING_RATIO <= ratio < 1.0
