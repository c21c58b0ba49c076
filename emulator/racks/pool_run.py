"""What a pool is asked for: run, lose a replica, drain one. Plain functions over tables, which run as Python and compiled.

Most events concern one replica. Where no router looks at the state of the others, replicas are run one after the other, each through all
of its events up to a time, which is faster since what one of them needs stays in the processor's cache. Nothing else differs.
"""

from emulator.racks.pool_cache import link_all
from emulator.racks.pool_layout import (
    ARRIVES,
    CACHE_TOKENS,
    CANCELS,
    COMING,
    DONE,
    DRAIN,
    DUE,
    DUE_AT,
    DUE_KEY,
    ENDED,
    ENTER,
    FIRST_LIMIT,
    FREE_SLOTS,
    IN_ARRIVAL,
    IN_TURN,
    KEY,
    LAST_PLACE,
    LINK,
    LOSE,
    MAY_LEAVE,
    MOST_WAITING,
    NEEDS_LOG,
    NEEDS_SLOTS,
    NEVER_PS,
    NONE,
    ONLY,
    OPEN_PLACES,
    OUTSTANDING,
    RETRYING_NOW,
    ROUTER,
    SEATS,
    SHUT,
    STATUS,
    STRIDE,
    TURNS,
    USERS_NOW,
    WHOSE,
    Ints,
)
from emulator.racks.pool_queues import put
from emulator.racks.pool_routes import ROUND_ROBIN, first_in_turn
from emulator.racks.pool_steps import drain, enter, lose, run_events

#: Requests for each replica that make it worth while to run replicas one by one.
FEW = 8


def stands_apart(state: Ints) -> bool:
    """Whether, until a replica is full, what happens at one replica says nothing about another."""
    return bool(
        state[ROUTER] == ROUND_ROBIN
        and state[OPEN_PLACES] > 1
        and state[CACHE_TOKENS] == 0
        and state[USERS_NOW] == 0
        and state[RETRYING_NOW] == 0
        and state[MAY_LEAVE] == 0
        and state[CANCELS] == 0
        and state[FIRST_LIMIT] == NEVER_PS
    )


def room_of_all(state: Ints, replica: Ints, opened: Ints) -> int:
    """So many requests each of the open replicas can take, whatever happens."""
    room = NEVER_PS
    for row in range(state[OPEN_PLACES]):
        room = min(room, state[MOST_WAITING] - replica[opened[row], OUTSTANDING])
    return room


def rows_before(key: int, state: Ints, inbox: Ints) -> int:
    """The row behind the requests to come whose arrival has a lower key."""
    low, high = state[COMING], len(inbox)
    while low < high:
        middle = (low + high) // 2
        if 4 * inbox[middle, IN_ARRIVAL] + ARRIVES < key:
            low = middle + 1
        else:
            high = middle
    return int(low)


def run_apart(  # noqa: PLR0913, PLR0917
    until: int,
    behind: int,
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
) -> None:
    """Every event up to ``until``, before which the requests up to row ``behind`` arrive, replica by replica."""
    count, coming, turns = state[OPEN_PLACES], state[COMING], state[TURNS]
    turn = first_in_turn(state, opened)
    for place in range(len(replica)):
        replica[place, DUE_KEY], replica[place, IN_TURN] = NEVER_PS, NONE
    for row in range(state[DUE]):
        replica[due[row, WHOSE], DUE_KEY], replica[due[row, WHOSE], DUE_AT] = due[row, KEY], NONE
    for row in range(count):
        replica[opened[row], IN_TURN] = (row - turn) % count
    state[STRIDE] = count
    for place in range(len(replica)):
        if replica[place, STATUS] == SHUT:
            continue
        state[DUE], state[ONLY], first = 0, place, replica[place, IN_TURN]
        state[COMING], state[TURNS] = (len(inbox), turns) if first == NONE else (coming + first, turns + first)
        if replica[place, DUE_KEY] != NEVER_PS:
            put(due, DUE, state, place, replica[place, DUE_KEY], place, replica, DUE_AT)
        run_events(until, state, table, replica, slot, seat, inbox, asks, log, due, leaving, again, opened, tree, hashed, piece, bucket)
        replica[place, DUE_KEY], replica[place, DUE_AT] = due[0, KEY] if state[DUE] > 0 else NEVER_PS, NONE
    state[DUE], state[ONLY], state[STRIDE] = 0, NONE, 1
    state[COMING], state[TURNS] = behind, turns + behind - coming
    if behind > coming:
        state[LAST_PLACE] = opened[(turn + behind - coming - 1) % count]
    for place in range(len(replica)):
        if replica[place, STATUS] != SHUT and replica[place, DUE_KEY] != NEVER_PS:
            put(due, DUE, state, place, replica[place, DUE_KEY], place, replica, DUE_AT)


def run_pool(  # noqa: PLR0913, PLR0917
    task: int,
    place: int,
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
    """Do a task: RUN every event whose key is less than ``until``, or LOSE or DRAIN the replica at ``place`` at the time ``until``, or have
    ``place`` users ENTER then.
    """
    if task == LOSE:
        lose(place, until, state, replica, slot, seat, log, due, leaving, again, tree, hashed, piece, bucket)
        return DONE
    if task == DRAIN:
        drain(place, until, state, replica, slot, due, opened, tree, hashed, piece, bucket)
        return DONE
    if task == LINK:
        link_all(piece, bucket)
        return DONE
    if task == ENTER:
        enter(place, until, state, slot, again)
        return DONE
    while stands_apart(state):
        behind = rows_before(until, state, inbox)
        few = FEW * state[OPEN_PLACES]
        if behind - state[COMING] < few:
            break
        if state[FREE_SLOTS] < few:
            return NEEDS_SLOTS
        at_most = len(log) - state[ENDED] - (len(slot) - state[FREE_SLOTS]) - state[SEATS] - 2
        if at_most < few:
            return NEEDS_LOG
        room = room_of_all(state, replica, opened)
        least = min(behind, state[COMING] + few)
        if room < FEW:
            upto = 4 * inbox[least, IN_ARRIVAL] + ARRIVES if least < len(inbox) else until
            answer = run_events(
                min(upto, until),
                state,
                table,
                replica,
                slot,
                seat,
                inbox,
                asks,
                log,
                due,
                leaving,
                again,
                opened,
                tree,
                hashed,
                piece,
                bucket,
            )
            if answer != DONE:
                return answer
            continue
        rows = min(behind - state[COMING], state[FREE_SLOTS], at_most)
        behind = state[COMING] + min(rows, min(room, rows) * state[OPEN_PLACES])
        upto = 4 * inbox[behind, IN_ARRIVAL] + ARRIVES if behind < len(inbox) else until
        upto = min(upto, until)
        run_apart(
            upto,
            rows_before(upto, state, inbox),
            state,
            table,
            replica,
            slot,
            seat,
            inbox,
            asks,
            log,
            due,
            leaving,
            again,
            opened,
            tree,
            hashed,
            piece,
            bucket,
        )
    return run_events(until, state, table, replica, slot, seat, inbox, asks, log, due, leaving, again, opened, tree, hashed, piece, bucket)
