"""At which sites hosts and jobs are."""

from collections.abc import Sequence

from emulator.scheduler.free import Row
from topology.cluster import Cluster

#: GPUs by site, of the sites that have some: pairs of the site's number and how many.
Spread = tuple[tuple[int, int], ...]


class SitesOfBlocks:
    """``of_block[b]`` is the site of block b, whose hosts are all at one."""

    def __init__(self, cluster: Cluster) -> None:
        self.count = len(cluster.site_names)
        self.of_block: list[int] = cluster.level("site").host_unit[cluster.block.first_host[:-1]].tolist()

    def spread(self, rows: Sequence[Row]) -> Spread:
        """The GPUs of ``rows`` by site."""
        found: dict[int, int] = {}
        for block, hosts, gpus in rows:
            site = self.of_block[block]
            found[site] = found.get(site, 0) + hosts.bit_count() * gpus.bit_count()
        return tuple(sorted(found.items()))
