"""The events of a pool in their order: plain functions over tables, which run as Python and compiled, with the same results."""

from emulator.racks.pool_batch import begin, join, leave_seat, steps_ended, write_down
from emulator.racks.pool_cache import forget_all, leave_pieces, publish
from emulator.racks.pool_ends import cut, end, give_slot_back, go_away, may_leave, turn_away
from emulator.racks.pool_layout import (
    ARRIVAL,
    ARRIVES,
    ASKED,
    AT_START,
    BEGINS,
    BEGUN,
    BLOCKED,
    BLOCKS,
    BUDGET,
    CACHE_TOKENS,
    CACHED,
    CANCEL,
    CANCELLED,
    COMING,
    COMPUTED,
    DECODES,
    DECODING_NOW,
    DONE,
    DRAINING,
    DRAW,
    DUE,
    DUE_AT,
    ENDED,
    ENDS,
    FINISH,
    FINISHED,
    FIRST,
    FIRST_ARRIVAL,
    FIRST_LIMIT,
    FREE_PIECES,
    FREE_SLOT,
    FREE_SLOTS,
    GENERATED,
    HASHES,
    HASHES_FROM,
    HEAD,
    HELD,
    IN_ARRIVAL,
    IN_CANCEL,
    IN_DRAW,
    IN_HASHES,
    IN_HASHES_FROM,
    IN_NUMBER,
    IN_OUTPUT,
    IN_PRIORITY,
    IN_PROMPT,
    IN_READY,
    IN_TAG,
    IN_THINK,
    IN_WAY,
    JOINING_NOW,
    KEY,
    KIND,
    LEAVERS,
    LEAVES,
    LEAVES_AT,
    LISTED,
    LOST,
    MAY_LEAVE,
    NEEDS_ASKS,
    NEEDS_LOG,
    NEEDS_PIECES,
    NEEDS_SLOTS,
    NEVER_PS,
    NEXT,
    NEXT_ASK,
    NONE,
    NOT_YET,
    NUMBER,
    OFFSET,
    OUTPUT,
    OUTSTANDING,
    PARTIAL,
    PHASE,
    PLACE,
    PRIORITY,
    PROMPT,
    READY,
    REJECTED,
    RESTS,
    RETRY_AT,
    RETRYING_NOW,
    SEATS,
    SHARED,
    SHUT,
    SLOT,
    START,
    STATUS,
    STEP,
    STEPS_AHEAD,
    STEPS_ONCE,
    STRIDE,
    TAG,
    THINK,
    THINKING,
    TIE,
    TOKENS_OUT,
    TOO_LONG,
    TRIES,
    TURN,
    TURNS,
    USERS_NOW,
    USERS_WANTED,
    WAITING,
    WAY,
    WEIGHS,
    WHOSE,
    Ints,
)
from emulator.racks.pool_queues import drop, line_up, put, sink, step_out
from emulator.racks.pool_routes import route, weigh
from emulator.workload.serving.costs import BLOCK_TOKENS


def take_place(one: int, place: int, now: int, state: Ints, replica: Ints, slot: Ints, due: Ints, tree: Ints) -> None:
    """A request comes to a replica."""
    slot[one, PHASE], slot[one, PLACE] = WAITING, place
    line_up(one, place, replica, slot)
    replica[place, OUTSTANDING] += 1
    weigh(place, state, replica, tree)
    kind = replica[place, KIND]
    if kind == RESTS:
        replica[place, KIND], replica[place, START] = AT_START, now
        put(due, DUE, state, place, 4 * now + BEGINS, place, replica, DUE_AT)
    elif kind == DECODES and replica[place, BLOCKED] == 0:
        if replica[place, DECODING_NOW] == min(state[SEATS], state[BUDGET]):
            replica[place, BLOCKED] = 1
        else:
            cut(place, now, state, replica, due)


