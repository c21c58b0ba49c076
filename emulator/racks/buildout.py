"""A cluster under construction: racks come into service one by one, in order of their number.

Of R racks the first n are there at the start. Rack k comes into service at T (k - n + 1) / (R - n): at an even pace, the last one at T. The
pace of the preset `buildout`, 1 GW in a week, is 5,556 NVL72 racks a week or 33 an hour, at 2.5 kW per GPU (derived). Until its rack is in
service, a host draws no power, does not fail and takes no jobs; its first up time begins then. A switch comes into service with the first
rack below it: the leaves of a row with the first rack of the row, the spines of a pod and the cores with their first rack.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Cluster


@dataclass(frozen=True)
class Buildout:
    """Raises ValueError for a number of racks below zero or a time before the start."""

    initial_racks: int
    until_ns: int
    burn_in_ns: int = 0  # that a rack which comes is tried out before it is given to jobs

    def __post_init__(self) -> None:
        if self.initial_racks < 0:
            raise ValueError(f"buildout.initial_racks: {self.initial_racks} is below 0")
        if self.until_ns <= 0:
            raise ValueError(f"buildout.until: {self.until_ns} ns is not after the start")


def in_service_ns(buildout: Buildout | None, racks: int) -> NDArray[np.int64]:
    """When each of ``racks`` racks comes into service, rounded down to ns, shape (racks,); 0 for those that are there at the start."""
    if buildout is None or buildout.initial_racks >= racks:
        return np.zeros(racks, np.int64)
    to_come = racks - buildout.initial_racks
    place = np.arange(1, to_come + 1, dtype=np.int64)
    # In two parts, as until_ns times the racks of a large site is beyond 64 bits.
    whole, rest = divmod(buildout.until_ns, to_come)
    return np.concatenate((np.zeros(buildout.initial_racks, np.int64), whole * place + rest * place // to_come))


def first_racks(cluster: Cluster) -> NDArray[np.int64]:
    """By node of the fabric, the lowest rack with a host below it, shape (nodes,); the first rack where there is none.

    The storage and service groups of a dragonfly have no hosts: they are in service from the first rack on.
    """
    links, domain, rack = cluster.links, cluster.level("domain"), cluster.level("rack")
    none = len(rack)
    first = np.full(len(links.switches), none, dtype=np.int64)
    first[: len(domain)] = np.searchsorted(rack.first_host, domain.first_host[:-1], side="right") - 1
    rising = links.node_tier[links.u] < links.node_tier[links.v]
    for tier in range(int(links.node_tier.max())):
        here = rising & (links.node_tier[links.u] == tier)
        np.minimum.at(first, links.v[here], first[links.u[here]])
    return np.where(first == none, 0, first)


def links_in_service_ns(buildout: Buildout | None, cluster: Cluster) -> NDArray[np.int64]:
    """When both ends of each link are in service, shape (links,)."""
    links, first = cluster.links, first_racks(cluster)
    times = in_service_ns(buildout, len(cluster.level("rack")))
    return np.maximum(times[first[links.u]], times[first[links.v]])


def gpus_in_service(buildout: Buildout, cluster: Cluster) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When racks come into service, from 0, shape (steps,), and the GPUs of each host type from then on, shape (types, steps)."""
    rack_first = cluster.level("rack").first_host.astype(np.int64)
    block = np.searchsorted(cluster.block.first_host, np.arange(cluster.host_count), side="right") - 1
    host_type = cluster.block_type[block]
    times, step = np.unique(np.append(in_service_ns(buildout, len(rack_first) - 1), 0), return_inverse=True)
    step_of_host = np.repeat(step[:-1], np.diff(rack_first))
    come = [
        np.bincount(step_of_host[host_type == number], minlength=len(times)) * kind.gpus for number, kind in enumerate(cluster.host_types)
    ]
    return times, np.cumsum(come, axis=1).astype(np.int64)
