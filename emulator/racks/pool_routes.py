"""Which replica of a pool gets a request: the routers, on the live state of the replicas.

Only open replicas with room in their queues are asked. Plain functions over tables; they run as Python and compiled.
"""

from emulator.racks.pool_cache import BY_HASH, bucket_of, find_piece
from emulator.racks.pool_layout import (
    CACHE_TOKENS,
    DRAW,
    HASH,
    HASHES,
    HASHES_FROM,
    IMBALANCE,
    LAST_PLACE,
    MOST_WAITING,
    NEVER_PS,
    NONE,
    ONLY,
    OPEN,
    OPEN_PLACES,
    OUTSTANDING,
    PIECE_HASH,
    PIECE_PLACE,
    PROMPT,
    ROUTER,
    SAME_RIGHT,
    STATUS,
    TRIES,
    WAITING_NOW,
    WEIGHS,
    Ints,
)

# The same numbers as Router.
ROUND_ROBIN, LEAST_OUTSTANDING, POWER_OF_TWO, PREFIX_AWARE = range(4)


def has_room(place: int, state: Ints, replica: Ints) -> bool:
    """Whether a replica takes another request."""
    return bool(replica[place, STATUS] == OPEN and replica[place, WAITING_NOW] < state[MOST_WAITING])


def weigh(place: int, state: Ints, replica: Ints, tree: Ints) -> None:
    """Something changed at a place. The second half of ``tree`` has the requests of each place, the rest is the lesser of the two below.

    A place that takes nothing weighs NEVER_PS.
    """
    if state[WEIGHS] == 0:
        return
    at = len(tree) // 2 + place
    weight = replica[place, OUTSTANDING] if has_room(place, state, replica) else NEVER_PS
    while tree[at] != weight:
        tree[at] = weight
        if at == 1:
            break
        weight = min(weight, tree[at ^ 1])
        at //= 2


def least_outstanding(tree: Ints) -> int:
    """The place with the fewest requests, of equal ones the lowest."""
    if tree[1] == NEVER_PS:
        return NONE
    at, leaves = 1, len(tree) // 2
    while at < leaves:
        at *= 2
        if tree[at] != tree[at // 2]:
            at += 1
    return int(at - leaves)


def next_with_room(first: int, state: Ints, replica: Ints, opened: Ints) -> int:
    """The first of the open places with room, from that in row ``first`` on and around."""
    count = state[OPEN_PLACES]
    for more in range(count):
        place = opened[(first + more) % count]
        if has_room(place, state, replica):
            return int(place)
    return NONE


def first_in_turn(state: Ints, opened: Ints) -> int:
    """The row of the first open place behind the last that got a request."""
    low, high = 0, state[OPEN_PLACES]
    while low < high:
        middle = (low + high) // 2
        if opened[middle] > state[LAST_PLACE]:
            high = middle
        else:
            low = middle + 1
    return int(low % state[OPEN_PLACES])


def two_choices(one: int, state: Ints, replica: Ints, slot: Ints, opened: Ints) -> int:
    """The lighter of two places drawn for the request (Mitzenmacher 2001); of equal ones the first drawn."""
    count = state[OPEN_PLACES]
    draw = slot[one, DRAW]  # 62 bits: the upper and the lower 31
    first = (((draw >> 31) * count >> 31) + slot[one, TRIES]) % count
    if count == 1:
        return next_with_room(first, state, replica, opened)
    second = (first + 1 + ((draw & 0x7FFFFFFF) * (count - 1) >> 31)) % count
    here, there = opened[first], opened[second]
    if not has_room(here, state, replica):
        if has_room(there, state, replica):
            return int(there)
        return next_with_room(first, state, replica, opened)
    if has_room(there, state, replica) and replica[there, OUTSTANDING] < replica[here, OUTSTANDING]:
        return int(there)
    return int(here)


def someone_has(hashed: int, state: Ints, replica: Ints, piece: Ints, bucket: Ints) -> bool:
    """Whether a replica with room has a piece, as far as routers know."""
    one = bucket[bucket_of(hashed, 0, bucket), BY_HASH]
    while one != NONE:
        if piece[one, PIECE_HASH] == hashed and has_room(piece[one, PIECE_PLACE], state, replica):
            return True
        one = piece[one, SAME_RIGHT]
    return False


def longest_prefix(one: int, state: Ints, replica: Ints, slot: Ints, tree: Ints, hashed: Ints, piece: Ints, bucket: Ints) -> int:
    """The replica that has the longest run of the prompt's pieces; of several the one with the fewest requests.

    Where that one has far more requests than the least of all, that one gets the request (as SGLang's cache-aware router does: more by a
    number, and by half). So does it where nobody has the first piece.
    """
    least = least_outstanding(tree)
    low, high = 0, min(slot[one, HASHES], (slot[one, PROMPT] - 1) // state[CACHE_TOKENS]) if state[CACHE_TOKENS] != 0 else 0
    if least == NONE:
        return NONE
    first = slot[one, HASHES_FROM]
    while low < high:  # who has a piece has those before it
        middle = (low + high + 1) // 2
        if someone_has(hashed[first + middle - 1, HASH], state, replica, piece, bucket):
            low = middle
        else:
            high = middle - 1
    if low == 0:
        return least
    last = hashed[first + low - 1, HASH]
    if find_piece(last, least, piece, bucket) != NONE:
        return least
    best, found = NONE, bucket[bucket_of(last, 0, bucket), BY_HASH]
    while found != NONE:
        place = piece[found, PIECE_PLACE]
        if piece[found, PIECE_HASH] == last and has_room(place, state, replica):
            fewer = best == NONE or replica[place, OUTSTANDING] < replica[best, OUTSTANDING]
            if fewer or (replica[place, OUTSTANDING] == replica[best, OUTSTANDING] and place < best):
                best = place
        found = piece[found, SAME_RIGHT]
    more = replica[best, OUTSTANDING] - replica[least, OUTSTANDING]
    return least if more > state[IMBALANCE] and 2 * more > replica[least, OUTSTANDING] else int(best)


def route(  # noqa: PLR0917
    one: int,
    state: Ints,
    replica: Ints,
    slot: Ints,
    opened: Ints,
    tree: Ints,
    hashed: Ints,
    piece: Ints,
    bucket: Ints,
) -> int:
    """The place that a request goes to; NONE where all that are open are full."""
    count, router = state[OPEN_PLACES], state[ROUTER]
    if count == 0:
        return NONE
    if router == POWER_OF_TWO:
        return two_choices(one, state, replica, slot, opened)
    if router == PREFIX_AWARE:
        return longest_prefix(one, state, replica, slot, tree, hashed, piece, bucket)
    if router == LEAST_OUTSTANDING:
        return least_outstanding(tree)
    if state[ONLY] != NONE:
        return int(state[ONLY])
    place = next_with_room(first_in_turn(state, opened), state, replica, opened)
    if place != NONE:
        state[LAST_PLACE] = place
    return place
