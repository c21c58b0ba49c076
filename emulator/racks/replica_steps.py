"""The steps of a replica with continuous batching: one loop, which runs as Python and compiled, with the same results.

The manner is that of vLLM's V1 scheduler (docs.vllm.ai, "Architecture overview"; vllm/v1/core/sched/scheduler.py). A step has a budget of
tokens. Those who run come first, in the order in which they began: one token each where they decode, the next part of the prompt where they
do not. Then who waits, first come first served, as long as there are tokens, places and blocks of KV memory. Where a block lacks, the one
that began last gives back all of its blocks and waits again, first in line; prompt and generated tokens are computed anew. Nobody begins in
a step in which somebody had to stop.

A step takes ``base + table[tokens] + running * (those in it) + kv * (contexts read) + attention * (pairs of prefills)`` picoseconds, all of
them whole numbers. So a stretch of steps in which everybody decodes is a sum in closed form, and where a run is cut changes nothing.
"""

import numpy as np
from numpy.typing import NDArray

from emulator.workload.serving.costs import BLOCK_TOKENS

Ints = list[int] | NDArray[np.int64]

#: No time: it has not happened.
NOT_YET = -1
#: A time after everything.
NEVER_PS = 2**62

# Places in ``state``.
NOW, NEXT, RUNNING, STOPPED, FREE, BLOCKED, RELEASED = range(7)
# Places in ``costs``.
BASE, PER_RUNNING, KV, ATTENTION = range(4)
# Places in ``limits``. RESERVES: a request gets the blocks of its whole length when it begins (TensorRT-LLM's way). CLOSED: whenever a
# request is done, the next one that has not arrived does (a closed loop, as load generators with a fixed concurrency have it).
BUDGET, SEATS, RESERVES, CLOSED = range(4)
# Places in ``counts``.
STEPS, PREEMPTIONS, AGAIN_TOKENS, PROMPT_TOKENS, OUTPUT_TOKENS, BUSY_PS = range(6)


