"""Where the numbers of a pool stand: the columns of its tables.

All state of a pool is in a few tables of whole numbers, so that the same loops run as Python and compiled. ``state`` is one row for the
pool, ``replica`` has a row for each place, ``slot`` one for each request that is under way, ``seat`` the requests that run, by place.

Events have one order. The key of an event at time t is ``4 t`` plus its kind: at one instant steps end, then clients go away, then requests
arrive, then steps begin.
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

#: A time after everything.
NEVER_PS = 2**62
#: No time: it has not happened. Times may be negative once the zero of time has moved on.
NOT_YET = -(2**62)
#: Times are earlier than this, so that keys of events are whole numbers of 64 bits (13 days; the zero of time moves on).
LATEST_PS = 2**60
#: Nobody, nowhere.
NONE = -1

# Kinds of events, in their order at one instant.
ENDS, GIVES_UP, ARRIVES, BEGINS = range(4)

# What the kernel is asked for, and its answers: it did, or there is no room for another request, for the log of
# those that ended, or for pieces of a cache, or nothing more for users to ask. LINK: there is room for more pieces now. ENTER: users come.
RUN, LOSE, DRAIN, LINK, ENTER = range(5)
DONE, NEEDS_SLOTS, NEEDS_LOG, NEEDS_PIECES, NEEDS_ASKS = range(5)

# -- state: the pool --------------------------------------------------------------------------------------------------------------
# USERS_NOW are in a closed loop, and USERS_WANTED how many there are to be: who would ask next stops where there are more. ASKED is how
# many requests they have made, and NEXT_ASK the row of the next one.
(
    COMING, FREE_SLOT, FREE_SLOTS, TURNS, LAST_PLACE, OPEN_PLACES, ENDED, RETRYING_NOW, MAY_LEAVE, DUE, LOST_TOKENS,
    BUDGET, SEATS, BLOCKS, RESERVES, ROUTER, MOST_WAITING, RETRIES, RETRY_AFTER, FIRST_LIMIT, WEIGHS,
    USERS_NOW, USERS_WANTED, ASKED, NEXT_ASK, WIDTH, STRIDE, ONLY, CANCELS,
    CACHE_TOKENS, CACHE_BLOCKS, UNLIMITED, FREE_PIECE, FREE_PIECES, IMBALANCE,
    STATE_COLUMNS,
) = range(36)  # fmt: skip

# -- replica: a place -------------------------------------------------------------------------------------------------------------
# STEP counts the steps since it opened. A request that decodes has computed STEP - OFFSET tokens: nothing is written where a step ends.
# OFFSETS is the sum over those who decode, and BINS, 16 columns, how many have each rest of OFFSET by 16: they need a block in turn.
# AHEAD_FLOOR, AHEAD_COMPUTE and AHEAD_CROSSING are parts of each step ahead. What steps take from now on: BASE where nobody decodes, else
# DECODE_BASE; PER_RUNNING, KV and ATTENTION; CROSSING of each token of a prompt, DECODE_CROSSING of each who decodes; and from row TABLE on
# the four rows of the table of step times.
(
    STATUS, KIND, START, STEPS_AHEAD, STEP_PS, MORE_PS, STEP, DECODING_NOW, JOINING_NOW, PARTIAL, OFFSETS, USED, BLOCKED, WAITING_NOW,
    OUTSTANDING, HEAD, TAIL, LEAVERS, DUE_AT, AHEAD_FLOOR, AHEAD_COMPUTE, AHEAD_CROSSING, AHEAD_PROMPT, IDLE, OLDEST, NEWEST, GONE,
    STEPS, TOKENS_IN, TOKENS_OUT, PREEMPTIONS, AGAIN_TOKENS, CACHED_TOKENS, BUSY, FLOOR, MEMORY, COMPUTE, CROSSED,
    BASE, DECODE_BASE, PER_RUNNING, KV, ATTENTION, CROSSING, DECODE_CROSSING, TABLE,
    DUE_KEY, IN_TURN,
    BINS,
) = range(49)  # fmt: skip
REPLICA_COLUMNS = BINS + 16
#: The cumulative counts of a replica, in order.
COUNTS = (STEPS, TOKENS_IN, TOKENS_OUT, PREEMPTIONS, AGAIN_TOKENS, CACHED_TOKENS, BUSY, FLOOR, MEMORY, COMPUTE, CROSSED)
# STATUS.
SHUT, OPEN, DRAINING = range(3)
# KIND: nothing to do; about to begin a step at START; STEPS_AHEAD steps in which all who run decode; one step of any sort.
RESTS, AT_START, DECODES, STEPS_ONCE = range(4)

# -- table: four rows for each clock, by tokens in a step and, of the last two, by those who decode: the time in all, and beside multiplying
IN_ALL, BESIDE, DECODE_IN_ALL, DECODE_BESIDE, TABLE_ROWS = range(5)

# -- slot: a request --------------------------------------------------------------------------------------------------------------
# GENERATED and COMPUTED tokens are those of a request that does not decode. HELD are its blocks of KV memory, of one that decodes only
# where blocks are reserved. Of its HASHES, LISTED are computed or found in the cache, and SHARED of these are pieces that others may use,
# which count as HELD too. READY tokens of it are there when it begins. BEGUN is when its prompt began to be computed for the first time
# since it came. LEAVES is the How with which a running request will end at the end of its step, 0: it will not. THINK: so long after it
# ended its user asks again (NONE: nobody does). A user who thinks keeps the slot, and stands in the queue of requests that come again.
(
    PHASE, PLACE, PROMPT, OUTPUT, GENERATED, OFFSET, COMPUTED, HELD,
    NEXT, PREVIOUS, PRIORITY, TURN, FIRST, ARRIVAL, LEAVES, LEAVES_AT,
    NUMBER, FIRST_ARRIVAL, CANCEL, TAG, TRIES, CACHED, DRAW, RETRY_AT,
    HASHES_FROM, HASHES, LISTED, SHARED, BEGUN, READY, WAY, THINK,
    SLOT_COLUMNS,
) = range(33)  # fmt: skip
# PHASE.
NOWHERE, WAITING, PREFILLING, JOINING, DECODING, RETRYING, THINKING = range(7)

# -- seat: by place, those who decode as a heap with the first to finish on top, then those whose prompt is computed in this step
FINISH, SLOT, SEAT_COLUMNS = range(3)

# -- hashed: the hashes of the prompts of requests under way and to come, and the piece of a cache that a running one uses for it, or NONE
HASH, PIECE, HASHED_COLUMNS = range(3)

# -- piece: what caches hold. USERS: how many requests use it; NONE where it is gone and routers have not heard of it, UNUSED: a free row.
(
    PIECE_HASH, PIECE_PLACE, USERS, LEFT, RIGHT, CHAIN, SAME_LEFT, SAME_RIGHT,
    PIECE_COLUMNS,
) = range(9)  # fmt: skip
UNUSED = -2

# -- queues of events: heaps of rows with the key, what decides between equal keys, and whose it is -------------------------------
KEY, TIE, WHOSE, QUEUE_COLUMNS = range(4)

# -- inbox: requests to come; asks: what users ask next, without a time, and with that of the client from when it comes ----------------
(
    IN_NUMBER, IN_ARRIVAL, IN_PROMPT, IN_OUTPUT, IN_PRIORITY, IN_CANCEL, IN_TAG, IN_DRAW, IN_HASHES_FROM, IN_HASHES, IN_READY,
    IN_WAY, IN_THINK,
    INBOX_COLUMNS,
) = range(14)  # fmt: skip

# -- log: requests that ended, in the order of the columns of EndedRequests -------------------------------------------------------
(
    L_NUMBER, L_ARRIVAL, L_FIRST, L_DONE, L_PROMPT, L_OUTPUT, L_GENERATED, L_CACHED, L_TRIES, L_PLACE, L_HOW, L_TAG, L_BEGUN, L_PRIORITY,
    L_WAY,
    LOG_COLUMNS,
) = range(16)  # fmt: skip
# How a request ended; the same numbers as How.
FINISHED, REJECTED, TIMED_OUT, CANCELLED, LOST, TOO_LONG = range(1, 7)
