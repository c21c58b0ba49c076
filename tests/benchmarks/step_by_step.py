"""A replica with given arrivals, one step after the other and every request in each: what ``bench_serving`` compares with.

It runs as Python on lists, and compiled on arrays.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.workload.serving.costs import BLOCK_TOKENS

Ints = list[int] | NDArray[np.int64]


def run_steps(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop over bare arrays: what numba compiles
    costs: Ints,
    table: Ints,
    limits: Ints,
    arrival_ps: Ints,
    prompt: Ints,
    output: Ints,
    generated: Ints,
    first_ps: Ints,
    done_ps: Ints,
    request: Ints,
    computed: Ints,
    blocks: Ints,
    scheduled: Ints,
    stopped: Ints,
) -> None:
    """Serve all requests. ``costs``: base, for each request, KV, attention; ``limits``: tokens, seats, blocks; the last five are by seat.

    ``generated`` and ``first_ps`` are 0 at the start.
    """
    now, coming, running, waits_again, free = 0, 0, 0, 0, limits[2]
    requests = len(arrival_ps)
    while True:
        if running == 0 and waits_again == 0:
            if coming == requests:
                break
            now = max(now, arrival_ps[coming])
        budget, seat, preempted = limits[0], 0, False
        while seat < running:
            one = request[seat]
            tokens = min(prompt[one] + generated[one] - computed[seat], budget)
            needed = max(-(-(computed[seat] + tokens) // BLOCK_TOKENS) - blocks[seat], 0)
            while needed > free and running > seat:
                running -= 1
                free += blocks[running]
                stopped[waits_again] = request[running]
                waits_again += 1
                preempted = True
            if running <= seat:
                break
            blocks[seat] += needed
            free -= needed
            scheduled[seat] = tokens
            budget -= tokens
            seat += 1
        while not preempted and budget > 0:
            again = waits_again > 0
            if not again and (coming == requests or arrival_ps[coming] > now):
                break
            one = stopped[waits_again - 1] if again else coming
            tokens = min(prompt[one] + generated[one], budget)
            needed = -(-tokens // BLOCK_TOKENS)
            if running == limits[1] or needed > free:
                break
            if again:
                waits_again -= 1
            else:
                coming += 1
            request[running], computed[running], blocks[running], scheduled[running] = one, 0, needed, tokens
            free -= needed
            budget -= tokens
            running += 1
        contexts, pairs = 0, 0
        for seat in range(running):
            tokens = scheduled[seat]
            if tokens == 1:
                contexts += computed[seat] + 1
            else:
                pairs += tokens * computed[seat] + tokens * (tokens + 1) // 2
        now += costs[0] + table[limits[0] - budget] + costs[1] * running + costs[2] * contexts + costs[3] * pairs
        kept = 0
        for seat in range(running):
            one = request[seat]
            computed[seat] += scheduled[seat]
            if computed[seat] == prompt[one] + generated[one]:
                generated[one] += 1
                if first_ps[one] == 0:
                    first_ps[one] = now
            if generated[one] == output[one]:
                done_ps[one] = now
                free += blocks[seat]
            else:
                request[kept], computed[kept], blocks[kept] = one, computed[seat], blocks[seat]
                kept += 1
        running = kept
