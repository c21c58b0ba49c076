"""How requests of a pool end, come again, or go away. Plain functions over tables; they run as Python and compiled."""

from emulator.racks.pool_batch import leave_seat, steps_to, sum_ps
from emulator.racks.pool_cache import publish
from emulator.racks.pool_layout import (
    ARRIVES,
    AT_START,
    BEGUN,
    CACHED,
    CANCEL,
    CANCELLED,
    DECODES,
    DUE,
    DUE_AT,
    ENDED,
    ENDS,
    FINISHED,
    FIRST,
    FIRST_ARRIVAL,
    FREE_SLOT,
    FREE_SLOTS,
    GENERATED,
    GIVES_UP,
    KIND,
    L_ARRIVAL,
    L_BEGUN,
    L_CACHED,
    L_DONE,
    L_FIRST,
    L_GENERATED,
    L_HOW,
    L_NUMBER,
    L_OUTPUT,
    L_PLACE,
    L_PRIORITY,
    L_PROMPT,
    L_TAG,
    L_TRIES,
    L_WAY,
    LEAVERS,
    LEAVES,
    LEAVES_AT,
    LOST,
    LOST_TOKENS,
    MAY_LEAVE,
    MORE_PS,
    NEVER_PS,
    NEXT,
    NONE,
    NOT_YET,
    NOWHERE,
    NUMBER,
    OUTPUT,
    OUTSTANDING,
    PHASE,
    PLACE,
    PRIORITY,
    PROMPT,
    READY,
    RETRIES,
    RETRY_AFTER,
    RETRY_AT,
    RETRYING,
    RETRYING_NOW,
    START,
    STEP_PS,
    STEPS_AHEAD,
    TAG,
    THINK,
    THINKING,
    TIMED_OUT,
    TRIES,
    WAITING,
    WAY,
    Ints,
)
from emulator.racks.pool_queues import drop, put, step_out
from emulator.racks.pool_routes import weigh


def end(one: int, now: int, how: int, state: Ints, slot: Ints, log: Ints, leaving: Ints, again: Ints) -> None:
    """A request that stands in no queue and at no seat ends. If a user of a closed loop made it, the user asks again: where there was no
    answer also the time between two tries later, or who is always turned away would ask for ever at one instant.
    """
    at = state[ENDED]
    state[ENDED] = at + 1
    log[at, L_NUMBER], log[at, L_ARRIVAL], log[at, L_FIRST], log[at, L_DONE] = (
        slot[one, NUMBER],
        slot[one, FIRST_ARRIVAL],
        slot[one, FIRST],
        now,
    )
    log[at, L_PROMPT], log[at, L_OUTPUT], log[at, L_GENERATED] = slot[one, PROMPT], slot[one, OUTPUT], slot[one, GENERATED]
    log[at, L_CACHED], log[at, L_TRIES], log[at, L_PLACE] = slot[one, CACHED], slot[one, TRIES], slot[one, PLACE]
    log[at, L_HOW], log[at, L_TAG], log[at, L_BEGUN] = how, slot[one, TAG], slot[one, BEGUN]
    log[at, L_PRIORITY], log[at, L_WAY] = slot[one, PRIORITY], slot[one, WAY]
    if slot[one, GENERATED] < slot[one, OUTPUT]:
        state[LOST_TOKENS] += slot[one, GENERATED]
    drop(leaving, MAY_LEAVE, state, one, slot, LEAVES_AT)
    if slot[one, THINK] == NONE:
        give_slot_back(one, state, slot)
        return
    slot[one, PHASE] = THINKING
    asks_ps = now + slot[one, THINK] + (0 if how == FINISHED else state[RETRY_AFTER])
    put(again, RETRYING_NOW, state, one, 4 * asks_ps + ARRIVES, slot[one, NUMBER], slot, RETRY_AT)


