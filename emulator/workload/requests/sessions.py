"""Sessions: what follows from their first turn, and the hashes of prompts that share a beginning.

A session is known by the number of its first request, which is its key. Everything that it draws, and the hashes of its blocks, are made of
that number and the pool alone. So a cursor keeps only the turns to come, and no conversation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, bits, exponential, uniform
from emulator.draws.exact import log
from emulator.workload.requests.columns import Drawn, Int64, RequestColumns, alike, join_drawn
from emulator.workload.requests.cursor import runs
from emulator.workload.requests.lengths import Lengths

UInt64 = NDArray[np.uint64]

#: Turns of one session at most; a geometric distribution has no end of its own.
MOST_TURNS = 100_000


@dataclass(frozen=True)
class Sessions:
    """``ratio`` of the requests are in sessions of ``turns`` in the mean, ``think_seconds`` apart in the mean."""

    lengths: Lengths
    ratio: float
    turns: float
    think_seconds: float
    context_tokens: int  # of a turn with its answer

    @property
    def beginnings(self) -> float:
        """Single requests and first turns, as a part of all requests."""
        return 1.0 - self.ratio + self.ratio / self.turns

    @property
    def first_turn_ratio(self) -> float:
        """The chance that one of these begins a session."""
        return self.ratio / self.turns / self.beginnings


def mixed(x: UInt64) -> UInt64:
    """A permutation of 64 bits in which every bit of the result depends on all (Steele, Lea, Flood, "Fast splittable pseudorandom number
    generators", OOPSLA'14; the constants are Stafford's mix 13).
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def identities(seed: int, pool: int, key: Int64) -> UInt64:
    """64 bits for each key of a pool (`cursor.entity`), unlike those of all other keys and pools."""
    salt = bits(seed, Stream.REQUEST_SESSION, pool, 0)
    return mixed(key.view(np.uint64) + salt)


def follow(sessions: Sessions, first: Drawn, seed: int, pool: int) -> Drawn:
    """The requests ``first``, and behind them the later turns of those that begin a session."""
    begins = uniform(seed, Stream.REQUEST_SESSION, identities(seed, pool, first.number), 0) < sessions.first_turn_ratio
    rows = np.flatnonzero(begins)
    if not len(rows):
        return first
    who = identities(seed, pool, first.number[rows])
    later = _later_turns(sessions, uniform(seed, Stream.REQUEST_SESSION, who, 1))
    run, turn = runs(later)  # turn 0 is the second
    if not len(run):
        return first
    think = np.rint(exponential(seed, Stream.REQUEST_SESSION, who[run], 2 + turn) * (sessions.think_seconds * 1e9)).astype(np.int64)
    word = bits(seed, Stream.REQUEST_LENGTH, who[run], turn)
    fresh, output = sessions.lengths.draw(word & np.uint64(0xFFFFFFFF), word >> np.uint64(32))
    arrival_ns = first.arrival_ns[rows][run] + _sums_within(think, later)
    # Before a turn's new tokens stand the first prompt and answer, and all tokens of the turns between.
    spoken = _sums_within(fresh + output, later) - output
    prompt = (first.prompt[rows] + first.output[rows])[run] + spoken
    key = first.key[rows][run]
    turns = Drawn(arrival_ns, prompt, output, key, key)
    return join_drawn((first, turns.chosen(np.flatnonzero(_fits(prompt + output, sessions.context_tokens, later)))))


def _later_turns(sessions: Sessions, chance: NDArray[np.float64]) -> Int64:
    """Turns behind the first: geometric from 0, so that all of them are ``turns`` in the mean."""
    if sessions.turns == 1.0:
        return np.zeros(len(chance), np.int64)
    more = 1.0 - 1.0 / sessions.turns  # the chance of another turn
    return np.asarray(np.minimum(np.floor(log(chance) / log(more)), float(MOST_TURNS)), np.int64)


def _sums_within(values: Int64, counts: Int64) -> Int64:
    """The running sums of each run of ``counts`` values, the value itself included."""
    total = np.concatenate((np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)))
    first = np.cumsum(counts, dtype=np.int64) - counts
    return np.asarray(total[1:] - np.repeat(total[first], counts))


def _fits(tokens: Int64, most: int, counts: Int64) -> NDArray[np.bool_]:
    """Whether a turn and all before it fit the context. Prompts only grow, but an answer may be short after a long one."""
    return np.asarray(_sums_within((tokens > most).astype(np.int64), counts) == 0)


def hashed(drawn: Drawn, seed: int, pool: int, service: int, system_tokens: int, block_tokens: int) -> RequestColumns:
    """The requests with the hashes of their whole blocks: of blocks in the system's prompt the service's, of all others the session's."""
    blocks = drawn.prompt // block_tokens
    run, block = runs(blocks)
    system = system_tokens // block_tokens
    common = np.uint64(bits(seed, Stream.REQUEST_SESSION, service, 1))
    base = np.where(block < system, common, identities(seed, pool, drawn.key)[run])
    hashes = mixed(base + block.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(1)
    hash_start = np.concatenate((np.zeros(1, np.int64), np.cumsum(blocks, dtype=np.int64)))
    return alike(drawn, hash_start, hashes.view(np.int64))
