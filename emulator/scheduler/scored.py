"""From a scorer of single hosts to a placement.

A job of less than a host goes to the host of the highest score: of equal ones to the first split host, else to a whole free one by the rule
of ``topology``. All whole free hosts are alike, so no score tells them apart: of a gang the whole hosts go where ``topology`` puts them,
and the rest to the split host of the highest score in the unit, with the levels required and preferred there.
"""

import numpy as np

from emulator.draws import Stream, below
from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.host_states import State
from emulator.scheduler.packing import pack, part_of_split, part_of_whole, search
from emulator.scheduler.placement import Ask, Placement
from emulator.scheduler.scoring import GPU_MILLI, Hosts, Scorer, Setting, Task, fitting


def scored(name: str, scorer: Scorer) -> Placement:
    """The placement of this name by this scorer, which draws nothing."""

    def place(free: FreeIndex, ask: Ask) -> list[Row] | None:
        """Where the job goes now."""
        return by_score(free, ask, scorer)

    return Placement(name, place, scorer)


def by_score(free: FreeIndex, ask: Ask, scorer: Scorer) -> list[Row] | None:
    """Where the job goes now by a scorer that draws nothing."""
    if ask.milli_gpus < 1000 or ask.gpus < free.gpus_per_host:
        return on_one_host(free, Task(ask.gpus, ask.milli_gpus), scorer)
    rest = ask.gpus % free.gpus_per_host
    if not rest:
        return pack(free, ask.gpus, ask.require_level, ask.prefer_level)
    states, scores = _scores(free, Task(rest), scorer)
    score_of = dict(zip(states, scores, strict=False))
    state_of = free.host_states().state_of

    def rank(_: FreeIndex, host: int) -> tuple[int, int]:
        return -score_of[state_of[host]], host

    return pack(free, ask.gpus, ask.require_level, ask.prefer_level, rank)


def on_one_host(free: FreeIndex, task: Task, scorer: Scorer, seed: int = 0, job_id: int = 0) -> list[Row] | None:
    """Where a task of one host goes now; ``seed`` and ``job_id`` are for scorers that draw."""
    states, scores = _scores(free, task, scorer)
    best = scorer.best(np.array(scores, np.int64)).tolist()
    if not best:
        return None
    in_state = free.host_states().hosts_in
    whole_too = best[-1] == len(states)
    split = [in_state[states[place]] for place in best if place < len(states)]
    if scorer.at_random:
        count = sum(map(len, split))
        drawn = draw_below(count + (free.whole if whole_too else 0), seed, job_id, 0)
        if drawn >= count:
            row = whole_hosts(free, len(free.levels) - 1, 0, [drawn - count])[0]
            return [_part(free, row, task, draw_below(free.gpus_per_host, seed, job_id, 1))]
        for hosts in split:
            if drawn < len(hosts):
                return [_on_split(free, hosts[drawn], task, scorer, seed, job_id)]
            drawn -= len(hosts)
    if split:
        return [_on_split(free, min(hosts[0] for hosts in split), task, scorer, seed, job_id)]
    rows = search(free, 1, 0, len(free.levels))
    assert rows is not None, "a whole host is free"
    return [_part(free, rows[0], task, 0)]


def _scores(free: FreeIndex, task: Task, scorer: Scorer) -> tuple[list[State], list[int]]:
    """The states of split hosts; and the score of each, and behind them of a whole free host: -1 where there is no room."""
    grouped = free.host_states()
    states, hosts = grouped.columns()
    fits = fitting(hosts, task)
    fits[-1] &= free.whole > 0
    scores = np.full(len(fits), -1, np.int64)
    rows = np.flatnonzero(fits)
    if rows.size:
        scores[rows] = scorer.score(hosts.of(rows), task, _setting(free, scorer))
    return states, scores.tolist()


def _setting(free: FreeIndex, scorer: Scorer) -> Setting:
    gpu_milli = max(GPU_MILLI, 1000 * free.gpus_per_host)
    return Setting(gpu_milli=gpu_milli, typical=free.host_states().typical() if scorer.asks_typical else None)


def _on_split(free: FreeIndex, host: int, task: Task, scorer: Scorer, seed: int, job_id: int) -> Row:
    if task.milli_gpus == 1000:
        return part_of_split(free, host, task.gpus)
    rooms = free.rooms(host)
    if scorer.at_random:
        enough = [gpu for gpu, room in enumerate(rooms) if room >= task.milli_gpus]
        gpu = enough[draw_below(len(enough), seed, job_id, 1)]
    else:
        zero = np.zeros(1, np.int64)
        one = Hosts(np.array([rooms], np.int64), np.array([len(rooms)]), zero, zero, zero)
        gpu = scorer.gpu(one, task, _setting(free, scorer))
    block = free.host_block[host]
    return block, 1 << (host - free.first_host[block]), 1 << gpu


def _part(free: FreeIndex, row: Row, task: Task, gpu: int) -> Row:
    """Of the whole host of ``row``: its first GPUs, or for a part of one ``gpu``."""
    return part_of_whole(row, task.gpus) if task.milli_gpus == 1000 else (row[0], row[1], 1 << gpu)


# -- drawing ------------------------------------------------------------------------------------------------------------------------


def draw_below(count: int, seed: int, job_id: int, counter: int) -> int:
    """What is drawn for the job: a number from 0 to ``count`` - 1."""
    return below(count, seed, Stream.PLACEMENT, job_id, counter)


def whole_hosts(free: FreeIndex, index: int, unit: int, numbers: list[int]) -> list[Row]:
    """The whole free hosts of these numbers (rising, from 0) within ``unit`` of search level ``index``; rows in order of block."""
    if index == 0:
        mask, chosen, passed = free.block_free[unit], 0, 0
        for number in numbers:
            while passed < number:
                mask &= mask - 1
                passed += 1
            chosen |= mask & -mask
        return [(unit, chosen, free.full)]
    level, counts = free.levels[index], free.levels[index - 1].counts
    rows: list[Row] = []
    start = at = 0
    for child in range(level.first_child[unit], level.first_child[unit + 1]):
        end = at
        while end < len(numbers) and numbers[end] < start + counts[child]:
            end += 1
        if end > at:
            rows += whole_hosts(free, index - 1, child, [number - start for number in numbers[at:end]])
        if end == len(numbers):
            break
        start, at = start + counts[child], end
    return rows