def run_steps(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one loop over bare arrays: what numba compiles
    until_ps: int,
    costs: Ints,
    table: Ints,
    limits: Ints,
    arrival_ps: Ints,
    prompt: Ints,
    output: Ints,
    generated: Ints,
    first_ps: Ints,
    done_ps: Ints,
    state: Ints,
    counts: Ints,
    request: Ints,
    computed: Ints,
    blocks: Ints,
    scheduled: Ints,
    stopped: Ints,
) -> None:
    """Run every step that begins before ``until_ps``.

    By request, in order of arrival: ``arrival_ps``, tokens of ``prompt`` and ``output`` (at least 1 each), and what becomes of it: tokens
    ``generated``, ``first_ps`` and ``done_ps``, when its first and its last token were there. By seat, those who run, in the order in which
    they began: ``request``, tokens ``computed``, ``blocks`` held and tokens ``scheduled`` in this step. ``stopped`` are those who gave back
    their blocks, the next one last. ``table`` has an entry for each number of tokens up to the budget.

    Every request fits alone into the blocks that are free at the start.
    """
    now, coming, running, waits_again, free, blocked = state[NOW], state[NEXT], state[RUNNING], state[STOPPED], state[FREE], state[BLOCKED]
    released = state[RELEASED]
    requests = len(arrival_ps)
    while True:
        if running == 0 and waits_again == 0:
            if coming == requests or arrival_ps[coming] == NEVER_PS:
                break
            now = max(now, arrival_ps[coming])
        if now >= until_ps:
            break
        waiting = waits_again > 0 or (coming < requests and arrival_ps[coming] <= now)
        # Who decodes reads its context; the fewest tokens that one of them has left.
        decodes, contexts, fewest = running > 0 and not (waiting and blocked == 0), 0, NEVER_PS
        if decodes:
            for seat in range(running):
                one = request[seat]
                if generated[one] == 0 or prompt[one] + generated[one] - computed[seat] != 1:
                    decodes = False
                    break
                contexts += computed[seat] + 1
                fewest = min(fewest, output[one] - generated[one])
        steps = 0  # of a stretch in which all who run decode; 0: there is none
        if decodes and running <= limits[BUDGET]:
            step_ps = costs[BASE] + table[running] + costs[PER_RUNNING] * running + costs[KV] * contexts
            more_ps = costs[KV] * running  # each step takes so much longer than the one before
            steps = fewest
            # Whoever arrives is seen when the step ends in which that happens; so is the end of the window.
            stop_ps = until_ps
            if blocked == 0 and coming < requests and arrival_ps[coming] < stop_ps:
                stop_ps = arrival_ps[coming]
            left_ps = stop_ps - now
            if step_ps * steps + more_ps * (steps * (steps - 1) // 2) >= left_ps:
                low, high = 1, steps  # the first number of steps that takes as long
                if more_ps == 0:
                    low = high = -(-left_ps // step_ps)
                while low < high:
                    middle = (low + high) // 2
                    if step_ps * middle + more_ps * (middle * (middle - 1) // 2) >= left_ps:
                        high = middle
                    else:
                        low = middle + 1
                steps = low
            if limits[RESERVES] == 0 and running * (-(-steps // BLOCK_TOKENS)) > free:
                low, high = 0, steps  # the most steps that the free blocks last for
                while low < high:
                    middle = (low + high + 1) // 2
                    needed = 0
                    for seat in range(running):
                        needed += -(-(computed[seat] + middle) // BLOCK_TOKENS) - blocks[seat]
                    if needed <= free:
                        low = middle
                    else:
                        high = middle - 1
                steps = low
        if steps > 0:
            taken_ps = step_ps * steps + more_ps * (steps * (steps - 1) // 2)
            counts[STEPS] += steps
            counts[OUTPUT_TOKENS] += steps * running
            for seat in range(running):
                computed[seat] += steps
                generated[request[seat]] += steps
                if limits[RESERVES] == 0:
                    needed = -(-computed[seat] // BLOCK_TOKENS) - blocks[seat]
                    blocks[seat] += needed
                    free -= needed
        else:
            # -- one step --------------------------------------------------------------------------------------------------------------
            budget, seat, preempted = limits[BUDGET], 0, False
            while seat < running and budget > 0:
                one = request[seat]
                tokens = min(prompt[one] + generated[one] - computed[seat], budget)
                needed = max(-(-(computed[seat] + tokens) // BLOCK_TOKENS) - blocks[seat], 0)
                while needed > free and running > seat:
                    running -= 1  # the one that began last
                    last = request[running]
                    free += blocks[running]
                    counts[PREEMPTIONS] += 1
                    counts[AGAIN_TOKENS] += computed[running]
                    stopped[waits_again] = last
                    waits_again += 1
                    preempted = True
                if running <= seat:
                    break  # that was itself
                blocks[seat] += needed
                free -= needed
                scheduled[seat] = tokens
                budget -= tokens
                seat += 1
            in_step = seat
            for later in range(seat, running):
                scheduled[later] = 0
            if preempted:
                blocked = 0
            while not preempted and budget > 0:
                again = waits_again > 0
                if not again and (coming == requests or arrival_ps[coming] > now):
                    break
                one = stopped[waits_again - 1] if again else coming
                known = prompt[one] + generated[one]
                tokens = min(known, budget)
                needed = -(-tokens // BLOCK_TOKENS)
                if limits[RESERVES] != 0:
                    needed = -(-(prompt[one] + output[one]) // BLOCK_TOKENS)
                if running == limits[SEATS] or needed > free:
                    blocked = 1
                    break
                if again:
                    waits_again -= 1
                else:
                    coming += 1
                request[running], computed[running], blocks[running], scheduled[running] = one, 0, needed, tokens
                free -= needed
                budget -= tokens
                running += 1
                in_step += 1
            contexts, pairs = 0, 0
            for seat in range(running):
                tokens = scheduled[seat]
                if tokens == 1:
                    contexts += computed[seat] + 1
                else:
                    pairs += tokens * computed[seat] + tokens * (tokens + 1) // 2
            taken_ps = (
                costs[BASE]
                + table[limits[BUDGET] - budget]
                + costs[PER_RUNNING] * in_step
                + costs[KV] * contexts
                + costs[ATTENTION] * pairs
            )
            counts[STEPS] += 1
            for seat in range(running):
                one = request[seat]
                before, computed[seat] = computed[seat], computed[seat] + scheduled[seat]
                counts[PROMPT_TOKENS] += max(min(computed[seat], prompt[one]) - before, 0)
                if scheduled[seat] > 0 and computed[seat] == prompt[one] + generated[one]:
                    generated[one] += 1
                    counts[OUTPUT_TOKENS] += 1
                    if first_ps[one] == NOT_YET:
                        first_ps[one] = now + taken_ps
        # -- who is done leaves ----------------------------------------------------------------------------------------------------------
        now += taken_ps
        counts[BUSY_PS] += taken_ps
        kept = 0
        for seat in range(running):
            one = request[seat]
            if generated[one] == output[one]:
                done_ps[one] = now
                free += blocks[seat]
                blocked = 0
                if limits[CLOSED] != 0 and released < requests:
                    arrival_ps[released] = now
                    released += 1
            else:
                request[kept], computed[kept], blocks[kept] = one, computed[seat], blocks[seat]
                kept += 1
        running = kept
    state[NOW], state[NEXT], state[RUNNING], state[STOPPED], state[FREE], state[BLOCKED] = now, coming, running, waits_again, free, blocked
    state[RELEASED] = released