def give_slot_back(one: int, state: Ints, slot: Ints) -> None:
    """Another request may have the slot."""
    slot[one, PHASE] = NOWHERE
    slot[one, NEXT] = state[FREE_SLOT]
    state[FREE_SLOT] = one
    state[FREE_SLOTS] += 1


def turn_away(one: int, now: int, how: int, state: Ints, slot: Ints, log: Ints, leaving: Ints, again: Ints) -> None:
    """A request that was rejected, or lost with its replica, comes again later, or ends where it has come often enough."""
    if slot[one, TRIES] > state[RETRIES]:
        end(one, now, how, state, slot, log, leaving, again)
        return
    state[LOST_TOKENS] += slot[one, GENERATED]
    slot[one, PHASE], slot[one, PLACE], slot[one, GENERATED], slot[one, FIRST], slot[one, BEGUN] = RETRYING, NONE, 0, NOT_YET, NOT_YET
    if how == LOST:
        slot[one, READY] = 0
    put(again, RETRYING_NOW, state, one, 4 * (now + state[RETRY_AFTER]) + ARRIVES, slot[one, NUMBER], slot, RETRY_AT)
    may_leave(one, slot[one, CANCEL], state, slot, leaving)


def may_leave(one: int, at_ps: int, state: Ints, slot: Ints, leaving: Ints) -> None:
    """The client of a request may go away at a time."""
    if at_ps == NEVER_PS:
        drop(leaving, MAY_LEAVE, state, one, slot, LEAVES_AT)
    else:
        put(leaving, MAY_LEAVE, state, one, 4 * at_ps + GIVES_UP, slot[one, NUMBER], slot, LEAVES_AT)


def cut(place: int, now: int, state: Ints, replica: Ints, due: Ints) -> None:
    """Something happens at a replica: its steps ahead end with the first that ends then or later."""
    if replica[place, KIND] != DECODES:
        return
    step_ps, more_ps = replica[place, STEP_PS], replica[place, MORE_PS]
    steps = steps_to(now - replica[place, START], replica[place, STEPS_AHEAD], step_ps, more_ps)
    if steps < replica[place, STEPS_AHEAD]:
        replica[place, STEPS_AHEAD] = steps
        put(due, DUE, state, place, 4 * (replica[place, START] + sum_ps(steps, step_ps, more_ps)) + ENDS, place, replica, DUE_AT)


def go_away(  # noqa: PLR0913, PLR0917
    one: int,
    now: int,
    state: Ints,
    replica: Ints,
    slot: Ints,
    seat: Ints,
    log: Ints,
    due: Ints,
    leaving: Ints,
    again: Ints,
    tree: Ints,
    hashed: Ints,
    piece: Ints,
    bucket: Ints,
) -> None:
    """The time has come at which a client may go away. Who waits is gone; who runs leaves when its step ends."""
    cancel, place, phase = slot[one, CANCEL], slot[one, PLACE], slot[one, PHASE]
    if now < cancel and slot[one, FIRST] != NOT_YET:
        may_leave(one, cancel, state, slot, leaving)  # its first token came in time
        return
    how = CANCELLED if now >= cancel else TIMED_OUT
    drop(leaving, MAY_LEAVE, state, one, slot, LEAVES_AT)
    if phase == RETRYING:
        drop(again, RETRYING_NOW, state, one, slot, RETRY_AT)
    elif phase == WAITING:
        step_out(one, place, replica, slot)
    elif replica[place, KIND] == AT_START:
        leave_seat(one, place, state, replica, slot, seat, hashed, piece)
        publish(place, state, replica, piece, bucket)
    else:
        slot[one, LEAVES] = how
        replica[place, LEAVERS] += 1
        cut(place, now, state, replica, due)
        return
    if phase != RETRYING:
        replica[place, OUTSTANDING] -= 1
        weigh(place, state, replica, tree)
        cut(place, now, state, replica, due)  # the next one in the queue may begin
    end(one, now, how, state, slot, log, leaving, again)