def arrive(  # noqa: PLR0913, PLR0917
    one: int,
    now: int,
    state: Ints,
    replica: Ints,
    slot: Ints,
    log: Ints,
    due: Ints,
    leaving: Ints,
    again: Ints,
    opened: Ints,
    tree: Ints,
    hashed: Ints,
    piece: Ints,
    bucket: Ints,
) -> None:
    """A request comes to the pool, or comes again."""
    slot[one, ARRIVAL], slot[one, TURN] = now, state[TURNS]
    state[TURNS] += state[STRIDE]
    slot[one, TRIES] += 1
    slot[one, BEGUN], slot[one, CACHED] = NOT_YET, 0
    if slot[one, CANCEL] <= now:
        end(one, now, CANCELLED, state, slot, log, leaving, again)
        return
    if slot[one, PROMPT] + slot[one, OUTPUT] > BLOCK_TOKENS * state[BLOCKS]:
        end(one, now, TOO_LONG, state, slot, log, leaving, again)
        return
    place = route(one, state, replica, slot, opened, tree, hashed, piece, bucket)
    if place == NONE:
        turn_away(one, now, REJECTED, state, slot, log, leaving, again)
        return
    take_place(one, place, now, state, replica, slot, due, tree)
    leaves_ps = slot[one, CANCEL]
    if state[FIRST_LIMIT] != NEVER_PS:
        leaves_ps = min(leaves_ps, now + state[FIRST_LIMIT])
    if leaves_ps != NEVER_PS:
        may_leave(one, leaves_ps, state, slot, leaving)


def take_slot(state: Ints, slot: Ints) -> int:
    """A free slot, which there is."""
    one = state[FREE_SLOT]
    state[FREE_SLOT] = slot[one, NEXT]
    state[FREE_SLOTS] -= 1
    return int(one)


def take_in(one: int, row: int, slot: Ints, inbox: Ints) -> None:
    """A request of the inbox, or of what users ask, gets a slot."""
    slot[one, NUMBER], slot[one, FIRST_ARRIVAL], slot[one, PROMPT] = inbox[row, IN_NUMBER], inbox[row, IN_ARRIVAL], inbox[row, IN_PROMPT]
    slot[one, OUTPUT], slot[one, PRIORITY], slot[one, CANCEL] = inbox[row, IN_OUTPUT], inbox[row, IN_PRIORITY], inbox[row, IN_CANCEL]
    slot[one, TAG], slot[one, DRAW] = inbox[row, IN_TAG], inbox[row, IN_DRAW]
    slot[one, WAY], slot[one, THINK] = inbox[row, IN_WAY], inbox[row, IN_THINK]
    slot[one, HASHES_FROM], slot[one, HASHES] = inbox[row, IN_HASHES_FROM], inbox[row, IN_HASHES]
    slot[one, GENERATED], slot[one, COMPUTED], slot[one, HELD], slot[one, LEAVES] = 0, 0, 0, 0
    slot[one, LISTED], slot[one, SHARED], slot[one, READY] = 0, 0, inbox[row, IN_READY]
    slot[one, FIRST], slot[one, PLACE], slot[one, TRIES], slot[one, LEAVES_AT], slot[one, RETRY_AT] = NOT_YET, NONE, 0, NONE, NONE


def enter(count: int, now: int, state: Ints, slot: Ints, again: Ints) -> None:
    """So many users come, for whom there are slots, and each asks at once."""
    for _ in range(count):
        one = take_slot(state, slot)
        slot[one, PHASE], slot[one, TAG], slot[one, HASHES], slot[one, RETRY_AT] = THINKING, NONE, 0, NONE
        put(again, RETRYING_NOW, state, one, 4 * now + ARRIVES, NONE, slot, RETRY_AT)
    state[USERS_NOW] += count


def ask(one: int, now: int, state: Ints, slot: Ints, asks: Ints) -> None:
    """A user asks what comes next."""
    row = state[NEXT_ASK]
    asks[row, IN_ARRIVAL] = now
    if asks[row, IN_CANCEL] != NEVER_PS:
        asks[row, IN_CANCEL] += now
    take_in(one, row, slot, asks)
    state[NEXT_ASK] = row + 1
    state[ASKED] += 1


