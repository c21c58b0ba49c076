"""At which sites hosts and jobs are, and in which zones: the parts of the machine whose GPUs run at one clock."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.free import Row
from topology.cluster import Cluster

#: GPUs by site, or by zone, of those that have some: pairs of its number and how many.
Spread = tuple[tuple[int, int], ...]
#: Zones, and masks of the hosts of a block.
Parts = tuple[tuple[int, int], ...]
Int64 = NDArray[np.int64]


class Zones:
    """The sites; or smaller zones, of whole racks, where ``edges`` (arrays of first hosts) cut them.

    ``first_host[z]`` is that of zone z, shape (zones + 1,); ``site[z]`` its site; ``of_rack[r]`` the zone of a rack; ``of_block[b]`` the
    zones of a block, each with the mask of its hosts there.
    """

    def __init__(self, cluster: Cluster, edges: Sequence[Int64] = ()) -> None:
        sites = cluster.level("site").first_host.astype(np.int64)
        self.first_host: list[int] = (np.unique(np.concatenate((sites, *edges))) if edges else sites).tolist()
        self.count = len(self.first_host) - 1
        self.cut = self.count > len(sites) - 1
        self.site: list[int] = (np.searchsorted(sites, self.first_host[:-1], side="right") - 1).tolist()
        self.of_rack = [self.of_host(host) for host in cluster.level("rack").first_host[:-1].tolist()]
        edge: list[int] = cluster.block.first_host.tolist()
        self.of_block = [self._parts(edge[block], edge[block + 1]) for block in range(len(edge) - 1)]

    def of_host(self, host: int) -> int:
        """The zone of a host."""
        return bisect_right(self.first_host, host) - 1

    def _parts(self, first: int, end: int) -> Parts:
        """Of the block from host ``first`` to ``end``."""
        found = []
        for zone in range(self.of_host(first), self.of_host(end - 1) + 1):
            low, high = max(first, self.first_host[zone]) - first, min(end, self.first_host[zone + 1]) - first
            found.append((zone, (1 << high) - (1 << low)))
        return tuple(found)

    def spread(self, rows: Sequence[Row]) -> Spread:
        """The GPUs of ``rows`` by zone."""
        found: dict[int, int] = {}
        for block, hosts, gpus in rows:
            for zone, mask in self.of_block[block]:
                if here := (hosts & mask).bit_count() * gpus.bit_count():
                    found[zone] = found.get(zone, 0) + here
        return tuple(sorted(found.items()))

    def by_site(self, spread: Spread) -> Spread:
        """The same GPUs by site."""
        if not self.cut:
            return spread
        found: dict[int, int] = {}
        for zone, gpus in spread:
            found[self.site[zone]] = found.get(self.site[zone], 0) + gpus
        return tuple(found.items())
