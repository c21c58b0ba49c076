"""The prefix caches of the replicas of a pool: which blocks of prompts each of them has computed and still holds.

A *piece* is a whole block of a prompt, known by a hash that stands for all before it too. Requests that run share the pieces of a replica:
a piece counts once in its KV memory, however many use it. One that nobody uses stays as long as there is room; the one out of use for the
longest goes first, and of one request the last piece first, so a replica never lacks what comes before a piece that it has (as in vLLM's
"Automatic Prefix Caching"). What a router knows of a cache is as old as the last begin or end of a request there.

Plain functions over tables; they run as Python and compiled.
"""

from emulator.racks.pool_layout import (
    BLOCKS,
    CACHE_BLOCKS,
    CACHE_TOKENS,
    CHAIN,
    COMPUTED,
    FREE_PIECE,
    FREE_PIECES,
    GONE,
    HASH,
    HASHES,
    HASHES_FROM,
    IDLE,
    LEFT,
    LISTED,
    NEWEST,
    NONE,
    OLDEST,
    PIECE,
    PIECE_HASH,
    PIECE_PLACE,
    PROMPT,
    RIGHT,
    SAME_LEFT,
    SAME_RIGHT,
    SHARED,
    UNLIMITED,
    UNUSED,
    USED,
    USERS,
    Ints,
)

#: The columns of ``bucket``: where chains begin of pieces by place and hash, and by hash alone.
BY_PLACE, BY_HASH = 0, 1
#: Odd numbers without pattern, small enough that products stay below 2**63.
SPREAD, SCATTER = 0x9E3779B1, 0x45D9F3B


def bucket_of(hashed: int, place: int, bucket: Ints) -> int:
    """A row of ``bucket``, whose length is a power of two."""
    mixed = (hashed ^ (hashed >> 31) ^ (place * SPREAD)) & 0x7FFFFFFF
    return int(((mixed * SCATTER) >> 17) & (len(bucket) - 1))


def find_piece(hashed: int, place: int, piece: Ints, bucket: Ints) -> int:
    """The piece that a replica has, or NONE."""
    one = bucket[bucket_of(hashed, place, bucket), BY_PLACE]
    while one != NONE and (piece[one, PIECE_HASH] != hashed or piece[one, PIECE_PLACE] != place):
        one = piece[one, CHAIN]
    return int(one)


def link_piece(one: int, piece: Ints, bucket: Ints) -> None:
    """A piece is found from now on, by its replica and by routers."""
    hashed = piece[one, PIECE_HASH]
    row = bucket_of(hashed, piece[one, PIECE_PLACE], bucket)
    piece[one, CHAIN] = bucket[row, BY_PLACE]
    bucket[row, BY_PLACE] = one
    show_piece(one, piece, bucket)


def show_piece(one: int, piece: Ints, bucket: Ints) -> None:
    """Routers find a piece."""
    row = bucket_of(piece[one, PIECE_HASH], 0, bucket)
    first = bucket[row, BY_HASH]
    piece[one, SAME_LEFT], piece[one, SAME_RIGHT] = NONE, first
    if first != NONE:
        piece[first, SAME_LEFT] = one
    bucket[row, BY_HASH] = one


def add_piece(hashed: int, place: int, state: Ints, piece: Ints, bucket: Ints) -> int:
    """A piece that a request has begun to use."""
    one = state[FREE_PIECE]
    state[FREE_PIECE] = piece[one, RIGHT]
    state[FREE_PIECES] -= 1
    piece[one, PIECE_HASH], piece[one, PIECE_PLACE], piece[one, USERS] = hashed, place, 1
    link_piece(one, piece, bucket)
    return int(one)


def stand_in_line(one: int, place: int, replica: Ints, piece: Ints) -> None:
    """Nobody uses a piece any more: it is the newest of those that may go."""
    last = replica[place, NEWEST]
    piece[one, LEFT], piece[one, RIGHT] = last, NONE
    if last == NONE:
        replica[place, OLDEST] = one
    else:
        piece[last, RIGHT] = one
    replica[place, NEWEST] = one


def leave_line(one: int, place: int, replica: Ints, piece: Ints) -> None:
    """A piece is used again, or goes."""
    left, right = piece[one, LEFT], piece[one, RIGHT]
    if left == NONE:
        replica[place, OLDEST] = right
    else:
        piece[left, RIGHT] = right
    if right == NONE:
        replica[place, NEWEST] = left
    else:
        piece[right, LEFT] = left


def make_room(place: int, state: Ints, replica: Ints, piece: Ints, bucket: Ints) -> None:
    """The oldest pieces out of use go until the rest has room. Routers see them until ``publish``."""
    if state[UNLIMITED] != 0:
        return
    while replica[place, USED] + replica[place, IDLE] > state[BLOCKS]:
        drop_oldest(place, state, replica, piece, bucket)