def settle(  # noqa: PLR0913, PLR0917
    place: int,
    now: int,
    state: Ints,
    replica: Ints,
    slot: Ints,
    seat: Ints,
    log: Ints,
    leaving: Ints,
    again: Ints,
    tree: Ints,
    hashed: Ints,
    piece: Ints,
    bucket: Ints,
) -> None:
    """The steps ahead of a replica have ended: first tokens are there, and who is done or has gone away leaves."""
    was_decoding, outstanding = replica[place, DECODING_NOW], replica[place, OUTSTANDING]
    write_down(place, replica[place, STEPS_AHEAD], state, replica, piece, bucket)
    if replica[place, KIND] == STEPS_ONCE:
        for row in range(was_decoding, was_decoding + replica[place, JOINING_NOW]):
            one = seat[place, row, SLOT]
            slot[one, GENERATED] += 1
            replica[place, TOKENS_OUT] += 1
            if slot[one, FIRST] == NOT_YET:
                slot[one, FIRST] = now
            join(one, place, replica, slot, seat)
        replica[place, JOINING_NOW] = 0
    replica[place, KIND], replica[place, START] = AT_START, now
    while replica[place, DECODING_NOW] > 0 and seat[place, 0, FINISH] == replica[place, STEP]:
        one = seat[place, 0, SLOT]
        if slot[one, LEAVES] != 0:
            replica[place, LEAVERS] -= 1
        leave_seat(one, place, state, replica, slot, seat, hashed, piece)
        replica[place, OUTSTANDING] -= 1
        end(one, now, FINISHED, state, slot, log, leaving, again)
    row = 0
    while replica[place, LEAVERS] > 0:
        one = replica[place, PARTIAL] if row == replica[place, DECODING_NOW] else seat[place, row, SLOT]
        row += 1
        if slot[one, LEAVES] != 0:
            replica[place, LEAVERS] -= 1
            leave_seat(one, place, state, replica, slot, seat, hashed, piece)
            replica[place, OUTSTANDING] -= 1
            end(one, now, slot[one, LEAVES], state, slot, log, leaving, again)
            row = 0  # the seats are in another order now
    if replica[place, OUTSTANDING] != outstanding:
        weigh(place, state, replica, tree)
        publish(place, state, replica, piece, bucket)


