"""A closed loop: a number of users, each of whom asks again as soon as the answer is there.

When a request comes is the affair of whoever serves them: ``concurrency`` at once at the start, and the next where one ends. Here is only
how many there are and how long they are.
"""

from dataclasses import dataclass

import numpy as np

from emulator.draws import Stream, words
from emulator.workload.requests.columns import Int64
from emulator.workload.requests.cursor import entity
from emulator.workload.requests.lengths import Lengths


@dataclass(frozen=True)
class ClosedLoop:
    """``concurrency`` users, ``requests`` in all: ten a user in the published protocols (docs/requests.md)."""

    concurrency: int
    requests: int
    lengths: Lengths

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= 10**9:
            raise ValueError(f"concurrency: {self.concurrency!r} (allowed: 1 to 1000000000)")
        if not self.concurrency <= self.requests < 2**32:
            raise ValueError(f"requests: {self.requests!r} (allowed: from the concurrency, {self.concurrency}, to {2**32 - 1})")

    def lengths_of(self, seed: int, service: int, pool: int, number: Int64) -> tuple[Int64, Int64]:
        """Tokens of the prompts and outputs of requests ``number``, from 0."""
        word = words(seed, Stream.REQUEST_LENGTH, entity(service, pool), np.asarray(number, np.int64))
        return self.lengths.draw(word[0], word[1])
