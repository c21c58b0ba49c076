"""Rows of racks, or other units below a site, that have caps of their own: which zones are theirs, and how close they came to it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.engine.power_settings import RowCaps
from emulator.engine.spread import Zones
from emulator.power.clocks import FULL
from emulator.racks.power import gpu_milliwatts, idle_milliwatts
from topology.cluster import Cluster

Int64 = NDArray[np.int64]


class Group(NamedTuple):
    """Consecutive groups of zones with what the hosts of each may draw: ``first`` zone and ``allowed`` milliwatts, shape (groups,)
    each. The first group is the place ``place``, the others follow.
    """

    place: int
    first: Int64
    allowed: Int64


class Rows:
    """``caps`` and ``most_milliwatts``, the most that was drawn at the end of a cycle, have the shape (rows,), and so has
    ``lowest_clock``. ``bind``: whether any cap is below what its hosts could draw.
    """

    def __init__(self, settings: RowCaps, cluster: Cluster, zones: Zones) -> None:
        self.level, self.names = settings.level, settings.names
        self.caps = np.array(settings.milliwatts, dtype=np.int64)
        first_host = np.array((*settings.first_host, cluster.host_count), dtype=np.int64)
        self.first = np.searchsorted(zones.first_host, first_host[:-1])
        self.of_zone: list[int] = (np.searchsorted(first_host, zones.first_host[:-1], side="right") - 1).tolist()
        peak = np.array([idle_milliwatts(kind) + kind.gpus * gpu_milliwatts(kind, 1.0) for kind in cluster.host_types], dtype=np.int64)
        each = np.repeat(peak[cluster.block_type], np.diff(cluster.block.first_host))
        self.bind = bool((np.add.reduceat(each, first_host[:-1], dtype=np.int64) > self.caps).any())
        self.most_milliwatts = np.zeros(len(self.caps), dtype=np.int64)
        self.lowest_clock = np.full(len(self.caps), FULL)

    def drawn(self, by_zone: Int64) -> Int64:
        """The sums over the zones of each row."""
        found: Int64 = np.add.reduceat(by_zone, self.first, dtype=np.int64)
        return found

    def note(self, drawn: Int64, clocks: Sequence[int]) -> None:
        """What the rows draw at the end of a cycle, at these clocks of the zones."""
        self.most_milliwatts = np.maximum(self.most_milliwatts, drawn)
        self.lowest_clock = np.maximum(self.lowest_clock, np.maximum.reduceat(np.array(clocks), self.first))
