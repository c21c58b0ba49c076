"""Where the data is that jobs read, and when it comes to where it is not: data gravity.

A copy over the WAN takes its size over the bandwidth between the two sites, and those of one pair of sites, in one direction, come one
after the other. A copy stays where it has come. This is storage traffic: it does not load the fabric that jobs train over.
"""

from typing import NamedTuple

from emulator.scheduler.sites import Sites
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import SECOND

#: Instead of the number of a dataset: of a job that reads none, which is everywhere; and of one that names what is not there.
NONE, UNKNOWN = -1, -2


class Transfer(NamedTuple):
    """When the data is there (NEVER: it cannot come), and where it comes from; -1: nothing has to be sent."""

    arrive_ns: int
    source: int = -1


class Datasets:
    """By dataset and site: since when, or from when on, it is there."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._there_ns = {(number, home): 0 for number, one in enumerate(sites.datasets) for home in one.homes}
        self._line_free_ns: dict[tuple[int, int], int] = {}
        self.received_bytes = [0] * len(sites.names)  # by site

    def look(self, dataset: int, site: int, now_ns: int) -> Transfer:
        """When ``dataset`` can be at ``site``, from the site from which it comes first."""
        if dataset == NONE:
            return Transfer(now_ns)
        there_ns = self._there_ns.get((dataset, site))
        if there_ns is not None:
            return Transfer(max(now_ns, there_ns))
        if not self._sites.move_data:
            return Transfer(NEVER)
        found = Transfer(NEVER)
        for source in range(len(self._sites.names)):
            speed = float(self._sites.wan_bytes_per_second[source, site])
            if speed > 0 and (dataset, source) in self._there_ns:
                begin_ns = max(now_ns, self._there_ns[dataset, source], self._line_free_ns.get((source, site), 0))
                arrive_ns = begin_ns + round(self._sites.datasets[dataset].size_bytes / speed * SECOND)
                found = min(found, Transfer(arrive_ns, source), key=lambda one: one.arrive_ns)
        return found

    def could_be(self, dataset: int, site: int) -> bool:
        """Whether it is there, or could come from one of its homes or by way of others."""
        if dataset == NONE or (dataset, site) in self._there_ns:
            return True
        return dataset != UNKNOWN and self._sites.move_data and site in self._reachable(self._sites.datasets[dataset].homes)

    def _reachable(self, homes: tuple[int, ...]) -> set[int]:
        found, ahead = set(homes), list(homes)
        while ahead:
            to = self._sites.wan_bytes_per_second[ahead.pop()].nonzero()[0].tolist()
            new = [site for site in to if site not in found]
            found.update(new)
            ahead += new
        return found

    def fetch(self, dataset: int, site: int, now_ns: int) -> Transfer:
        """Have it sent, where it is not there and does not come already."""
        transfer = self.look(dataset, site, now_ns)
        if transfer.source >= 0:
            self._there_ns[dataset, site] = self._line_free_ns[transfer.source, site] = transfer.arrive_ns
            self.received_bytes[site] += self._sites.datasets[dataset].size_bytes
        return transfer
