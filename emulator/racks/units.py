"""Hosts that fail together: of a rack, of the same leaves, of a scale-up domain, of the racks of a cooling unit or a power feed.

Leaves, racks and domains are the cluster's. Of cooling units and power feeds it knows nothing: each serves so many racks of a site, one
after the other, the last of a site those that are left. They are called ``cooling-00003`` and ``feed-00003``; what hangs on the same leaves
is called as the first of these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from topology import names
from topology.cluster import Cluster
from topology.describe import node_name
from topology.lookup import UnknownName, find_rack, find_switch

Int64 = NDArray[np.int64]

#: Kinds of units. Two concern the NVLink of a domain of several hosts: one of its switch trays, and its backplane.
KINDS = ("rack", "leaf", "cooling_unit", "power_feed", "switch_tray", "backplane")
#: Racks of a unit, assumed: a row on a coolant distribution unit of 1 to 1.3 MW (eight to ten NVL72 racks of 132 kW), two rows on a feed.
RACKS_EACH: Mapping[str, int] = {"cooling_unit": 8, "power_feed": 16}

_WORDS = {"cooling_unit": "cooling", "power_feed": "feed"}


@dataclass(frozen=True, eq=False)
class Units:
    """All units of a kind: unit i has the hosts ``first_host[i]`` up to ``end_host[i]``, shape (units,) each."""

    cluster: Cluster
    kind: str
    first_host: Int64
    end_host: Int64

    def __len__(self) -> int:
        return len(self.first_host)

    def name(self, number: int) -> str:
        """As tables print it."""
        if self.kind == "host":
            return self.cluster.host_name(number)
        if self.kind == "rack":
            return names.rack(number)
        if self.kind in _WORDS:
            return f"{_WORDS[self.kind]}-{number:05d}"
        if self.kind == "leaf":
            return node_name(self.cluster, int(self._leaf[number]))
        domain = self.cluster.level("domain").first_host
        return node_name(self.cluster, int(np.searchsorted(domain, self.first_host[number])))

    def find(self, text: str) -> int:
        """The number of the unit of this name or number. Raises UnknownName."""
        word, count = self.kind.replace("_", " "), len(self)
        if not count:
            raise UnknownName(f"the cluster has no {word}", "another kind")
        if self.kind == "rack":
            return find_rack(self.cluster, text)
        if self.kind == "leaf" and names.whole_number(text) < 0:
            return self._under(text)
        number = names.whole_number(text)
        if number < 0:  # few ask by name, and units are thousands at most
            number = next((one for one in range(count) if self.name(one) == text), -1)
        if not 0 <= number < count:
            raise UnknownName(f"no {word} {text:.80}", f"0 to {count - 1} by number, or a name like {self.name(count - 1)}")
        return number

    def _under(self, switch: str) -> int:
        """What hangs on this leaf."""
        node, links = find_switch(self.cluster, switch)[0], self.cluster.links
        below = links.u[(links.v == node) & (links.tier == 0)]
        if not len(below):
            raise UnknownName(f"no host hangs on switch {switch:.80}", f"a leaf, such as {self.name(len(self) - 1)}")
        host = int(self.cluster.level("domain").first_host[int(below[0])])
        return int(np.searchsorted(self.first_host, host, side="right")) - 1

    @cached_property
    def _leaf(self) -> Int64:
        """The first leaf of each unit."""
        links, first_host = self.cluster.links, self.cluster.level("domain").first_host
        rising = links.tier == 0
        unit = np.searchsorted(self.first_host, first_host[links.u[rising]], side="right") - 1
        first = np.full(len(self), np.iinfo(np.int64).max)
        np.minimum.at(first, unit, links.v[rising].astype(np.int64))
        return first


def units(cluster: Cluster, kind: str, racks_each: Mapping[str, int] = RACKS_EACH) -> Units:
    """The units of a kind, each host by itself of the kind ``host``; none where the cluster has no such thing."""
    if kind == "host":
        edges = np.arange(cluster.host_count + 1, dtype=np.int64)
        return Units(cluster, kind, edges[:-1], edges[1:])
    if kind in ("rack", "leaf"):
        found = [level for level in cluster.levels if level.name == kind]
        edges = found[0].first_host.astype(np.int64) if found else np.zeros(1, np.int64)
        return Units(cluster, kind, edges[:-1], edges[1:])
    if kind in ("switch_tray", "backplane"):
        edges = cluster.level("domain").first_host.astype(np.int64)
        several = np.diff(edges) > 1
        return Units(cluster, kind, edges[:-1][several], edges[1:][several])
    rack, site = cluster.level("rack").first_host.astype(np.int64), cluster.level("site").first_host.astype(np.int64)
    first = [rack[start:end][:: racks_each[kind]] for start, end in np.searchsorted(rack, np.stack((site[:-1], site[1:]), 1)).tolist()]
    edges = np.concatenate((*first, rack[-1:]))
    return Units(cluster, kind, edges[:-1], edges[1:])
