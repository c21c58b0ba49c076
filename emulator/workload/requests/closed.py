"""A closed loop: a number of users, each of whom asks again when the answer is there and a time to think has passed.

When a request ends is the affair of whoever serves it. Here is how many of the users are a pool's, and what request n of a pool's users is,
by draws of (seed, service, pool, n).
"""

from dataclasses import dataclass
from math import floor
from typing import NamedTuple

import numpy as np

from emulator.draws import Stream, exponential, words
from emulator.workload.requests.columns import Int64
from emulator.workload.requests.cursor import entity
from emulator.workload.requests.lengths import Lengths
from emulator.workload.requests.priorities import Classes, check_classes, priorities_of


class UserRequests(NamedTuple):
    """What users ask, shape (requests,) each: tokens, priority, and how long whose it was thinks after its end."""

    prompt: Int64
    output: Int64
    priority: Int64
    think_ns: Int64


@dataclass(frozen=True)
class ClosedLoop:
    """``concurrency`` users, who think for ``think_seconds`` in the mean (exponential; 0: not at all). ``classes``: see ``Prioritized``."""

    concurrency: int
    lengths: Lengths
    think_seconds: float = 0.0
    classes: Classes = ()

    def __post_init__(self) -> None:
        if not 1 <= self.concurrency <= 10**9:
            raise ValueError(f"concurrency: {self.concurrency!r} (allowed: 1 to 1000000000)")
        if not 0.0 <= self.think_seconds <= 86_400.0:
            raise ValueError(f"think_seconds: {self.think_seconds!r} (allowed: 0 to 86400)")
        check_classes(self.classes)

    def users(self, low: float, high: float) -> int:
        """Those of a pool that has the part [low, high) of the service; pools side by side have all of them."""
        return floor(self.concurrency * high) - floor(self.concurrency * low)

    def requests(self, seed: int, service: int, pool: int, number: Int64) -> UserRequests:
        """The requests ``number``, from 0, of a pool's users in the order in which they ask."""
        who, number = entity(service, pool), np.asarray(number, np.int64)
        word = words(seed, Stream.REQUEST_LENGTH, who, number)
        think_ns = np.zeros(len(number), np.int64)
        if self.think_seconds:
            think_ns = np.rint(exponential(seed, Stream.REQUEST_THINK, who, number) * (self.think_seconds * 1e9)).astype(np.int64)
        priority = priorities_of(self.classes, seed, service, pool, number)
        return UserRequests(*self.lengths.draw(word[0], word[1]), priority, think_ns)