def lose(  # noqa: PLR0913, PLR0917
    place: int,
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
    """A replica is gone. What it had ready for the requests is lost, and the step under way yields nothing."""
    decoding = replica[place, DECODING_NOW]
    if replica[place, KIND] == DECODES:
        write_down(place, steps_ended(now + 1, place, replica), state, replica, piece, bucket)
    replica[place, STATUS], replica[place, KIND] = SHUT, RESTS
    drop(due, DUE, state, place, replica, DUE_AT)
    for row in range(decoding + replica[place, JOINING_NOW] + 1):
        if row < decoding + replica[place, JOINING_NOW]:
            one = seat[place, row, SLOT]
            if row < decoding:
                slot[one, GENERATED] = replica[place, STEP] - slot[one, OFFSET] + 1 - slot[one, PROMPT]
        else:
            one = replica[place, PARTIAL]
            if one == NONE:
                break
        slot[one, COMPUTED], slot[one, HELD] = 0, 0
        if state[CACHE_TOKENS] != 0:
            leave_pieces(one, place, state, replica, slot, hashed, piece)
        if slot[one, LEAVES] != 0:
            end(one, now, slot[one, LEAVES], state, slot, log, leaving, again)
        else:
            turn_away(one, now, LOST, state, slot, log, leaving, again)
    while replica[place, HEAD] != NONE:
        one = replica[place, HEAD]
        step_out(one, place, replica, slot)
        turn_away(one, now, LOST, state, slot, log, leaving, again)
    forget_all(place, state, replica, piece, bucket)
    weigh(place, state, replica, tree)


def drain(  # noqa: PLR0913, PLR0917
    place: int,
    now: int,
    state: Ints,
    replica: Ints,
    slot: Ints,
    due: Ints,
    opened: Ints,
    tree: Ints,
    hashed: Ints,
    piece: Ints,
    bucket: Ints,
) -> None:
    """A replica takes nothing new. Who waits there goes to another that has room, and stays where none has."""
    replica[place, STATUS] = DRAINING
    weigh(place, state, replica, tree)
    one = replica[place, HEAD]
    while one != NONE:
        after = slot[one, NEXT]
        other = route(one, state, replica, slot, opened, tree, hashed, piece, bucket)
        if other == NONE:
            break
        step_out(one, place, replica, slot)
        replica[place, OUTSTANDING] -= 1
        take_place(one, other, now, state, replica, slot, due, tree)
        one = after
    cut(place, now, state, replica, due)


def run_events(  # noqa: C901, PLR0912, PLR0913, PLR0917
    until: int,
    state: Ints,
    table: Ints,
    replica: Ints,
    slot: Ints,
    seat: Ints,
    inbox: Ints,
    asks: Ints,
    log: Ints,
    due: Ints,
    leaving: Ints,
    again: Ints,
    opened: Ints,
    tree: Ints,
    hashed: Ints,
    piece: Ints,
    bucket: Ints,
) -> int:
    """Every event whose key is less than ``until``, or as many as there is room for; says what there is no room for."""
    cached = state[CACHE_TOKENS] != 0
    while True:
        if state[ENDED] + state[SEATS] + 2 > len(log):
            return NEEDS_LOG
        if cached and state[FREE_PIECES] <= state[SEATS] + state[BUDGET] // state[CACHE_TOKENS]:
            return NEEDS_PIECES
        coming = state[COMING]
        event = 4 * inbox[coming, IN_ARRIVAL] + ARRIVES if coming < len(inbox) else NEVER_PS
        new = True
        if state[RETRYING_NOW] > 0:
            key = again[0, KEY]
            if key < event or (key == event and again[0, TIE] < inbox[coming, IN_NUMBER]):
                event, new = key, False
        if state[MAY_LEAVE] > 0 and leaving[0, KEY] < event:
            event = leaving[0, KEY]
        first = due[0, KEY] if state[DUE] > 0 else NEVER_PS
        if first < event:
            if first >= until:
                return DONE
            place, now = due[0, WHOSE], first // 4
            if first % 4 == ENDS:
                settle(place, now, state, replica, slot, seat, log, leaving, again, tree, hashed, piece, bucket)
                first = 4 * now + BEGINS
                if event <= first or first >= until or state[USERS_NOW] != 0:  # others come before it begins
                    due[0, KEY] = first
                    sink(due, 0, state[DUE], replica, DUE_AT)
                    continue
            ends_ps = begin(place, now, state, table, replica, slot, seat, hashed, piece, bucket)
            if state[WEIGHS] != 0:
                weigh(place, state, replica, tree)
            if ends_ps == NEVER_PS:
                drop(due, DUE, state, place, replica, DUE_AT)
            else:
                due[0, KEY] = 4 * ends_ps + ENDS
                sink(due, 0, state[DUE], replica, DUE_AT)
            continue
        if event >= until:
            return DONE
        now = event // 4
        if event % 4 != ARRIVES:
            go_away(leaving[0, WHOSE], now, state, replica, slot, seat, log, due, leaving, again, tree, hashed, piece, bucket)
            continue
        if new:
            if state[FREE_SLOTS] == 0:
                return NEEDS_SLOTS
            one = take_slot(state, slot)
            take_in(one, coming, slot, inbox)
            state[COMING] = coming + state[STRIDE]
        else:
            one = again[0, WHOSE]
            thinks, stops = slot[one, PHASE] == THINKING, state[USERS_NOW] > state[USERS_WANTED]
            if thinks and not stops and state[NEXT_ASK] == len(asks):
                return NEEDS_ASKS
            drop(again, RETRYING_NOW, state, one, slot, RETRY_AT)
            if thinks and stops:
                state[USERS_NOW] -= 1
                give_slot_back(one, state, slot)
                continue
            if thinks:
                ask(one, now, state, slot, asks)
        arrive(one, now, state, replica, slot, log, due, leaving, again, opened, tree, hashed, piece, bucket)
