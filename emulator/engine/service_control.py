"""Services as the API shows them, and what may be asked of them."""

from collections.abc import Mapping
from dataclasses import dataclass

#: Replicas that may be asked for.
MOST_REPLICAS = 1_000_000


@dataclass(frozen=True)
class ServiceView:
    """A service as of the last look at it (``looked_seconds``). Counts are since the start; where one pool in several is run, they count
    with its weight. Quantiles are None where no request has finished.
    """

    name: str
    model: str
    engine: str
    gpus_per_replica: int
    wanted_replicas: int
    up_replicas: int
    starting_replicas: int  # they hold GPUs, and load weights
    pending_replicas: int  # they wait for GPUs
    leaving_replicas: int  # they finish what they have
    least_replicas: int
    most_replicas: int
    pools: int  # with replicas that are up
    run_one_in: int
    run_ratio: float  # of the requests that arrived, the part that was run one by one
    looked_seconds: float
    running_requests: int
    waiting_requests: int
    kv_usage_ratio: float
    requests: Mapping[str, float]  # by ``racks.serving_messages.Tally``, in small letters
    requests_per_second: float  # that arrived, in the last interval
    output_tokens_per_second: float  # in the last interval
    ttft_seconds: Mapping[str, float | None]  # p50, p90, p99, since the start
    tpot_seconds: Mapping[str, float | None]
    recent_ttft_seconds: Mapping[str, float | None]  # in the last interval
    recent_tpot_seconds: Mapping[str, float | None]
    ttft_objective_seconds: float
    tpot_objective_seconds: float
    slo_attainment_ratio: float | None
    energy_joules: float  # of its replicas: what their GPUs drew, and their part of their hosts' idle draw

    @property
    def joules_per_request(self) -> float | None:
        """Of those that finished."""
        finished = self.requests["finished"]
        return self.energy_joules / finished if finished else None

    @property
    def joules_per_token(self) -> float | None:
        """Of output."""
        tokens = self.requests["output_tokens"]
        return self.energy_joules / tokens if tokens else None
