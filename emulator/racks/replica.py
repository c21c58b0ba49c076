"""One replica of a service: the requests that it was given, and what became of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emulator.racks import replica_steps as steps
from emulator.workload.serving.costs import BLOCK_TOKENS, StepCosts

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class ReplicaLimits:
    """``tokens`` of a step, ``seats`` for requests at a time, ``blocks`` of KV memory (`replica_BLOCK_TOKENS` tokens each).

    ``reserves``: a request gets the blocks of its whole length when it begins. ``closed``: whenever one is done, the next one arrives.
    """

    tokens: int
    seats: int
    blocks: int
    reserves: bool = False
    closed: bool = False


class DoesNotFit(ValueError):
    """A request that is larger than the replica's KV memory; the message has the numbers."""


@cache
def compiled_steps() -> Callable[..., None]:
    """``run_steps`` as machine code, of whole numbers only, so with the same results."""
    import numba  # imported here because only runs that serve need it

    ints = numba.int64[::1]
    signature = numba.void(numba.int64, *[ints] * 16)
    try:
        compiled: Callable[..., None] = numba.njit(signature, cache=True)(steps.run_steps)
    except Exception:  # noqa: BLE001 - nowhere to keep it, a full disk, a damaged file: none of them is worth a run
        compiled = numba.njit(signature)(steps.run_steps)
    return compiled


class Replica:
    """Times are picoseconds from the replica's start: 2**62 of them are 53 days.

    ``arrival_ps`` rises; ``prompt`` and ``output`` are tokens, at least 1 each, shape (requests,). In a closed loop the first arrivals are
    given, the others are `replica_steps.NEVER_PS`. Raises DoesNotFit, and ValueError for what is none of this.
    """

    def __init__(self, costs: StepCosts, limits: ReplicaLimits, arrival_ps: Int64, prompt: Int64, output: Int64) -> None:
        if len(costs.table_ps) != limits.tokens + 1:
            raise ValueError(
                f"a table of {len(costs.table_ps)} step times for a budget of {limits.tokens} tokens; allowed: one more than that"
            )
        if costs.base_ps < 1:
            raise ValueError(f"a step whose floor is {costs.base_ps} ps; allowed: 1 or more")
        if len(prompt) and (prompt.min() < 1 or output.min() < 1):
            raise ValueError("a request without a token of prompt or output; allowed: at least 1 of each")
        if np.any(np.diff(arrival_ps) < 0):
            raise ValueError("requests are to be in order of arrival")
        longest = int((prompt + output).max(initial=0))
        if longest > limits.blocks * BLOCK_TOKENS:
            raise DoesNotFit(f"a request of {longest:,} tokens; the KV memory holds {limits.blocks * BLOCK_TOKENS:,}")
        self.costs, self.limits = costs, limits
        count, seats = len(arrival_ps), limits.seats
        self.arrival_ps, self.prompt, self.output = (np.ascontiguousarray(one, np.int64) for one in (arrival_ps, prompt, output))
        self.generated = np.zeros(count, np.int64)
        self.first_ps, self.done_ps = np.full(count, steps.NOT_YET, np.int64), np.full(count, steps.NOT_YET, np.int64)
        self.counts = np.zeros(6, np.int64)
        self._state = np.zeros(7, np.int64)
        self._state[steps.FREE] = limits.blocks
        self._state[steps.RELEASED] = np.searchsorted(self.arrival_ps, steps.NEVER_PS)
        self._seats = [np.zeros(seats, np.int64) for _ in range(4)]  # request, computed, blocks, scheduled
        self._stopped = np.zeros(count, np.int64)
        self._costs = np.array([costs.base_ps, costs.running_ps, costs.kv_ps, costs.attention_ps], np.int64)
        self._limits = np.array([limits.tokens, seats, limits.reserves, limits.closed], np.int64)

    @property
    def now_ps(self) -> int:
        """The end of the last step, or an arrival at an idle replica."""
        return int(self._state[steps.NOW])

    @property
    def running(self) -> int:
        """Requests that run now."""
        return int(self._state[steps.RUNNING])

    def advance(self, until_ps: int, *, run: Callable[..., None] | None = None) -> None:
        """Run every step that begins before ``until_ps``. ``run``: ``run_steps``, compiled or not."""
        (run or compiled_steps())(
            until_ps, self._costs, self.costs.table_ps, self._limits, self.arrival_ps, self.prompt, self.output, self.generated,
            self.first_ps, self.done_ps, self._state, self.counts, *self._seats, self._stopped,
        )  # fmt: skip
