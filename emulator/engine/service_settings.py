"""What the engine needs to know of services."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from emulator.engine.scaling import Scaling
from emulator.racks.served import Served
from emulator.workload.jobs import SECOND

#: Ids of the replicas' jobs start here, above those of traces, generators and the API.
REPLICA_FIRST_ID = 1 << 40


@dataclass(frozen=True, eq=False)
class Service:
    """A service. Each replica is a job of ``gpus`` GPUs, within a unit of ``level``, in this queue, for this tenant, at this priority.

    ``cold_start_ns`` passes before weights are read (``weight_bytes``, from the site's storage, or from peers); ``initial`` replicas are
    there, and warm, at the start. One of ``run_one_in`` pools is run request by request; the others follow as weighted copies.

    A replica is spread over ``domains`` scale-up domains, whole ones where these are several. Then each of its GPUs sends ``fabric_bytes``
    to other domains for a token of a step, which takes ``token_ps`` while it has its NIC for itself.

    Of ``prefill_of`` replicas ``prefill`` compute prompts, and the others answer (0: all do both). ``kv_bytes`` are those of a token's keys
    and values. ``origins``: by site, the part of the requests that enters there, in sum 1 (of none: each enters where it is served).
    ``weights_from_peers``: from replicas that are up, where there are any at the site.
    """

    served: Served
    model: str
    engine: str
    gpus: int
    kv_blocks: int
    weight_bytes: float
    initial: int
    scaling: Scaling
    host_type: int = -1
    level: int = -1  # index into workload.jobs.LEVEL_NAMES
    queue: str = "default"
    tenant: str = "default"
    priority: int = 0
    preemptible: bool = False
    cold_start_ns: int = 60 * SECOND
    run_one_in: int = 1
    prefill: int = 0
    prefill_of: int = 1
    kv_bytes: float = 0.0
    domains: int = 1
    fabric_bytes: float = 0.0
    token_ps: int = 0
    origins: Mapping[int, Fraction] = field(default_factory=dict)
    weights_from_peers: bool = False

    @property
    def name(self) -> str:
        return self.served.name

    def prefills(self, count: int) -> int:
        """Of so many replicas of a pool, how many compute prompts: at least one, and at least one does not."""
        return max(1, min(count * self.prefill // self.prefill_of, count - 1)) if self.prefill else 0


@dataclass(frozen=True)
class ServingSettings:
    """``interval_ns`` is between two looks at the replicas, at which shares and numbers of replicas are renewed. ``pool_level``: a unit of
    it holds a pool. Of the requests that end at most ``kept_requests`` are kept, as a sample.
    """

    services: tuple[Service, ...] = ()
    interval_ns: int = 60 * SECOND
    pool_level: str = "pod"
    kept_requests: int = 200_000
