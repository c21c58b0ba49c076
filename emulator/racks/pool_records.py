"""What a pool of replicas is given and gives: settings, requests to come and requests that ended, as columns."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from emulator.racks.pool_layout import LATEST_PS, NEVER_PS
from emulator.workload.serving.costs import BLOCK_TOKENS

Int64 = NDArray[np.int64]


class Router(IntEnum):
    """How a pool chooses a replica for a request, of those that are open and have room.

    In turn; the one with the fewest requests; the one with fewer of two that are drawn; the one that has most of its prompt in its cache.
    """

    ROUND_ROBIN = 0
    LEAST_OUTSTANDING = 1
    POWER_OF_TWO = 2
    PREFIX_AWARE = 3


class How(IntEnum):
    """How a request ended."""

    FINISHED = 1
    REJECTED = 2
    TIMED_OUT = 3
    CANCELLED = 4
    LOST = 5
    TOO_LONG = 6  # for a replica's KV memory; of users' requests, since a pool is given no others


class DoesNotFit(ValueError):
    """A request that is larger than a replica's KV memory; the message has the numbers."""


@dataclass(frozen=True)
class ReplicaLimits:
    """``tokens`` of a step, ``seats`` for requests at a time, ``blocks`` of KV memory (``BLOCK_TOKENS`` tokens each).

    ``reserves``: a request gets the blocks of its whole length when it begins (TensorRT-LLM's way).
    """

    tokens: int
    seats: int
    blocks: int
    reserves: bool = False


@dataclass(frozen=True)
class PoolSettings:
    """``most_waiting``: at each replica. A request that finds all of them full is rejected. One that was rejected, or lost with its
    replica, comes again ``retry_after_ps`` later, up to ``retries`` times.

    A client gives up where the first token is not there ``first_token_limit_ps`` after the request last came (NEVER_PS: no limit).
    ``cache_block_tokens``: tokens of a prompt that one hash stands for (0: no prefix cache). ``unlimited_cache``: what is cached and not in
    use takes no room. ``imbalance``: by so many requests, and by half, a replica may have more than another and still be chosen for what is
    in its cache. ``seed`` and ``entity``, the pool's own number, are for draws.
    """

    router: Router = Router.ROUND_ROBIN
    most_waiting: int = NEVER_PS
    retries: int = 0
    retry_after_ps: int = 10**12
    first_token_limit_ps: int = NEVER_PS
    cache_block_tokens: int = 0
    unlimited_cache: bool = False
    imbalance: int = 64
    seed: int = 0
    entity: int = 0

    def __post_init__(self) -> None:
        least = {"most_waiting": 1, "retries": 0, "retry_after_ps": 1, "first_token_limit_ps": 1, "cache_block_tokens": 0, "imbalance": 0}
        for name, allowed in least.items():
            if getattr(self, name) < allowed:
                raise ValueError(f"{name} of {getattr(self, name)}; allowed: {allowed} or more")
        if self.retry_after_ps >= LATEST_PS:
            raise ValueError(f"retry_after_ps of {self.retry_after_ps}; allowed: less than {LATEST_PS}")
        if LATEST_PS <= self.first_token_limit_ps != NEVER_PS:
            raise ValueError(
                f"first_token_limit_ps of {self.first_token_limit_ps}; allowed: less than {LATEST_PS}, or {NEVER_PS}: no limit"
            )
        if self.cache_block_tokens % BLOCK_TOKENS:
            raise ValueError(f"cache_block_tokens of {self.cache_block_tokens}; allowed: multiples of {BLOCK_TOKENS}")


@dataclass(frozen=True, eq=False)
class PoolRequests:
    """Requests to come, shape (requests,), in order of time, then ``number``, which rises. ``prompt`` and ``output`` are tokens.

    Higher ``priority`` goes first. ``cancel_ps`` is when the client goes away (NEVER_PS: never). The block hashes of a prompt, from its
    start and each standing for all before it too, are ``hashes[hash_start[i]:hash_start[i + 1]]``. ``tag``: somebody follows its progress
    (-1: nobody). ``ready``: of so many tokens of the prompt, less than all, keys and values come with the request (None: of none). ``way``
    comes back with its end: the number of the way on which it comes (``racks.ways``; -1, and None of all: none).

    Requests of users of a closed loop have ``think_ps`` (None: nobody's): so long after one has ended, whose it was asks the next. Their
    numbers go on from 0, their ``arrival_ps`` says nothing, ``cancel_ps`` counts from when they come, and they have no hashes.
    """

    number: Int64
    arrival_ps: Int64
    prompt: Int64
    output: Int64
    priority: Int64
    cancel_ps: Int64
    hash_start: Int64
    hashes: Int64
    tag: Int64
    ready: Int64 | None = None
    way: Int64 | None = None
    think_ps: Int64 | None = None

    @staticmethod
    def of(arrival_ps: Int64, prompt: Int64, output: Int64, *, first: int = 0) -> "PoolRequests":
        """Requests with nothing special about them, numbered from ``first`` on."""
        count = len(arrival_ps)
        nothing = np.zeros(count, np.int64)
        return PoolRequests(
            np.arange(first, first + count), arrival_ps, prompt, output, nothing, np.full(count, NEVER_PS),
            np.zeros(count + 1, np.int64), np.zeros(0, np.int64), np.full(count, -1),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class EndedRequests:
    """Requests that ended, shape (requests,): ``arrival_ps`` is when each first came, ``tries`` how often it did.

    ``first_ps``: NOT_YET where its first token was never there. ``cached``: tokens of the prompt that were found in the cache. ``place``:
    the replica, -1 where it ended at none. ``how``: see How. ``begun_ps``: when its prompt began to be computed (NOT_YET: never). ``way``:
    as it was given.
    """

    number: Int64
    arrival_ps: Int64
    first_ps: Int64
    done_ps: Int64
    prompt: Int64
    output: Int64
    generated: Int64
    cached: Int64
    tries: Int64
    place: Int64
    how: Int64
    tag: Int64
    begun_ps: Int64
    priority: Int64
    way: Int64

    def __len__(self) -> int:
        return len(self.number)

    @staticmethod
    def from_rows(rows: Int64) -> "EndedRequests":
        """Sorted by the time of the end, then number."""
        columns = np.ascontiguousarray(rows.T)
        number, done_ps = columns[0], columns[3]
        order = np.argsort(done_ps, kind="stable")
        same = np.diff(done_ps[order]) == 0
        ties = np.flatnonzero(np.append(same, False) | np.append(False, same))  # few, and sorting by both is slow
        among = order[ties]
        order[ties] = among[np.lexsort((number[among], done_ps[among]))]
        return EndedRequests(*columns[:, order])


@dataclass(frozen=True, eq=False)
class PoolReading:
    """The open and draining places of a pool at a time, shape (places,).

    The last eleven are cumulative since the place opened: steps, prompt tokens computed, tokens generated, preemptions, tokens whose
    computing they undid, prompt tokens found in the cache, and the time of steps in all and by cause: floors, reading of memory with the
    all-reduces, arithmetic, and what crosses the fabric. Sums of times wrap around after 2**63 ps (106 days) of work, but their
    differences are exact.
    """

    place: Int64
    running: Int64
    waiting: Int64
    blocks: Int64
    steps: Int64
    tokens_in: Int64
    tokens_out: Int64
    preemptions: Int64
    again_tokens: Int64
    cached_tokens: Int64
    busy_ps: Int64
    floor_ps: Int64
    memory_ps: Int64
    compute_ps: Int64
    crossed_ps: Int64
