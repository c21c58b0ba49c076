"""What a lower clock of the GPUs saves and costs: one measured curve, as steps.

The curve is that of training GPT-3 175B on an A100 SXM with its clock locked: time and energy of one microbatch, forward and backward, of a
stage (Chung et al., "Reducing Energy Bloat in Large Model Training" (Perseus), SOSP'24; ``sosp24_data/emulation/stage_profile`` of
github.com/ml-energy/zeus). Of its 15 MHz steps every second one stands here, but 1,380 MHz, which draws what 1,410 draws.

Assumed: other GPUs follow it by the ratio of their clock to the full one (a step is 42 MHz of an H100's 1,980), and CPUs, NICs and fans
go with the GPUs that they serve, as they do when the load changes (``racks.power``). Only what computes takes longer; what waits for the
network takes as long, and draws less in the same ratio.
"""

from typing import NamedTuple

#: Idle, the GPU of the curve draws this (A100 80 GB, ``results_paste.md`` of github.com/chuyishang/inference-energy).
IDLE_WATTS = 62.0
#: (clock in MHz, seconds of a microbatch, joules of it), the full clock first.
MEASURED = (
    (1410, 0.14312, 68.390),
    (1350, 0.14459, 65.897),
    (1320, 0.14687, 63.950),
    (1290, 0.14954, 61.780),
    (1260, 0.15236, 59.009),
    (1230, 0.15558, 56.921),
    (1200, 0.15903, 55.219),
    (1170, 0.16268, 53.338),
    (1140, 0.16671, 52.466),
    (1110, 0.17049, 51.127),
    (1080, 0.17513, 49.855),
    (1050, 0.17958, 50.167),
    (1020, 0.18470, 50.316),
    (990, 0.19013, 50.608),
    (960, 0.19542, 51.125),
    (930, 0.20155, 51.018),
    (900, 0.20698, 51.133),
    (870, 0.21525, 51.380),
)
#: Number of clocks; FULL is the place of the full one, LOWEST of the lowest.
CLOCKS = len(MEASURED)
FULL, LOWEST = 0, CLOCKS - 1


class Parts(NamedTuple):
    """Of a run's time: in which it computes, and in which it waits for the network. It draws nothing in the rest."""

    computing: float
    waiting: float


def _dynamic_ratio(seconds: float, joules: float) -> float:
    _, full_seconds, full_joules = MEASURED[FULL]
    return (joules / seconds - IDLE_WATTS) / (full_joules / full_seconds - IDLE_WATTS)


#: By clock, what is left of the full one, of the dynamic power (above idle) of a GPU that computes, and how much longer computing takes.
CLOCK_RATIO = tuple([clock / MEASURED[FULL][0] for clock, _, _ in MEASURED])
DYNAMIC_RATIO = tuple([_dynamic_ratio(seconds, joules) for _, seconds, joules in MEASURED])
SLOWDOWN = tuple([seconds / MEASURED[FULL][1] for _, seconds, _ in MEASURED])


def speed_at(speed: float, computing: float, clock: int) -> float:
    """The speed at a clock of a run that computes for the part ``computing`` of its steps, and has ``speed`` at the full one."""
    return speed if clock == FULL else speed / (1.0 + (SLOWDOWN[clock] - 1.0) * computing)


def parts_at(full: Parts, clock: int) -> Parts:
    """At a clock, the parts of the time of a run that has ``full`` at the full one: computing takes more of it."""
    longer = full.computing * SLOWDOWN[clock]
    if clock == FULL or not longer:
        return full
    scale = (full.computing + full.waiting) / (longer + full.waiting)
    return Parts(longer * scale, full.waiting * scale)


def draw_milliwatts(computing_milliwatts: int, full: Parts, waiting_ratio: float, milli_gpus: int, clock: int) -> int:
    """Dynamic milliwatts, in the mean over its time, of a run's part of a GPU: it draws ``computing_milliwatts`` when all of it computes at
    the full clock, and ``waiting_ratio`` of that while it waits. ``full``: as in ``parts_at``.
    """
    computing, waiting = parts_at(full, clock)
    part = computing + waiting * waiting_ratio
    if clock != FULL:
        part *= DYNAMIC_RATIO[clock]
    return int(computing_milliwatts * part * milli_gpus / 1000)
