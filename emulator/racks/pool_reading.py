"""A pool read at a time, between the events of its replicas: what has happened of the steps ahead, for all places at once."""

import numpy as np
from numpy.typing import NDArray

from emulator.racks import pool_layout as at
from emulator.racks.pool_records import PoolReading
from emulator.workload.serving.costs import BLOCK_TOKENS

Int64 = NDArray[np.int64]


def reading(now_ps: int, state: Int64, replica: Int64) -> PoolReading:
    """As after ``write_down`` of the steps that have ended before ``now_ps``, but nothing is changed."""
    place = np.flatnonzero(replica[:, at.STATUS] != at.SHUT)
    rows = replica[place]
    ahead, decoding = rows[:, at.KIND] == at.DECODES, rows[:, at.DECODING_NOW]
    step_ps, more_ps = rows[:, at.STEP_PS], rows[:, at.MORE_PS]
    ended = np.where(ahead, _steps_ended(now_ps - rows[:, at.START], rows), 0)
    counts = {column: rows[:, column].copy() for column in at.COUNTS}
    took = ended * step_ps + more_ps * (ended * (ended - 1) // 2)
    floor, compute, crossed = (ended * rows[:, column] for column in (at.AHEAD_FLOOR, at.AHEAD_COMPUTE, at.AHEAD_CROSSING))
    for column, more in (
        (at.STEPS, ended),
        (at.TOKENS_OUT, ended * decoding),
        (at.BUSY, took),
        (at.FLOOR, floor),
        (at.COMPUTE, compute),
        (at.MEMORY, took - floor - compute - crossed),
        (at.CROSSED, crossed),
    ):
        counts[column] += more
    blocks = rows[:, at.USED].copy()
    if not state[at.RESERVES]:
        blocks += np.where(ahead, _blocks_ahead(ended + 1, rows), 0)  # of the step under way too
    running = decoding + rows[:, at.JOINING_NOW] + (rows[:, at.PARTIAL] != at.NONE)
    return PoolReading(place, running, rows[:, at.WAITING_NOW].copy(), blocks, *(counts[column] for column in at.COUNTS))


def _steps_ended(left_ps: Int64, rows: Int64) -> Int64:
    """The fewest steps that take as long, less one."""
    step_ps, more_ps = rows[:, at.STEP_PS], rows[:, at.MORE_PS]
    low, high = np.ones(len(rows), np.int64), np.maximum(rows[:, at.STEPS_AHEAD], 1)
    while np.any(low < high):
        middle = (low + high) // 2
        enough = step_ps * middle + more_ps * (middle * (middle - 1) // 2) >= left_ps
        open_yet = low < high
        high = np.where(open_yet & enough, middle, high)
        low = np.where(open_yet & ~enough, middle + 1, low)
    return low - 1


def _blocks_ahead(steps: Int64, rows: Int64) -> Int64:
    bins = rows[:, at.BINS : at.BINS + BLOCK_TOKENS]
    blocks = steps // BLOCK_TOKENS * rows[:, at.DECODING_NOW]
    for more in range(BLOCK_TOKENS):
        place = (rows[:, at.STEP] + more) % BLOCK_TOKENS
        blocks += np.where(more < steps % BLOCK_TOKENS, np.take_along_axis(bins, place[:, None], 1)[:, 0], 0)
    return blocks
