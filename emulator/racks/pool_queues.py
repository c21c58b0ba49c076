"""The orders of a pool: events by time, those who decode by their last step, those who wait by priority and turn.

Plain functions over tables; they run as Python and compiled.
"""

from emulator.racks.pool_layout import (
    BLOCKED,
    FINISH,
    HEAD,
    KEY,
    NEXT,
    NONE,
    PREVIOUS,
    PRIORITY,
    SLOT,
    TAIL,
    TIE,
    TURN,
    WAITING_NOW,
    WHOSE,
    Ints,
)


def rise(queue: Ints, at: int, whose: Ints, column: int) -> None:
    """Row ``at`` of a heap goes up to where it belongs. ``whose[i, column]`` is where the row of i stands."""
    key, tie, one = queue[at, KEY], queue[at, TIE], queue[at, WHOSE]
    while at > 0:
        above = (at - 1) // 2
        if queue[above, KEY] < key or (queue[above, KEY] == key and queue[above, TIE] < tie):
            break
        queue[at, KEY], queue[at, TIE], queue[at, WHOSE] = queue[above, KEY], queue[above, TIE], queue[above, WHOSE]
        whose[queue[at, WHOSE], column] = at
        at = above
    queue[at, KEY], queue[at, TIE], queue[at, WHOSE] = key, tie, one
    whose[one, column] = at


def sink(queue: Ints, at: int, size: int, whose: Ints, column: int) -> None:
    """Row ``at`` of a heap of ``size`` rows goes down to where it belongs."""
    key, tie, one = queue[at, KEY], queue[at, TIE], queue[at, WHOSE]
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        other = below + 1
        if other < size and (
            queue[other, KEY] < queue[below, KEY] or (queue[other, KEY] == queue[below, KEY] and queue[other, TIE] < queue[below, TIE])
        ):
            below = other
        if key < queue[below, KEY] or (key == queue[below, KEY] and tie < queue[below, TIE]):
            break
        queue[at, KEY], queue[at, TIE], queue[at, WHOSE] = queue[below, KEY], queue[below, TIE], queue[below, WHOSE]
        whose[queue[at, WHOSE], column] = at
        at = below
    queue[at, KEY], queue[at, TIE], queue[at, WHOSE] = key, tie, one
    whose[one, column] = at


def put(queue: Ints, counter: int, state: Ints, one: int, key: int, tie: int, whose: Ints, column: int) -> None:
    """The event of ``one`` is at ``key`` now, whether it had one or not. ``state[counter]`` is the number of rows."""
    at = whose[one, column]
    if at == NONE:
        at = state[counter]
        state[counter] = at + 1
        queue[at, KEY], queue[at, TIE], queue[at, WHOSE] = key, tie, one
        rise(queue, at, whose, column)
    else:
        before, queue[at, KEY] = queue[at, KEY], key
        if key < before:
            rise(queue, at, whose, column)
        elif key > before:
            sink(queue, at, state[counter], whose, column)


def drop(queue: Ints, counter: int, state: Ints, one: int, whose: Ints, column: int) -> None:
    """``one`` has no event any more, if it had."""
    at = whose[one, column]
    if at == NONE:
        return
    whose[one, column] = NONE
    size = state[counter] - 1
    state[counter] = size
    if at == size:
        return
    queue[at, KEY], queue[at, TIE], queue[at, WHOSE] = queue[size, KEY], queue[size, TIE], queue[size, WHOSE]
    whose[queue[at, WHOSE], column] = at
    if at > 0 and queue[at, KEY] <= queue[(at - 1) // 2, KEY]:
        rise(queue, at, whose, column)
    else:
        sink(queue, at, size, whose, column)


# -- those who decode ------------------------------------------------------------------------------------------------------------


def seat_in(seat: Ints, place: int, at: int, finish: int, one: int) -> None:
    """A request that finishes after step ``finish`` goes up from row ``at``, which is free."""
    while at > 0:
        above = (at - 1) // 2
        if seat[place, above, FINISH] <= finish:
            break
        seat[place, at, FINISH], seat[place, at, SLOT] = seat[place, above, FINISH], seat[place, above, SLOT]
        at = above
    seat[place, at, FINISH], seat[place, at, SLOT] = finish, one


def seat_out(seat: Ints, place: int, at: int, size: int) -> None:
    """The request at row ``at`` of ``size`` leaves."""
    last = size - 1
    if at == last:
        return
    finish, one = seat[place, last, FINISH], seat[place, last, SLOT]
    if at > 0 and seat[place, (at - 1) // 2, FINISH] > finish:
        seat_in(seat, place, at, finish, one)
        return
    while True:
        below = 2 * at + 1
        if below >= last:
            break
        if below + 1 < last and seat[place, below + 1, FINISH] < seat[place, below, FINISH]:
            below += 1
        if finish <= seat[place, below, FINISH]:
            break
        seat[place, at, FINISH], seat[place, at, SLOT] = seat[place, below, FINISH], seat[place, below, SLOT]
        at = below
    seat[place, at, FINISH], seat[place, at, SLOT] = finish, one


# -- those who wait --------------------------------------------------------------------------------------------------------------


def goes_before(one: int, other: int, slot: Ints) -> bool:
    """Higher priority first, then who came first."""
    if slot[one, PRIORITY] != slot[other, PRIORITY]:
        return bool(slot[one, PRIORITY] > slot[other, PRIORITY])
    return bool(slot[one, TURN] < slot[other, TURN])


def line_up(one: int, place: int, replica: Ints, slot: Ints) -> None:
    """``one`` waits at a place. Its position is looked for from both ends at once."""
    front, back = replica[place, HEAD], replica[place, TAIL]
    while True:
        if back == NONE or goes_before(back, one, slot):
            before = back
            break
        if goes_before(one, front, slot):
            before = slot[front, PREVIOUS]
            break
        front, back = slot[front, NEXT], slot[back, PREVIOUS]
    after = replica[place, HEAD] if before == NONE else slot[before, NEXT]
    slot[one, PREVIOUS], slot[one, NEXT] = before, after
    if before == NONE:
        replica[place, HEAD] = one
        replica[place, BLOCKED] = 0  # who was first could not begin; this one perhaps can
    else:
        slot[before, NEXT] = one
    if after == NONE:
        replica[place, TAIL] = one
    else:
        slot[after, PREVIOUS] = one
    replica[place, WAITING_NOW] += 1


def step_out(one: int, place: int, replica: Ints, slot: Ints) -> None:
    """``one`` waits no longer."""
    before, after = slot[one, PREVIOUS], slot[one, NEXT]
    if before == NONE:
        replica[place, HEAD] = after
        replica[place, BLOCKED] = 0
    else:
        slot[before, NEXT] = after
    if after == NONE:
        replica[place, TAIL] = before
    else:
        slot[after, PREVIOUS] = before
    replica[place, WAITING_NOW] -= 1
