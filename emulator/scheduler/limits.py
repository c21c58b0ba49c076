"""How large a job can be: what the largest unit of each level holds, and sentences for jobs that are larger."""

from typing import NamedTuple

import numpy as np

from emulator.scheduler.slices import is_possible
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES
from topology.cluster import Cluster
from topology.describe import unit_name

_SITE = LEVEL_NAMES.index("site")


class Limit(NamedTuple):
    """The largest unit of a level: GPUs of one host type in it, its name, and whether all units with such GPUs have as many."""

    gpus: int
    name: str
    alike: bool


class Limits:
    """The limits of one cluster, each worked out when it is first asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[tuple[int, int], Limit] = {}

    def largest(self, host_type: int, level: int) -> Limit:
        """Of ``level``, an index into LEVEL_NAMES, or ANY_LEVEL: the whole cluster.

        A level that the cluster does not have is the next coarser one that it has.
        """
        if (host_type, level) not in self._known:
            self._known[host_type, level] = _largest(self._cluster, host_type, level)
        return self._known[host_type, level]

    def never_sliced(self, gpus: int, slice_gpus: int, slice_level: int, types: tuple[int, ...]) -> str:
        """Why a job that would fit in one piece can never run cut into these slices, as a sentence."""
        cluster = self._cluster
        numbers = types or range(len(cluster.host_types))
        of_host = sorted({cluster.host_types[number].gpus for number in numbers})
        if gpus % slice_gpus:
            return f"{gpus} GPUs cannot be cut into slices of {slice_gpus}"
        if not any(is_possible(gpus, slice_gpus, host) for host in of_host):
            hosts = " or ".join(map(str, of_host))
            return f"slices of {slice_gpus} GPUs are neither a part of a host nor whole hosts: a host has {hosts} GPUs"
        most = max(self.largest(number, slice_level).gpus for number in numbers)
        level = LEVEL_NAMES[slice_level]
        if slice_gpus > most:
            return f"slices of {slice_gpus} GPUs inside one {level} never fit: the largest holds {most} GPUs"
        return f"{gpus // slice_gpus} slices of {slice_gpus} GPUs, each inside one {level}, never fit on this cluster"

    def never_fits(self, gpus: int, level: int, types: tuple[int, ...]) -> tuple[str, int]:
        """(why a job of ``gpus`` can never run, as a sentence, the most GPUs that such a job may have).

        ``types`` are those of its hosts, of which it runs on one; none: any.
        """
        cluster = self._cluster
        islands = cluster.islands and level in (ANY_LEVEL, _SITE)
        limits = [
            (cluster.host_types[number].name, self.largest(number, _SITE if islands else level))
            for number in types or range(len(cluster.host_types))
        ]
        most = max(limit.gpus for _, limit in limits)
        several = len(cluster.host_types) > 1
        if level == ANY_LEVEL and not islands:
            size = " and ".join(f"{limit.gpus} {name} GPUs" for name, limit in limits) if several else f"{cluster.gpu_count} GPUs"
            return f"{gpus} GPUs never fit on this cluster of {size}", most
        unit = "island" if islands else LEVEL_NAMES[level]
        parts = []
        for name, limit in limits:
            of = f" of {name} hosts" if several else ""
            which = f"each {unit}{of}" if limit.alike else f"the largest {unit}{of}{f' ({limit.name})' if limit.name else ''}"
            parts.append(f"{which} holds {limit.gpus} GPUs")
        told = "never fit: no job runs on two islands, and" if islands else f"inside one {unit} never fit:"
        return f"{gpus} GPUs {told} {', '.join(parts)}", most


def _largest(cluster: Cluster, host_type: int, level: int) -> Limit:
    kind = cluster.host_types[host_type]
    if level == ANY_LEVEL:
        return Limit(cluster.type_hosts[host_type] * kind.gpus, cluster.name, alike=True)
    there = [one.name for one in cluster.levels]
    name = next(name for name in LEVEL_NAMES[level:] if name in there)
    mine = np.repeat(cluster.block_type == host_type, np.diff(cluster.block.first_host))
    before = np.concatenate(([0], np.cumsum(mine)))
    first_host = cluster.level(name).first_host
    hosts = before[first_host[1:]] - before[first_host[:-1]]
    unit = int(hosts.argmax())
    return Limit(
        gpus=int(hosts[unit]) * kind.gpus,
        name="" if name in ("host", "domain") else unit_name(cluster, name, unit),
        alike=bool((hosts[hosts > 0] == hosts[unit]).all()),
    )
