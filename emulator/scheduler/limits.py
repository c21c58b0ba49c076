"""How large a job can be: what the largest unit of each level holds, and sentences for jobs that are larger."""

from typing import NamedTuple

import numpy as np

from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES
from topology.cluster import Cluster
from topology.describe import unit_names

_SITE = LEVEL_NAMES.index("site")


class Limit(NamedTuple):
    """The largest unit of a level: GPUs of one host type in it, its name, and whether all units with such GPUs have as many."""

    gpus: int
    name: str
    alike: bool


def largest(cluster: Cluster, host_type: int, level: int) -> Limit:
    """Of ``level`` (an index into LEVEL_NAMES, or ANY_LEVEL: the whole cluster, or an island); a level that the cluster does not have is the
    next coarser one that it has."""
    if level == ANY_LEVEL and not cluster.islands:
        return Limit(cluster.type_hosts[host_type] * cluster.host_types[host_type].gpus, cluster.name, alike=True)
    names = [one.name for one in cluster.levels]
    name = next(name for name in LEVEL_NAMES[_SITE if level == ANY_LEVEL else level :] if name in names)
    mine = np.repeat(cluster.block_type == host_type, np.diff(cluster.block.first_host))
    before = np.concatenate(([0], np.cumsum(mine)))
    first_host = cluster.level(name).first_host
    hosts = before[first_host[1:]] - before[first_host[:-1]]
    unit = int(hosts.argmax())
    return Limit(
        gpus=int(hosts[unit]) * cluster.host_types[host_type].gpus,
        name="" if name in ("host", "domain") else unit_names(cluster, name)[unit],
        alike=bool((hosts[hosts > 0] == hosts[unit]).all()),
    )


def never_fits(cluster: Cluster, gpus: int, level: int, host_types: range) -> tuple[str, int]:
    """(why a job of ``gpus`` on hosts of one of ``host_types`` can never run, the most GPUs that such a job may have), in a sentence."""
    limits = {host_type: largest(cluster, host_type, level) for host_type in host_types}
    most = max(limit.gpus for limit in limits.values())
    several = len(cluster.host_types) > 1
    if level == ANY_LEVEL and not cluster.islands:
        size = " and ".join(f"{limit.gpus} {cluster.host_types[number].name} GPUs" for number, limit in limits.items())
        return f"{gpus} GPUs never fit on this cluster of {size if several else f'{cluster.gpu_count} GPUs'}", most
    unit = "island" if level == ANY_LEVEL else LEVEL_NAMES[level]
    parts = []
    for number, limit in limits.items():
        of = f" of {cluster.host_types[number].name} hosts" if several else ""
        which = f"each {unit}{of}" if limit.alike or not limit.name else f"the largest {unit}{of} ({limit.name})"
        parts.append(f"{which} holds {limit.gpus} GPUs")
    reason = "no job runs on two islands, and " if level == ANY_LEVEL else ""
    inside = f" inside one {unit}" if level != ANY_LEVEL else ""
    return f"{gpus} GPUs{inside} never fit: {reason}{', '.join(parts)}", most
