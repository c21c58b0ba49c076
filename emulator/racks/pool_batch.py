"""What one replica of a pool does: continuous batching in the manner of vLLM's V1 scheduler, many steps at a time.

(docs.vllm.ai, "Architecture overview"; vllm/v1/core/sched/scheduler.py.) A step has a budget of tokens. Those who run come first: one token
each where they decode, the next part of the prompt where they do not. Then who waits, higher priority first, then first come first served,
as long as there are tokens, seats and blocks of KV memory. Where a block lacks, the last in that order of those who run gives back all of
its blocks and waits again; prompt and generated tokens are computed anew. Nobody begins in a step in which somebody had to stop.

What a step takes (``workload.serving.costs.StepCosts``) is a sum of whole picoseconds, in which only contexts change from step to step. So
steps in which everybody decodes are a sum in closed form, and where they are cut changes nothing. What lies ahead is only planned: it is
written down when it ends. Each who decodes takes ``WIDTH`` tokens of a step's budget, and there are never more than it has room for.

Everybody who runs has at least one token in each step: nobody begins without one behind those who have theirs, and after that they need one
each. For the same reason at most one of them still computes its prompt, and it began last.

Plain functions over tables; they run as Python and compiled.
"""

import math

from emulator.racks.pool_cache import in_use, leave_pieces, list_pieces, make_room, pieces_there, publish, use_pieces
from emulator.racks.pool_layout import (
    AGAIN_TOKENS,
    AHEAD_COMPUTE,
    AHEAD_CROSSING,
    AHEAD_FLOOR,
    AHEAD_PROMPT,
    ATTENTION,
    BASE,
    BEGUN,
    BESIDE,
    BINS,
    BLOCKED,
    BLOCKS,
    BUDGET,
    BUSY,
    CACHE_BLOCKS,
    CACHE_TOKENS,
    CACHED,
    CACHED_TOKENS,
    COMPUTE,
    COMPUTED,
    CROSSED,
    CROSSING,
    DECODE_BASE,
    DECODE_BESIDE,
    DECODE_CROSSING,
    DECODE_IN_ALL,
    DECODES,
    DECODING,
    DECODING_NOW,
    FINISH,
    FLOOR,
    GENERATED,
    HASHES,
    HEAD,
    HELD,
    IN_ALL,
    JOINING,
    JOINING_NOW,
    KIND,
    KV,
    MEMORY,
    MORE_PS,
    NEVER_PS,
    NONE,
    NOT_YET,
    OFFSET,
    OFFSETS,
    OUTPUT,
    PARTIAL,
    PER_RUNNING,
    PHASE,
    PREEMPTIONS,
    PREFILLING,
    PRIORITY,
    PROMPT,
    READY,
    RESERVES,
    RESTS,
    SEATS,
    SLOT,
    START,
    STEP,
    STEP_PS,
    STEPS,
    STEPS_AHEAD,
    STEPS_ONCE,
    TABLE,
    TOKENS_IN,
    TOKENS_OUT,
    TURN,
    USED,
    WAITING,
    WAITING_NOW,
    WIDTH,
    Ints,
)
from emulator.racks.pool_queues import line_up, seat_in, seat_out, step_out
from emulator.workload.serving.costs import BLOCK_TOKENS


