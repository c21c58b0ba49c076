"""A service as its shards know it, and what its clients saw of it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.racks.pool_records import PoolSettings, ReplicaLimits
from emulator.racks.step_tables import Steps
from emulator.racks.ways import ONE_SITE, Ways
from emulator.workload.requests import ClosedLoop, Source
from emulator.workload.serving.costs import StepCosts

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Patience:
    """Of the clients, the part ``ratio`` goes away, after a time that is exponential with this mean."""

    ratio: float = 0.0
    mean_seconds: float = 10.0


@dataclass(frozen=True, eq=False)
class Served:
    """What shards need to know of a service. ``first_token_ps`` and ``per_token_ps`` are its objectives; ``front_end_ps`` passes before a
    request is with the engine, and on the way back. ``split``: some replicas compute prompts, and others answer. ``ways``: between the
    sites at which its requests enter and those that serve them.
    """

    name: str
    steps: Steps
    limits: ReplicaLimits
    pool: PoolSettings
    source: Source | ClosedLoop
    first_token_ps: int
    per_token_ps: int
    front_end_ps: int = 0
    patience: Patience = Patience()
    split: bool = False
    ways: Ways = ONE_SITE

    def engine_delay_ps(self, costs: StepCosts, computed: Int64) -> Int64:
        """By which each token of requests leaves the engine later than its step ends; so many tokens of their prompts were computed."""
        return self.front_end_ps + costs.fill_ps(computed)

    def answered(self, arrival_ps: Int64, first_ps: Int64, done_ps: Int64, output: Int64, delay_ps: Int64) -> "Answered":
        """What clients saw of requests that finished, which came, had their first token and were done then, ``delay_ps`` later."""
        ttft_ps, e2e_ps = first_ps - arrival_ps + delay_ps, done_ps - arrival_ps + delay_ps
        tpot_ps = (done_ps - first_ps) // np.maximum(output - 1, 1)
        return Answered(ttft_ps, tpot_ps, e2e_ps, (ttft_ps <= self.first_token_ps) & (tpot_ps <= self.per_token_ps))


class Answered(NamedTuple):
    """Requests that finished, shape (requests,) each: times as ``Latency`` has them, and who was within both objectives."""

    ttft_ps: Int64
    tpot_ps: Int64
    e2e_ps: Int64
    good: NDArray[np.bool_]