def drop_oldest(place: int, state: Ints, replica: Ints, piece: Ints, bucket: Ints) -> None:
    """The piece that has been out of use for the longest goes."""
    one = replica[place, OLDEST]
    leave_line(one, place, replica, piece)
    replica[place, IDLE] -= state[CACHE_BLOCKS]
    row = bucket_of(piece[one, PIECE_HASH], place, bucket)
    before = bucket[row, BY_PLACE]
    if before == one:
        bucket[row, BY_PLACE] = piece[one, CHAIN]
    else:
        while piece[before, CHAIN] != one:
            before = piece[before, CHAIN]
        piece[before, CHAIN] = piece[one, CHAIN]
    piece[one, USERS] = NONE  # nobody will use it
    piece[one, RIGHT] = replica[place, GONE]
    replica[place, GONE] = one


def publish(place: int, state: Ints, replica: Ints, piece: Ints, bucket: Ints) -> None:
    """Routers hear of the pieces that a replica no longer has."""
    one = replica[place, GONE]
    while one != NONE:
        after = piece[one, RIGHT]
        left, right = piece[one, SAME_LEFT], piece[one, SAME_RIGHT]
        if left == NONE:
            bucket[bucket_of(piece[one, PIECE_HASH], 0, bucket), BY_HASH] = right
        else:
            piece[left, SAME_RIGHT] = right
        if right != NONE:
            piece[right, SAME_LEFT] = left
        piece[one, USERS], piece[one, RIGHT] = UNUSED, state[FREE_PIECE]
        state[FREE_PIECE] = one
        state[FREE_PIECES] += 1
        one = after
    replica[place, GONE] = NONE


def pieces_there(one: int, known: int, place: int, state: Ints, slot: Ints, hashed: Ints, piece: Ints, bucket: Ints) -> int:
    """Pieces of a request, from its start on, that a replica has; a token of the ``known`` ones is always left to compute."""
    most = min(slot[one, HASHES], (known - 1) // state[CACHE_TOKENS])
    first = slot[one, HASHES_FROM]
    for at in range(most):
        found = find_piece(hashed[first + at, HASH], place, piece, bucket)
        if found == NONE:
            return at
        hashed[first + at, PIECE] = found
    return int(most)


def in_use(one: int, pieces: int, slot: Ints, hashed: Ints, piece: Ints) -> int:
    """How many of the pieces found for a request are used by others."""
    first, used = slot[one, HASHES_FROM], 0
    for at in range(pieces):
        if piece[hashed[first + at, PIECE], USERS] > 0:
            used += 1
    return used


def use_pieces(one: int, pieces: int, place: int, state: Ints, replica: Ints, slot: Ints, hashed: Ints, piece: Ints) -> None:
    """A request begins with the pieces that were found for it."""
    first = slot[one, HASHES_FROM]
    for at in range(pieces):
        found = hashed[first + at, PIECE]
        if piece[found, USERS] == 0:
            leave_line(found, place, replica, piece)
            replica[place, IDLE] -= state[CACHE_BLOCKS]
        piece[found, USERS] += 1
    slot[one, LISTED], slot[one, SHARED] = pieces, pieces


def list_pieces(one: int, place: int, state: Ints, slot: Ints, hashed: Ints, piece: Ints, bucket: Ints) -> None:
    """What is computed of a prompt by the end of this step is there for others; what they have computed already is not shared."""
    whole = min(slot[one, HASHES], min(slot[one, COMPUTED], slot[one, PROMPT]) // state[CACHE_TOKENS])
    for at in range(slot[one, LISTED], whole):
        row = slot[one, HASHES_FROM] + at
        hashed[row, PIECE] = NONE
        if find_piece(hashed[row, HASH], place, piece, bucket) == NONE:
            hashed[row, PIECE] = add_piece(hashed[row, HASH], place, state, piece, bucket)
            slot[one, SHARED] += 1
    slot[one, LISTED] = max(slot[one, LISTED], whole)


def leave_pieces(one: int, place: int, state: Ints, replica: Ints, slot: Ints, hashed: Ints, piece: Ints) -> None:
    """A request uses its pieces no longer, the last first."""
    replica[place, USED] += slot[one, SHARED] * state[CACHE_BLOCKS]  # they were counted with its own
    for at in range(slot[one, LISTED] - 1, -1, -1):
        found = hashed[slot[one, HASHES_FROM] + at, PIECE]
        if found != NONE:
            piece[found, USERS] -= 1
            if piece[found, USERS] == 0:
                replica[place, USED] -= state[CACHE_BLOCKS]
                replica[place, IDLE] += state[CACHE_BLOCKS]
                stand_in_line(found, place, replica, piece)
    slot[one, LISTED], slot[one, SHARED] = 0, 0


def forget_all(place: int, state: Ints, replica: Ints, piece: Ints, bucket: Ints) -> None:
    """A replica that nobody runs at is gone, and its cache with it."""
    while replica[place, OLDEST] != NONE:
        drop_oldest(place, state, replica, piece, bucket)
    publish(place, state, replica, piece, bucket)


def link_all(piece: Ints, bucket: Ints) -> None:
    """There is room for more pieces: they get new buckets, which are empty."""
    for one in range(len(piece)):
        if piece[one, USERS] >= 0:
            link_piece(one, piece, bucket)
        elif piece[one, USERS] == NONE:
            show_piece(one, piece, bucket)