def sum_ps(steps: int, step_ps: int, more_ps: int) -> int:
    """``steps`` steps, each of which takes ``more_ps`` longer than the one before."""
    return step_ps * steps + more_ps * (steps * (steps - 1) // 2)


def steps_to(left_ps: int, most: int, step_ps: int, more_ps: int) -> int:
    """The fewest steps, of at most ``most``, that take as long."""
    if more_ps == 0:
        return max(1, min(most, -(-left_ps // step_ps)))
    # The root of the sum, nearly; then whole numbers decide.
    half = step_ps - 0.5 * more_ps
    steps = max(1, min(most, int((math.sqrt(half * half + 2.0 * more_ps * left_ps) - half) / more_ps)))
    while steps < most and sum_ps(steps, step_ps, more_ps) < left_ps:
        steps += 1
    while steps > 1 and sum_ps(steps - 1, step_ps, more_ps) >= left_ps:
        steps -= 1
    return steps


def steps_ended(now: int, place: int, replica: Ints) -> int:
    """Steps of those ahead that have ended before ``now``, which is at most just behind the end of the last."""
    step_ps, more_ps = replica[place, STEP_PS], replica[place, MORE_PS]
    return steps_to(now - replica[place, START], replica[place, STEPS_AHEAD], step_ps, more_ps) - 1


def blocks_of(tokens: int) -> int:
    """Blocks of KV memory for so many tokens."""
    return -(-tokens // BLOCK_TOKENS)


def blocks_ahead(place: int, steps: int, replica: Ints) -> int:
    """Blocks that those who decode take in the next ``steps`` steps."""
    step = replica[place, STEP]
    blocks = steps // BLOCK_TOKENS * replica[place, DECODING_NOW]
    for more in range(steps % BLOCK_TOKENS):
        blocks += replica[place, BINS + (step + more) % BLOCK_TOKENS]
    return int(blocks)


def steps_in(place: int, free: int, replica: Ints) -> int:
    """Steps for which ``free`` blocks last."""
    step, decoding = replica[place, STEP], replica[place, DECODING_NOW]
    steps = free // decoding * BLOCK_TOKENS
    left = free % decoding
    while left >= replica[place, BINS + (step + steps) % BLOCK_TOKENS]:
        left -= replica[place, BINS + (step + steps) % BLOCK_TOKENS]
        steps += 1
    return int(steps)


def blocks_held(one: int, place: int, state: Ints, replica: Ints, slot: Ints) -> int:
    """Blocks of one who runs, between two steps."""
    if state[RESERVES] == 0 and slot[one, PHASE] == DECODING:
        return blocks_of(replica[place, STEP] - slot[one, OFFSET])
    return int(slot[one, HELD])


def leave_seat(one: int, place: int, state: Ints, replica: Ints, slot: Ints, seat: Ints, hashed: Ints, piece: Ints) -> None:
    """Between two steps, one who runs stops: its seat and its blocks are free, COMPUTED and GENERATED are what it has."""
    replica[place, USED] -= blocks_held(one, place, state, replica, slot)
    replica[place, BLOCKED] = 0
    slot[one, HELD] = 0
    if state[CACHE_TOKENS] != 0:
        leave_pieces(one, place, state, replica, slot, hashed, piece)
    if slot[one, PHASE] != DECODING:
        replica[place, PARTIAL] = NONE
        return
    offset, size = slot[one, OFFSET], replica[place, DECODING_NOW]
    at = 0
    while seat[place, at, SLOT] != one:
        at += 1
    seat_out(seat, place, at, size)
    replica[place, DECODING_NOW] = size - 1
    replica[place, OFFSETS] -= offset
    replica[place, BINS + offset % BLOCK_TOKENS] -= 1
    slot[one, COMPUTED] = replica[place, STEP] - offset
    slot[one, GENERATED] = slot[one, COMPUTED] + 1 - slot[one, PROMPT]


def preempt(place: int, state: Ints, replica: Ints, slot: Ints, seat: Ints, hashed: Ints, piece: Ints) -> None:
    """The last, by priority and turn, of those who run stops and waits again."""
    last = replica[place, PARTIAL]
    for at in range(replica[place, DECODING_NOW]):
        one = seat[place, at, SLOT]
        if (
            last == NONE
            or slot[one, PRIORITY] < slot[last, PRIORITY]
            or (slot[one, PRIORITY] == slot[last, PRIORITY] and slot[one, TURN] > slot[last, TURN])
        ):
            last = one
    leave_seat(last, place, state, replica, slot, seat, hashed, piece)
    replica[place, PREEMPTIONS] += 1
    replica[place, AGAIN_TOKENS] += slot[last, COMPUTED]
    slot[last, COMPUTED] = 0
    slot[last, PHASE] = WAITING
    line_up(last, place, replica, slot)


def begin(  # noqa: PLR0917
    place: int, now: int, state: Ints, table: Ints, replica: Ints, slot: Ints, seat: Ints, hashed: Ints, piece: Ints, bucket: Ints
) -> int:
    """Plan what comes next from ``now`` on; gives the time when it ends, NEVER_PS where there is nothing to do."""
    decoding, partial, waiting = replica[place, DECODING_NOW], replica[place, PARTIAL], replica[place, WAITING_NOW]
    replica[place, START] = now
    if decoding == 0 and partial == NONE and waiting == 0:
        replica[place, KIND] = RESTS
        return NEVER_PS
    if decoding > 0 and partial == NONE and (waiting == 0 or replica[place, BLOCKED] != 0):
        step = replica[place, STEP]
        steps = seat[place, 0, FINISH] - step
        if state[RESERVES] == 0:
            free = state[BLOCKS] - replica[place, USED]
            if decoding * blocks_of(steps) > free:
                steps = min(steps, steps_in(place, free, replica))
        if steps > 0:
            contexts, row = decoding * (step + 1) - replica[place, OFFSETS], replica[place, TABLE]
            floor = replica[place, DECODE_BASE] + replica[place, PER_RUNNING] * decoding
            crossing = replica[place, DECODE_CROSSING] * decoding
            step_ps = floor + table[row + DECODE_IN_ALL, decoding] + replica[place, KV] * contexts + crossing
            more_ps = replica[place, KV] * decoding
            replica[place, KIND], replica[place, AHEAD_FLOOR], replica[place, AHEAD_CROSSING] = DECODES, floor, crossing
            replica[place, AHEAD_COMPUTE] = table[row + DECODE_IN_ALL, decoding] - table[row + DECODE_BESIDE, decoding]
            replica[place, STEPS_AHEAD], replica[place, STEP_PS], replica[place, MORE_PS] = steps, step_ps, more_ps
            return int(now + sum_ps(steps, step_ps, more_ps))
    return begin_step(place, now, state, table, replica, slot, seat, hashed, piece, bucket)


def begin_step(  # noqa: C901, PLR0912, PLR0915, PLR0917 - the order of a step
    place: int, now: int, state: Ints, table: Ints, replica: Ints, slot: Ints, seat: Ints, hashed: Ints, piece: Ints, bucket: Ints
) -> int:
    """One step in which prompts are computed, somebody begins or somebody has to stop."""
    reserves, step, cached = state[RESERVES], replica[place, STEP], state[CACHE_TOKENS] != 0
    before = replica[place, PREEMPTIONS]
    while reserves == 0 and replica[place, BINS + step % BLOCK_TOKENS] > state[BLOCKS] - replica[place, USED]:
        preempt(place, state, replica, slot, seat, hashed, piece)
    partial = replica[place, PARTIAL]
    tokens, more = 0, 0
    if partial != NONE:
        known = slot[partial, PROMPT] + slot[partial, GENERATED]
        tokens = min(known - slot[partial, COMPUTED], state[BUDGET] - state[WIDTH] * replica[place, DECODING_NOW])
        if reserves == 0:
            more = blocks_of(slot[partial, COMPUTED] + tokens) - slot[partial, HELD]
            while replica[place, BINS + step % BLOCK_TOKENS] + more > state[BLOCKS] - replica[place, USED]:
                preempt(place, state, replica, slot, seat, hashed, piece)
                if replica[place, PARTIAL] == NONE:
                    tokens, more = 0, 0
                    break
    preempted = replica[place, PREEMPTIONS] > before
    decoding = replica[place, DECODING_NOW]
    if reserves == 0:
        replica[place, USED] += replica[place, BINS + step % BLOCK_TOKENS] + more
        if cached:
            make_room(place, state, replica, piece, bucket)
    width = state[WIDTH]
    budget = state[BUDGET] - width * decoding - tokens
    contexts, pairs, of_prompt, joining = decoding * (step + 1) - replica[place, OFFSETS], 0, 0, 0
    running, begun = decoding, False
    if tokens > 0:
        running += 1
        computed = slot[partial, COMPUTED]
        if tokens == 1:
            contexts += computed + 1
        else:
            pairs += tokens * computed + tokens * (tokens + 1) // 2
        of_prompt += max(min(computed + tokens, slot[partial, PROMPT]) - computed, 0)
        slot[partial, COMPUTED] = computed + tokens
        slot[partial, HELD] += more
        if cached:
            list_pieces(partial, place, state, slot, hashed, piece, bucket)
        if computed + tokens == slot[partial, PROMPT] + slot[partial, GENERATED]:
            slot[partial, PHASE] = JOINING
            seat[place, decoding, SLOT] = partial
            joining = 1
            replica[place, PARTIAL] = NONE
    while not preempted and budget > 0 and replica[place, WAITING_NOW] > 0 and replica[place, BLOCKED] == 0:
        one = replica[place, HEAD]
        known = slot[one, PROMPT] + slot[one, GENERATED]
        found, shared = 0, 0
        if cached and slot[one, HASHES] > 0:
            found = pieces_there(one, known, place, state, slot, hashed, piece, bucket)
            shared = state[CACHE_BLOCKS] * in_use(one, found, slot, hashed, piece)
        computed = max(found * state[CACHE_TOKENS], slot[one, READY])
        tokens = min(known - computed, budget)
        held = blocks_of(computed + tokens) if reserves == 0 else blocks_of(slot[one, PROMPT] + slot[one, OUTPUT])
        needed = held - shared
        if running == state[SEATS] or needed > state[BLOCKS] - replica[place, USED]:
            replica[place, BLOCKED] = 1  # until somebody ends or stops, or another is first
            break
        step_out(one, place, replica, slot)
        replica[place, USED] += needed
        budget -= tokens
        running += 1
        if tokens == 1:
            contexts += computed + 1
        else:
            pairs += tokens * computed + tokens * (tokens + 1) // 2
        of_prompt += max(min(computed + tokens, slot[one, PROMPT]) - computed, 0)
        slot[one, COMPUTED], slot[one, HELD], slot[one, READY] = computed + tokens, held, 0
        if cached:
            use_pieces(one, found, place, state, replica, slot, hashed, piece)
            make_room(place, state, replica, piece, bucket)
            list_pieces(one, place, state, slot, hashed, piece, bucket)
            if slot[one, BEGUN] == NOT_YET:
                slot[one, CACHED] = computed
                replica[place, CACHED_TOKENS] += computed
        if slot[one, BEGUN] == NOT_YET:
            slot[one, BEGUN] = now
        begun = True
        if computed + tokens == known:
            slot[one, PHASE] = JOINING
            seat[place, decoding + joining, SLOT] = one
            joining += 1
        else:
            slot[one, PHASE] = PREFILLING
            replica[place, PARTIAL] = one
    if budget == 0 and width * decoding == state[BUDGET]:
        replica[place, BLOCKED] = 1  # all tokens of a step are theirs until one of them ends
    if cached and (begun or preempted):
        publish(place, state, replica, piece, bucket)
    replica[place, KIND], replica[place, JOINING_NOW] = STEPS_ONCE, joining
    prompts, row = state[BUDGET] - budget - width * decoding, replica[place, TABLE]
    in_all, beside = table[row + IN_ALL, width * decoding + prompts], table[row + BESIDE, width * decoding + prompts]
    if width > 1:  # else those who decode take what as many tokens of prompts do
        in_all += table[row + DECODE_IN_ALL, decoding] - table[row + IN_ALL, width * decoding]
        beside += table[row + DECODE_BESIDE, decoding] - table[row + BESIDE, width * decoding]
    floor = (replica[place, DECODE_BASE] if decoding > 0 else replica[place, BASE]) + replica[place, PER_RUNNING] * running
    compute = in_all - beside + replica[place, ATTENTION] * pairs
    crossing = replica[place, DECODE_CROSSING] * decoding + replica[place, CROSSING] * prompts
    replica[place, AHEAD_PROMPT], replica[place, AHEAD_FLOOR] = of_prompt, floor
    replica[place, AHEAD_COMPUTE], replica[place, AHEAD_CROSSING] = compute, crossing
    step_ps = floor + beside + replica[place, KV] * contexts + compute + crossing
    replica[place, STEPS_AHEAD], replica[place, STEP_PS], replica[place, MORE_PS] = 1, step_ps, 0
    return int(now + step_ps)


def write_down(place: int, steps: int, state: Ints, replica: Ints, piece: Ints, bucket: Ints) -> None:
    """``steps`` of the steps ahead have ended: the counts of them, and of those who decode. The others stay ahead."""
    decoding = replica[place, DECODING_NOW]
    took = sum_ps(steps, replica[place, STEP_PS], replica[place, MORE_PS])
    floor, compute = steps * replica[place, AHEAD_FLOOR], steps * replica[place, AHEAD_COMPUTE]
    memory = took - floor - compute
    if replica[place, AHEAD_CROSSING] != 0:
        crossed = steps * replica[place, AHEAD_CROSSING]
        memory -= crossed
        replica[place, CROSSED] += crossed
    if replica[place, KIND] != DECODES:
        replica[place, TOKENS_IN] += replica[place, AHEAD_PROMPT]
    elif state[RESERVES] == 0:
        replica[place, USED] += blocks_ahead(place, steps, replica)
        if state[CACHE_TOKENS] != 0:
            make_room(place, state, replica, piece, bucket)
    replica[place, STEP] += steps
    replica[place, STEPS] += steps
    replica[place, TOKENS_OUT] += steps * decoding
    replica[place, BUSY] += took
    replica[place, FLOOR] += floor
    replica[place, MEMORY] += memory
    replica[place, COMPUTE] += compute


def join(one: int, place: int, replica: Ints, slot: Ints, seat: Ints) -> None:
    """The prompt of ``one`` is computed and its next token is there: it decodes from now on."""
    decoding, step = replica[place, DECODING_NOW], replica[place, STEP]
    offset = step - slot[one, COMPUTED]
    slot[one, OFFSET], slot[one, PHASE] = offset, DECODING
    seat_in(seat, place, decoding, step + slot[one, OUTPUT] - slot[one, GENERATED], one)
    replica[place, DECODING_NOW] = decoding + 1
    replica[place, OFFSETS] += offset
    replica[place, BINS + offset % BLOCK_TOKENS] += 1
