"""Which faults each link has, what they leave of it, and how often and how long links were down."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from emulator.draws.sums import add_up
from emulator.fabric.channels import Channels
from topology.cluster import TIERS, Cluster, Int64

SECOND_NS = 1e9
#: The number of a hypothetical fault, for what-if questions.
_TRIAL = -1
Key = TypeVar("Key")


class Cut(NamedTuple):
    """What a fault does to one link: its ``cables`` (numbers; empty: all) keep ``remaining_ratio`` of their capacity."""

    link: int
    cables: tuple[int, ...] = ()
    remaining_ratio: float = 0.0


class TierHealth(NamedTuple):
    """The faults of one tier of links, now and so far."""

    not_whole: int  # links that have lost some or all of their capacity now
    downs: int  # faults so far that took a link or one of its cables down
    down_seconds: float  # so far, in parts of links


class Change(NamedTuple):
    """What a fault, or its end, makes others: the engine passes it on to the fabric and the scheduler."""

    scales: dict[int, float]  # channel -> remaining part of its healthy capacity, for channels where it has changed
    hosts: set[int]  # hosts with a rail whose NIC capacity has changed


class LinkHealth:
    """Each fault begins and ends under its number; if a cable has several faults, the worst counts.

    Under adaptive routing a trunk is one channel and keeps the mean of its cables; under ECMP each cable is a channel of its own. The
    cables of an endpoint link belong to the domain's hosts in turn, so a dead one is the way out of one host on one rail, and no other's
    loss.
    """

    def __init__(self, cluster: Cluster, channels: Channels) -> None:
        self._cluster, self._channels = cluster, channels
        self._tiers: list[int] = np.unique(cluster.links.tier).tolist()
        self._faults: dict[int, tuple[Cut, ...]] = {}
        self._of_link: dict[int, dict[int, Cut]] = {}  # link -> fault -> its cut
        self.ratio: dict[int, float] = {}  # link -> mean of its cables, where that is not 1
        self.scales: dict[int, float] = {}  # channel -> the same
        #: (host, rail) -> part of its way out that is left, where that is not all.
        self.host_rails: dict[tuple[int, int], float] = {}
        self.downs: dict[int, int] = {}  # link -> faults that took one of its cables, or all
        self._down_seconds: dict[int, float] = {}
        self._tier_downs, self._tier_seconds = np.zeros(len(TIERS), dtype=np.int64), np.zeros(len(TIERS))  # of the two above
        self._since_ns: dict[int, int] = {}

    def apply(self, number: int, cuts: Iterable[Cut], at_ns: int) -> Change:
        """Begin the fault ``number``. One that cannot be leaves nothing behind."""
        cuts = tuple(cuts)
        for cut in cuts:
            self._of_link.setdefault(cut.link, {})[number] = cut
        try:
            change = self._refresh(cuts, at_ns)
        except Exception:
            for cut in cuts:
                self._of_link[cut.link].pop(number, None)
            raise
        self._faults[number] = cuts
        for cut in cuts:
            if cut.remaining_ratio == 0.0:
                self._count_down(cut.link)
        return change

    def mend(self, number: int, at_ns: int) -> Change:
        cuts = self._faults.pop(number)
        for cut in cuts:
            del self._of_link[cut.link][number]
        return self._refresh(cuts, at_ns)

    def note_flap(self, cuts: Iterable[Cut], down_ns: int) -> None:
        """Count links that were down for less than a cycle, which changes no share."""
        for cut in cuts:
            lanes = int(self._cluster.links.lanes[cut.link])
            part = (len(cut.cables) or lanes) / lanes * (1.0 - cut.remaining_ratio)
            self._count_down(cut.link)
            self._add_seconds(cut.link, part * down_ns / SECOND_NS)

    def _count_down(self, link: int) -> None:
        self._tier_downs[self._cluster.links.tier[link]] += 1
        self.downs[link] = self.downs.get(link, 0) + 1

    def _add_seconds(self, link: int, seconds: float) -> None:
        self._tier_seconds[self._cluster.links.tier[link]] += seconds
        self._down_seconds[link] = self._down_seconds.get(link, 0.0) + seconds

    def by_tier(self, at_ns: int) -> dict[str, TierHealth]:
        """Health by tier, for every tier that the cluster has."""
        tier = self._cluster.links.tier
        now, seconds = np.zeros(len(TIERS), dtype=np.int64), self._tier_seconds.copy()
        for link in sorted(self.ratio):
            now[tier[link]] += 1
            seconds[tier[link]] += self._open_seconds(link, at_ns)
        return {
            TIERS[number]: TierHealth(int(now[number]), int(self._tier_downs[number]), float(seconds[number])) for number in self._tiers
        }

    def touched(self) -> list[int]:
        """The links that have ever had a fault, ascending."""
        return sorted(self.downs.keys() | self._down_seconds.keys())

    def down_seconds(self, link: int, at_ns: int) -> float:
        """How long the link was down up to now; while half of its cables are down, a second counts half."""
        return self._down_seconds.get(link, 0.0) + self._open_seconds(link, at_ns)

    def _open_seconds(self, link: int, at_ns: int) -> float:
        """Since its faults last changed."""
        passed = (at_ns - self._since_ns.get(link, at_ns)) / SECOND_NS
        return (1.0 - self.ratio.get(link, 1.0)) * passed

    def unreachable_hosts(self) -> set[int]:
        """Hosts with a rail whose cables are all dead: a health check takes them out of service."""
        return {host for (host, _), ratio in self.host_rails.items() if ratio == 0.0}

    def _refresh(self, cuts: Iterable[Cut], at_ns: int) -> Change:
        before, hosts, domains = dict(self.scales), set[int](), set[int]()
        for link in sorted({cut.link for cut in cuts}):
            self._add_seconds(link, self._open_seconds(link, at_ns))
            self._since_ns[link] = at_ns
            cables = self._cables(link)
            mean = add_up(cables) / len(cables)
            _keep(self.ratio, link, mean)
            first, end = (int(place) for place in self._channels.start[link : link + 2])
            parts = [mean] if end - first == 1 else cables.tolist()
            for channel, part in zip(range(first, end), parts, strict=True):
                _keep(self.scales, channel, part)
            if self._cluster.links.tier[link] == 0:
                domains.add(int(self._cluster.links.u[link]))
        for domain in sorted(domains):
            hosts |= self._refresh_hosts(domain)
        scales = {c: self.scales.get(c, 1.0) for c in before.keys() | self.scales.keys() if before.get(c, 1.0) != self.scales.get(c, 1.0)}
        return Change(scales, hosts)

    def _cables(self, link: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The remaining part of each cable's capacity, shape (lanes,)."""
        cables = np.ones(int(self._cluster.links.lanes[link]))
        for cut in self._of_link.get(link, {}).values():
            here = list(cut.cables) if cut.cables else slice(None)
            cables[here] = np.minimum(cables[here], cut.remaining_ratio)
        return cables

    def ways_out_without(self, cuts: Iterable[Cut]) -> dict[tuple[int, int], float]:
        """As ``host_rails``, if these endpoint links' cables were cut as well; only the entries that this changes."""
        cuts, ways = tuple(cuts), {}
        for cut in cuts:
            self._of_link.setdefault(cut.link, {})[_TRIAL] = cut
        for domain in sorted({int(self._cluster.links.u[cut.link]) for cut in cuts}):
            ways.update({way: ratio for way, ratio in self._ways_out(domain) if ratio != self.host_rails.get(way, 1.0)})
        for cut in cuts:
            del self._of_link[cut.link][_TRIAL]
        return ways

    def _refresh_hosts(self, domain: int) -> set[int]:
        """Work out the ways out of a domain's hosts; the hosts for which one has changed."""
        changed = set()
        for way, ratio in self._ways_out(domain):
            if ratio != self.host_rails.get(way, 1.0):
                _keep(self.host_rails, way, ratio)
                changed.add(way[0])
        return changed

    def _ways_out(self, domain: int) -> Iterator[tuple[tuple[int, int], float]]:
        """What is left of the way out of every host of a domain on every rail that it has."""
        links, (ids, start) = self._cluster.links, self._endpoint_links
        first, end = (int(host) for host in self._cluster.level("domain").first_host[domain : domain + 2])
        hosts = end - first
        left, whole = np.zeros((self._cluster.rails, hosts)), np.zeros((self._cluster.rails, hosts))
        for link in ids[start[domain] : start[domain + 1]].tolist():
            cables = self._cables(link)
            speed = float(links.bytes_per_second[link]) / len(cables)
            first_rail, rails = int(links.rail_first[link]), int(links.rails[link])
            if hosts == rails == 1:
                left[first_rail, 0] += add_up(cables) * speed
                whole[first_rail, 0] += len(cables) * speed
                continue
            place = np.arange(len(cables))
            owner, each = place * hosts // len(cables), len(cables) // hosts
            for rail in range(rails):
                mine = (place % each) % rails == rail if each >= rails else place >= 0  # a host's cables serve its rails in turn
                left[first_rail + rail] += np.bincount(owner[mine], cables[mine] * speed, hosts)
                whole[first_rail + rail] += np.bincount(owner[mine], np.full(np.count_nonzero(mine), speed), hosts)
        for rail, host in zip(*(axis.tolist() for axis in np.nonzero(whole)), strict=True):
            yield (first + host, rail), float(left[rail, host] / whole[rail, host])

    @cached_property
    def _endpoint_links(self) -> tuple[Int64, Int64]:
        """The endpoint links by domain, and where those of each begin."""
        links = self._cluster.links
        ids = np.flatnonzero(links.tier == 0)
        ids = ids[np.argsort(links.u[ids], kind="stable")]
        return ids, np.searchsorted(links.u[ids], np.arange(len(self._cluster.level("domain")) + 1)).astype(np.int64)


def _keep(ratios: dict[Key, float], key: Key, ratio: float) -> None:
    """Keep ``value`` in a dictionary that holds only what is not whole."""
    if ratio == 1.0:
        ratios.pop(key, None)
    else:
        ratios[key] = ratio
