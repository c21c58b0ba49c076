"""The cluster, its racks, hosts and links, as the API shows them."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True)
class RackView:
    """One rack. Of its GPUs, ``gpus_down`` are on hosts with a fault."""

    rack: int
    name: str
    site: str
    gpus: int
    gpus_busy: int
    gpus_down: int
    cordoned: bool
    power_watts: float  # of its hosts
    gpu_model: str = ""
    in_service: bool = True  # False while the rack is planned
    reserved: str = ""  # for what its hosts are reserved now


class HostState(StrEnum):
    """What a host is to the scheduler; only a healthy one is given new jobs."""

    HEALTHY = "healthy"
    DOWN = "down"
    CORDONED = "cordoned"  # new jobs are kept off it
    PLANNED = "planned"  # not in service yet
    MAINTENANCE = "maintenance"  # reserved for nobody
    RESERVED = "reserved"  # reserved for some


@dataclass(frozen=True)
class HostView:
    """One host, a server or a compute tray, with the jobs that run on it."""

    host: int
    name: str
    rack: str  # its name
    site: str
    host_type: str
    gpu_model: str
    gpus: int
    gpus_busy: int
    state: HostState
    job_ids: tuple[int, ...]  # of the jobs that run there
    power_watts: float


@dataclass(frozen=True)
class LinkView:
    """A trunk: all cables between the same two nodes."""

    link: int
    name: str
    tier: str
    lower: str
    upper: str
    lanes: int  # cables
    bytes_per_second: float
    utilization_ratio: float
    healthy_ratio: float  # of the nominal capacity
    carried_up_bytes: float = 0.0  # since the start
    carried_down_bytes: float = 0.0
    peak_demand_ratio: float = (
        0.0  # most that its flows would have sent at once, each at its cap, over the capacity; above 1: they were held back
    )
    downs: int = 0  # faults that took it or one of its cables down
    down_seconds: float = 0.0  # while half of its cables are down, a second counts half


@dataclass(frozen=True)
class ClusterView:
    """The whole cluster: what it is made of, and its GPUs and power now."""

    name: str
    gpu_model: str
    gpus: int
    gpus_busy: int
    gpus_down: int
    gpus_cordoned: int
    hosts: int
    racks: int
    domains: int
    links: int  # cables, of every tier
    leaf_switches: int
    spine_switches: int
    core_switches: int
    power_watts: float  # IT: hosts and switches
    power_cap_watts: float  # 0: none
    sites: tuple[str, ...]
    gpus_planned: int = 0  # in racks that have not come into service yet
    racks_in_service: int = 0
    inter_building_switches: int = 0
    wan_switches: int = 0
    switch_power_watts: float = 0.0  # the part of power_watts that switches draw
    gpus_reserved: int = 0  # that no job holds, on hosts that are reserved now, for maintenance or for some
    trunks: int = 0  # cables between the same two nodes count as one
