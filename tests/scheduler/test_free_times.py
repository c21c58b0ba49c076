"""Times at which hosts and GPUs are free against their plain definition, moment by moment."""

import random

import pytest

from emulator.scheduler.free import mask_bits
from emulator.scheduler.free_times import FreeTimes, Holding, Need

GPUS, BLOCKS, FIRST = 4, (0b11, 1 << 63 | 0b11), (0, 2, 66)
FULL, HORIZON = (1 << GPUS) - 1, 60
#: Name -> block, host (-1: whole hosts), holding.
Held = dict[int, tuple[int, int, Holding]]


def random_holding(draw: random.Random) -> tuple[int, int, Holding]:
    start = draw.randrange(40)
    block = draw.randrange(2)
    size = BLOCKS[block].bit_length()
    times = start, start + draw.randrange(1, 20)
    if draw.random() < 0.5:
        first = draw.randrange(size)
        return block, -1, Holding(*times, (BLOCKS[block] >> first << first) & ~(draw.getrandbits(64) & 3 << first), FULL, 1000)
    bit = draw.choice((0, 1, size - 1))
    if draw.random() < 0.5:
        return block, FIRST[block] + bit, Holding(*times, 1 << bit, draw.randrange(1, FULL), 1000)
    return block, FIRST[block] + bit, Holding(*times, 1 << bit, 1 << draw.randrange(GPUS), draw.choice((250, 500)))


def milli_free(held: Held, offered: list[int], begin: int, end: int) -> dict[tuple[int, int], list[int]]:
    """By (block, host of it): what is free of each GPU for the whole time."""
    free = {(block, bit): [1000] * GPUS for block, hosts in enumerate(offered) for bit in mask_bits(hosts)}
    for (block, bit), milli in free.items():
        there = [one for where, _, one in held.values() if where == block and one.hosts >> bit & 1]
        for gpu in range(GPUS):
            mine = [one for one in there if one.gpus >> gpu & 1 and one.start_ns < end and one.end_ns > begin]
            moments = {max(one.start_ns, begin) for one in mine}
            milli[gpu] = 1000 - max((sum(one.milli_gpus for one in mine if one.start_ns <= at < one.end_ns) for at in moments), default=0)
    return free


def fits(need: Need, free: dict[tuple[int, int], list[int]]) -> bool:
    whole = [place for place, milli in free.items() if min(milli) == 1000]
    units = [sum(block == unit for block, _ in whole) for unit in range(2)] if need.units is not None else [len(whole)]
    if max(units) < need.hosts:
        return False
    if not need.rest or len(whole) > need.hosts:
        return True
    return any(sum(one >= need.milli_gpus for one in milli) >= need.rest for place, milli in free.items() if place not in whole)


@pytest.mark.parametrize("seed", range(80))
def test_equals_the_plain_definition(seed: int) -> None:
    draw = random.Random(seed)
    times, held, offered = FreeTimes(BLOCKS, FIRST, FULL), Held(), list(BLOCKS)
    for name in range(30):
        block, host, holding = held[name] = random_holding(draw)
        times.hold(name, block, host, holding)
        if name % 3 == 2:
            gone = draw.choice(list(held))
            times.drop(gone, *held.pop(gone)[:2])
        if name % 10 == 9:
            offered = [hosts & ~(draw.getrandbits(64) & draw.getrandbits(64)) for hosts in BLOCKS]
            for block, hosts in enumerate(offered):
                times.offer(block, hosts)
        now, duration, own = name // 4, draw.randrange(1, 25), draw.choice([None, *held])
        need = draw.choice([Need(draw.randrange(1, 5), 0, 1000, None), Need(0, draw.randrange(1, 4), 1000, None), Need(0, 1, 500, None)])
        since, before, without = now, HORIZON, held
        if own is not None:
            duration = held[own][2].end_ns - held[own][2].start_ns
            since, before = max(now, held[own][2].start_ns - duration + 1), held[own][2].start_ns
            without = {other: one for other, one in held.items() if other != own}
        if since >= before:
            continue
        expected = [fits(need, milli_free(without, offered, at, at + duration)) for at in range(since, before)]
        found = list(times.starts(need, duration, now, since, before, [(own, *held[own][:2])] if own is not None else []))
        begins = [at for at in range(since + 1, before) if expected[at - since] and not expected[at - since - 1]]
        assert set(begins) <= set(found)
        if own is None:
            assert all(expected[at - since] for at in found)
            assert found[:1] == [now] if expected[0] else now not in found


def test_what_is_too_short_without_its_own_holding_is_not_counted() -> None:
    """Host 0 would be free for 7 s around the job's own part of it, which takes 10 s; GPU 0 of host 1 is free from 16 s on."""
    times = FreeTimes((0b11,), (0, 2), FULL)
    held = [(0, 20, 30, 0b0001), (0, 0, 18, 0b1110), (0, 25, 60, 0b1110), (1, 0, 60, 0b1110), (1, 0, 16, 0b0001)]
    for name, (host, start, end, gpus) in enumerate(held):
        times.hold(name, 0, host, Holding(start, end, 1 << host, gpus, 1000))
    assert list(times.starts(Need(0, 1, 1000, None), 10, 0, 11, 20, [(0, 0, 0)])) == [16]
