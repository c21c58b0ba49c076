"""Messages to and from the replicas of a rack shard, as columns. Times are emulated int64 nanoseconds.

A *pool* is the replicas of one service in one unit of the topology, whole in one shard: pool ``service * units + unit``. Within it requests
are routed on the live state of its replicas. A replica is known by the id of its job.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Columns = TypeVar("Columns")
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


class ServingOrder(IntEnum):
    """What an order of ``ServingOrders`` says. At one instant the first kind goes first."""

    OPEN = 0  # a replica is up; value is what it does, a Role
    DRAIN = 1  # it takes no more requests, and finishes those that it has
    LOSE = 2  # it is gone, and so are its requests
    SHARE = 3  # of the requests of the service that arrive from now on, those in [low, high) are the pool's; value: 2**-value are kept
    WAY = 4  # of these requests, those whose draw is below ``high`` come on way ``value``; replica: its place in the pool's list
    ASK = 5  # somebody asks this now: value is the prompt, more the output, in tokens, low the priority, replica the number to follow it by
    GO = 6  # who asked under that number goes away
    PACE = 7  # a replica runs at clock value (``power.clocks``) from its next step on, and a token of a step takes more ps over the fabric
    SPEED = 8  # of a pool whose replicas are of two kinds: a token's keys and values take value picoseconds, and more pairs send at once


class Role(IntEnum):
    """What a replica does."""

    BOTH = 0
    PREFILL = 1  # compute prompts
    DECODE = 2  # answer, with what others have computed


@dataclass(frozen=True, eq=False)
class ServingOrders:
    """Shape (orders,) each."""

    time_ns: Int64
    kind: NDArray[np.int8]
    pool: Int64
    replica: Int64
    value: Int64
    more: Int64
    low: Float64
    high: Float64

    def __len__(self) -> int:
        return len(self.time_ns)


#: One order: time, kind, pool, replica, value, more, low, high.
OrderRow = tuple[int, int, int, int, int, int, float, float]


def serving_orders(rows: Sequence[OrderRow]) -> ServingOrders:
    """Orders as columns; of none there are no rows, and the pools run on."""
    columns: Sequence[Any] = list(zip(*rows, strict=True)) if rows else [()] * len(fields(ServingOrders))
    time_ns, kind, pool, replica, value, more = (np.array(column, np.int64) for column in columns[:6])
    low, high = (np.array(column, np.float64) for column in columns[6:])
    return ServingOrders(time_ns, kind.astype(np.int8), pool, replica, value, more, low, high)


class Tally(IntEnum):
    """What is counted of a pool's requests."""

    ARRIVED = 0  # once each, however often they are tried
    FINISHED = 1
    REJECTED = 2  # every replica had as many as may wait, or there was none
    TIMED_OUT = 3  # the first token was not there when the client's patience was over
    CANCELLED = 4  # the client went away
    LOST = 5  # with its replica, and tried as often as may be
    TOO_LONG = 6  # for the replica's memory
    RETRIED = 7  # tries after the first
    GOOD = 8  # finished within the service's objectives
    INPUT_TOKENS = 9  # of the finished
    OUTPUT_TOKENS = 10
    CACHED_TOKENS = 11  # of the input, found in the prefix cache
    WASTED_TOKENS = 12  # generated for requests that did not finish
    GOOD_TOKENS = 13  # generated for those within the objectives
    MOVED_TOKENS = 14  # of prompts, of which keys and values went from one replica to another
    REMOTE_REQUESTS = 15  # of those that arrived, that entered at another site than the one that serves them


TALLIES = len(Tally)


class Latency(IntEnum):
    """What is kept as counts in bins (``racks.latencies``) of finished requests."""

    TTFT = 0  # from the request to the first token
    TPOT = 1  # of each token after the first, in the mean of the request
    E2E = 2  # from the request to the last token


LATENCIES = len(Latency)


@dataclass(frozen=True, eq=False)
class KeptRequests:
    """A sample of the requests that ended, in order of pool and end. Shape (requests,) each; -1 for a time that never came."""

    pool: Int64
    number: Int64
    arrival_ns: Int64
    first_ns: Int64
    done_ns: Int64
    prompt: Int64
    output: Int64
    cached: Int64
    tries: Int64
    replica: Int64
    priority: Int64
    entry: Int64  # the site at which it entered; -1: not known
    delay_ns: Int64  # by which its client saw each token later than its step ended
    how: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Followed:
    """Requests that somebody follows, shape (requests,) each: tokens generated so far, when the first came (-1: not yet), and how it ended
    (-1: it has not).
    """

    number: Int64
    generated: Int64
    first_ns: Int64
    done_ns: Int64
    how: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class ServingReport:
    """What pools did since the report before, up to ``until_ns``. Pools in order of their number, replicas of a pool in order of theirs."""

    until_ns: int
    pool: Int64  # shape (pools,)
    tallies: Int64  # (pools, TALLIES)
    waiting: Int64  # (pools,), at the end; those that are between two replicas are among them
    running: Int64  # (pools,), at the end
    moving_ps: Int64  # (pools,): of the time since the report before, in which keys and values were on their way
    #: Counts in bins: of pool ``count_pool`` and ``Latency`` ``count_of``, so many in ``count_bin``. Shape (counts,) each.
    count_pool: Int64
    count_of: NDArray[np.int8]
    count_bin: Int64
    count: Int64
    replica: Int64  # (replicas,): those that are open
    replica_pool: Int64
    busy_ps: Int64  # (replicas,): of the time since the report before, in steps
    multiply_ps: Int64  # that their multiplications would take alone
    crossed_ps: Int64  # of ``busy_ps``, in which they sent to other domains
    kv_blocks: Int64  # (replicas,): in use at the end
    drained: Int64  # replicas that have finished what they had
    kept: KeptRequests
    followed: Followed


@dataclass(frozen=True, eq=False)
class ServingReadings:
    """The replicas of a shard at one instant; counts are since each came up. Shape (replicas,) each but where it is said. Of each pool one
    row, with the replica -1, is for all of its replicas that are gone.
    """

    at_ns: int
    replica: Int64
    pool: Int64
    running: Int64
    waiting: Int64
    kv_blocks: Int64
    input_tokens: Int64
    output_tokens: Int64
    cached_tokens: Int64
    preemptions: Int64
    steps: Int64
    finished: Int64
    #: As in ``racks.vllm_counts``: by replica and ``VllmHistogram``, shape (replicas, HISTOGRAMS, BINS) and (replicas, HISTOGRAMS).
    counts: Int64
    sums: Int64


def joined(kind: type[Columns], parts: Sequence[Columns]) -> Columns:
    """Messages whose fields are all columns, one behind the other; there is at least one."""
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]  # dataclasses
    return kind(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def chosen(message: Columns, rows: Any) -> Columns:
    """These rows of such a message."""
    return type(message)(**{one.name: getattr(message, one.name)[rows] for one in fields(message)})  # type: ignore[arg-type]  # dataclasses


def no_kept_requests() -> KeptRequests:
    """None at all."""
    none = np.empty(0, np.int64)
    return KeptRequests(*(none,) * 13, none.astype(np.int8))


def no_followed() -> Followed:
    """None at all."""
    none = np.empty(0, np.int64)
    return Followed(none, none, none, none, none.astype(np.int8))
