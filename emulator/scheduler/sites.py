"""How good each site is for a job: the arithmetic of the global queue's dispatch, as pure functions over arrays.

A job is dispatched to the open site with the highest score, of several the first. Every site is looked at for every job: the exhaustive
search of MAST (Choudhury et al., OSDI'24). What MAST weighs is not published in numbers; the terms here and their weights are assumed:

    score = capacity * room / GPUs + power * power left / power cap - transfer * hours + prefer * (1 at the site that the job prefers)

Room and power are what is left once the job is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.racks.power import idle_milliwatts, switch_milliwatts
from emulator.scheduler.table import NEVER
from topology.cluster import Cluster, Level

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
_HOUR_NS = 3600 * 10**9


@dataclass(frozen=True)
class Weights:
    """What the terms of a score count. An hour of transfer counts by default as much as the whole of a site being free."""

    capacity: float = 1.0
    power: float = 1.0
    transfer: float = 1.0
    prefer: float = 1.0


@dataclass(frozen=True)
class Dataset:
    """What jobs read, and the numbers of the sites that have it from the start."""

    name: str
    size_bytes: int
    homes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sites:
    """As the scenario's section ``scheduler.sites``. ``backlog``: a site is open to a job as long as less than this share of its GPUs waits
    there beyond what is free, in jobs that are no larger. ``move_after_ns``: a job that has waited for so long in its site's queue may be
    dispatched again.
    """

    names: tuple[str, ...]
    every_ns: int
    backlog: float = 0.0
    move_after_ns: int = NEVER
    weights: Weights = Weights()
    #: From the row's site to the column's, shape (sites, sites); 0: no way.
    wan_bytes_per_second: Float64 = field(default_factory=lambda: np.zeros((0, 0)))
    datasets: tuple[Dataset, ...] = ()
    of_tenant: Mapping[str, int] = field(default_factory=dict)  # the dataset that jobs read which name none: by tenant,
    of_queue: Mapping[str, int] = field(default_factory=dict)  # then by queue
    move_data: bool = True  # False: a job runs where its data is
    cap_milliwatts: tuple[int | None, ...] = ()  # of each site's IT, PUE taken off; None: no cap
    high_priority: int = 1  # what counts as high in the figures


class Load(NamedTuple):
    """Jobs that take room, as columns of shape (jobs,)."""

    priority: Int64
    partition: Int64
    milli_gpus: Int64


NO_LOAD = Load(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))


def room_of(free_milli_gpus: Int64, waiting: Load, running: Load, priority: int, largest: int = NEVER) -> Int64:
    """Milli-GPUs that a job of ``priority`` finds in each partition, shape (partitions,); below 0 where more waits than is free.

    That is what is free, and what ``running`` jobs of lower priority would make room for, without what ``waiting`` jobs of the same or
    higher priority are to have that ask for at most ``largest`` milli-GPUs.
    """
    room = free_milli_gpus.copy()
    ahead, below = (waiting.priority >= priority) & (waiting.milli_gpus <= largest), running.priority < priority
    np.subtract.at(room, waiting.partition[ahead], waiting.milli_gpus[ahead])
    np.add.at(room, running.partition[below], running.milli_gpus[below])
    return room


class Standing(NamedTuple):
    """Of the sites on which a job may run, each of shape (sites,): the numbers behind the scores."""

    sites: Int64
    room_milli_gpus: Int64
    room_beside_milli_gpus: Int64  # where jobs that are larger than this one do not count, since it may start before them
    milli_gpus: Int64  # of all GPUs that the job may use
    milliwatts_left: Int64  # meaningless where there is no cap
    cap_milliwatts: Int64  # 0: none
    transfer_ns: Int64  # until the job's data has come; NEVER: it cannot
    prefers: NDArray[np.bool_]


def scores(at: Standing, milli_gpus: int, milliwatts: Int64, backlog: float, weights: Weights) -> tuple[Float64, NDArray[np.bool_]]:
    """The score of each site for a job of so many ``milli_gpus``, which draws ``milliwatts`` (sites,) there, and whether the site is open.

    A site is open while what waits there, of jobs that are no larger, leaves room beyond its backlog, however much the job asks for: so a
    large job is not passed by for ever, and small ones go on where a large one waits.
    """
    room = (at.room_milli_gpus - milli_gpus) / at.milli_gpus
    left = np.where(at.cap_milliwatts > 0, (at.milliwatts_left - milliwatts) / np.maximum(1, at.cap_milliwatts), 0.0)
    hours = at.transfer_ns / _HOUR_NS
    score = weights.capacity * room + weights.power * left - weights.transfer * hours + weights.prefer * at.prefers
    is_open = has_room(at, backlog) & (left >= 0.0) & (at.transfer_ns < NEVER)
    return score, is_open


def has_room(at: Standing, backlog: float) -> NDArray[np.bool_]:
    """Whether less waits than the site's backlog allows."""
    return np.asarray(at.room_beside_milli_gpus > -backlog * at.milli_gpus)


def best(score: Float64, is_open: NDArray[np.bool_]) -> int:
    """The place of the highest score of the open ones, the first of several; -1 where none is open."""
    return int(np.argmax(np.where(is_open, score, -np.inf))) if is_open.any() else -1


# -- what does not change -----------------------------------------------------------------------------------------------------------


def standing_milliwatts(cluster: Cluster) -> Int64:
    """What each site draws while no job runs, before PUE, shape (sites,): all hosts count as idle, and all switches."""
    site = cluster.level("site")
    hosts = np.diff(cluster.block.first_host).astype(np.int64)
    idle = np.array([idle_milliwatts(kind) for kind in cluster.host_types], dtype=np.int64)[cluster.block_type]
    found = np.zeros(len(site), dtype=np.int64)
    np.add.at(found, site.host_unit[cluster.block.first_host[:-1]], hosts * idle)
    nodes = _site_of_nodes(cluster, site)
    draw = switch_milliwatts(cluster.links)
    np.add.at(found, nodes[nodes >= 0], draw[nodes >= 0])
    return found


def _site_of_nodes(cluster: Cluster, site: Level) -> Int64:
    """The site of every node of the fabric, shape (nodes,); -1 for switches that are joined to no host."""
    links = cluster.links
    inside = np.ones(len(links), dtype=bool)
    for peers in cluster.peers:
        if peers.level == "site":
            inside[peers.links] = False
    u, v = links.u[inside], links.v[inside]
    found = np.full(len(links.switches), -1, dtype=np.int64)
    ends = cluster.level("domain").first_host[:-1]
    found[: len(ends)] = site.host_unit[ends]
    while True:
        up, down = (found[u] >= 0) & (found[v] < 0), (found[u] < 0) & (found[v] >= 0)
        if not up.any() and not down.any():
            return found
        found[v[up]] = found[u[up]]
        found[u[down]] = found[v[down]]


def wan_of(cluster: Cluster) -> Float64:
    """Bytes per second between each two sites that the cluster's own WAN joins, shape (sites, sites)."""
    count = len(cluster.site_names)
    found = np.zeros((count, count))
    for peers in cluster.peers:
        if peers.level == "site":
            speed = cluster.links.bytes_per_second[peers.links]
            np.add.at(found, (peers.unit_u, peers.unit_v), speed)
            np.add.at(found, (peers.unit_v, peers.unit_u), speed)
    return found
