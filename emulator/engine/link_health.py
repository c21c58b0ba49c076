"""Which faults each link has, what they leave of it, and how often and how long links were down."""

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

import numpy as np

from emulator.fabric.channels import Channels
from topology.cluster import Cluster

SECOND_NS = 1e9
Key = TypeVar("Key")


class Cut(NamedTuple):
    """What a fault does to one link: its ``cables`` (numbers; empty: all) keep ``remaining_ratio`` of their capacity."""

    link: int
    cables: tuple[int, ...] = ()
    remaining_ratio: float = 0.0


class Change(NamedTuple):
    scales: dict[int, float]  # channel -> part of its healthy capacity, where that is another now
    hosts: set[int]  # whose way out of the host has changed


class LinkHealth:
    """Faults come under a number and are mended under it; of several on a cable the worst counts.

    Under adaptive routing a trunk is one channel and keeps the mean of its cables; under ECMP each cable is a channel of its own. The
    cables of an endpoint link belong to the domain's hosts in turn, so a dead one is the way out of one host on one rail, and no other's
    loss.
    """

    def __init__(self, cluster: Cluster, channels: Channels) -> None:
        self._cluster, self._channels = cluster, channels
        self._faults: dict[int, tuple[Cut, ...]] = {}
        self._of_link: dict[int, dict[int, Cut]] = {}  # link -> fault -> its cut
        self.ratio: dict[int, float] = {}  # link -> mean of its cables, where that is not 1
        self.scales: dict[int, float] = {}  # channel -> the same
        #: (host, rail) -> part of its way out that is left, where that is not all.
        self.host_rails: dict[tuple[int, int], float] = {}
        self.downs: dict[int, int] = {}  # link -> faults that took one of its cables, or all
        self._down_seconds: dict[int, float] = {}
        self._since_ns: dict[int, int] = {}

    def apply(self, number: int, cuts: Iterable[Cut], at_ns: int) -> Change:
        cuts = tuple(cuts)
        self._faults[number] = cuts
        for cut in cuts:
            self._of_link.setdefault(cut.link, {})[number] = cut
            if cut.remaining_ratio == 0.0:
                self.downs[cut.link] = self.downs.get(cut.link, 0) + 1
        return self._refresh(cuts, at_ns)

    def mend(self, number: int, at_ns: int) -> Change:
        cuts = self._faults.pop(number)
        for cut in cuts:
            del self._of_link[cut.link][number]
        return self._refresh(cuts, at_ns)

    def note_flap(self, cuts: Iterable[Cut], down_ns: int) -> None:
        """Links that were down for less than a cycle: counted, though no share saw it."""
        for cut in cuts:
            lanes = int(self._cluster.links.lanes[cut.link])
            part = (len(cut.cables) or lanes) / lanes * (1.0 - cut.remaining_ratio)
            self.downs[cut.link] = self.downs.get(cut.link, 0) + 1
            self._down_seconds[cut.link] = self._down_seconds.get(cut.link, 0.0) + part * down_ns / SECOND_NS

    def touched(self) -> list[int]:
        """The links that have ever had a fault, ascending."""
        return sorted(self.downs.keys() | self._down_seconds.keys())

    def down_seconds(self, link: int, at_ns: int) -> float:
        """How long the link was down up to now; half of its cables down for a second count half a second."""
        passed = (at_ns - self._since_ns.get(link, at_ns)) / SECOND_NS
        return self._down_seconds.get(link, 0.0) + (1.0 - self.ratio.get(link, 1.0)) * passed

    def unreachable_hosts(self) -> set[int]:
        """Hosts with a rail that has no way out: a health check takes them out of service."""
        return {host for (host, _), ratio in self.host_rails.items() if ratio == 0.0}

    def _refresh(self, cuts: Iterable[Cut], at_ns: int) -> Change:
        before, hosts = dict(self.scales), set()
        for link in sorted({cut.link for cut in cuts}):
            self._down_seconds[link], self._since_ns[link] = self.down_seconds(link, at_ns), at_ns
            cables = self._cables(link)
            _keep(self.ratio, link, float(cables.mean()))
            first, end = (int(place) for place in self._channels.start[link : link + 2])
            parts = [float(cables.mean())] if end - first == 1 else cables.tolist()
            for channel, part in zip(range(first, end), parts, strict=True):
                _keep(self.scales, channel, part)
            if self._cluster.links.tier[link] == 0:
                hosts |= self._refresh_hosts(link)
        scales = {c: self.scales.get(c, 1.0) for c in before.keys() | self.scales.keys() if before.get(c, 1.0) != self.scales.get(c, 1.0)}
        return Change(scales, hosts)

    def _cables(self, link: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What is left of each cable, shape (lanes,)."""
        cables = np.ones(int(self._cluster.links.lanes[link]))
        for cut in self._of_link.get(link, {}).values():
            here = list(cut.cables) if cut.cables else slice(None)
            cables[here] = np.minimum(cables[here], cut.remaining_ratio)
        return cables

    def _refresh_hosts(self, link: int) -> set[int]:
        """Work out the ways out of the hosts of the link's domain, on the link's rails; the hosts for which one has changed."""
        links = self._cluster.links
        domain = int(links.u[link])
        first, end = (int(host) for host in self._cluster.level("domain").first_host[domain : domain + 2])
        siblings = np.flatnonzero((links.u == domain) & (links.tier == 0)).tolist()
        changed = set()
        for rail in range(int(links.rail_first[link]), int(links.rail_first[link]) + int(links.rails[link])):
            left, whole = np.zeros(end - first), np.zeros(end - first)
            for sibling in siblings:
                if not links.rail_first[sibling] <= rail < links.rail_first[sibling] + links.rails[sibling]:
                    continue
                cables = self._cables(sibling)
                owner = np.arange(len(cables)) * (end - first) // len(cables)
                speed = links.bytes_per_second[sibling] / len(cables)
                left += np.bincount(owner, cables * speed, end - first)
                whole += np.bincount(owner, minlength=end - first) * speed
            for place, ratio in enumerate(np.divide(left, whole, out=np.ones_like(left), where=whole > 0.0).tolist()):
                if ratio != self.host_rails.get((first + place, rail), 1.0):
                    _keep(self.host_rails, (first + place, rail), ratio)
                    changed.add(first + place)
        return changed


def _keep(ratios: dict[Key, float], key: Key, ratio: float) -> None:
    """A dictionary of what is not whole."""
    if ratio == 1.0:
        ratios.pop(key, None)
    else:
        ratios[key] = ratio
