"""Power as a function of what runs: whole milliwatts, so that sums are exact in any order.

A host draws ``idle_watts`` while it is up and, on top, for each busy GPU its share of the host's dynamic range:

    P(u) = P_idle + (P_max - P_idle) u^gamma

with P_max the measured maximum in training (HGX H100: 8.4 kW of 10.2 kW rated; Latif et al., arXiv 2412.08602). CPUs, NICs and fans
rise with the GPUs that they serve, so the range of the whole host is split over its GPUs. gamma = 1 is the linear model of ExaDigiT RAPS
(``raps/power.py``, arXiv 2410.05133); other values are the user's calibration.

IT power is the hosts' and the switches'.
"""

from math import fsum

import numpy as np

from emulator.draws.exact import power
from topology.catalog import HostType
from topology.cluster import Cluster, Int64, Links

MILLIWATTS_PER_WATT = 1_000

#: Exponent of utilization: 1, linear, as RAPS.
GAMMA = 1.0
#: The pumps of one cooling distribution unit (RAPS).
COOLING_UNIT_WATTS = 8_473.0


def idle_milliwatts(host_type: HostType) -> int:
    """What one host draws while it is up and nothing runs."""
    return round(host_type.idle_watts * MILLIWATTS_PER_WATT)


def gpu_milliwatts(host_type: HostType, utilization: float, gamma: float = GAMMA) -> int:
    """What one busy GPU at ``utilization`` (0 to 1, SM activity) adds to its host's idle draw: the ``milliwatts`` of a rack order.

    Raises ValueError for a utilization outside 0 to 1.
    """
    if not 0.0 <= utilization <= 1.0:
        raise ValueError(f"utilization must be between 0 and 1, not {utilization}")
    range_watts = host_type.peak_watts - host_type.idle_watts
    return round(range_watts * MILLIWATTS_PER_WATT / host_type.gpus * float(power(utilization, gamma)))


def switch_milliwatts(links: Links) -> Int64:
    """What the switches of every node draw, shape (nodes,), 0 for endpoints.

    A switch draws its typical power (`topology.catalog.SwitchType.watts`) whatever it carries: its ports keep their links trained, so most
    of its draw does not depend on traffic (Mahadevan et al., "A power benchmarking framework for network devices", Networking 2009).
    """
    each = np.rint(links.switch_watts * MILLIWATTS_PER_WATT).astype(np.int64)
    return each * links.switches


def most_milliwatts(cluster: Cluster) -> int:
    """The most that a whole cluster's IT equipment draws: every host at its measured maximum in training, and the switches."""
    hosts = fsum(count * host_type.peak_watts for host_type, count in zip(cluster.host_types, cluster.type_hosts, strict=True))
    return round(hosts * MILLIWATTS_PER_WATT) + int(switch_milliwatts(cluster.links).sum())


def component_watts(host_type: HostType, hosts: int, switches: int, switch_watts: float, cooling_units: int) -> tuple[float, float]:
    """What a machine draws when idle and at its component maximum (RAPS): its hosts, its switches, and the pumps of its cooling units.

    Conversion in the cabinets is in the hosts' figures (``topology.catalog``). Switches and pumps draw the same whatever runs.
    """
    rest = switches * switch_watts + cooling_units * COOLING_UNIT_WATTS
    return hosts * host_type.idle_watts + rest, hosts * host_type.rated_watts + rest
