"""Which racks and switches are in service, when the others come into service, and what they draw when idle."""

from collections import deque

import numpy as np

from emulator.engine.meter import Meter
from emulator.engine.spread import Zones
from emulator.racks.buildout import Buildout, first_racks, in_service_ns, links_in_service_ns
from emulator.racks.power import idle_milliwatts, switch_milliwatts
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER
from topology.cluster import TIERS, Cluster, Float64


class InstalledRacks:
    """The head's account of the buildout; rack shards keep theirs by the same function of time.

    A switch is switched on with the first rack below it and draws power from then on, also while its links are down: a fault of a link or
    switch limits its traffic and does not switch it off. ``standing_milliwatts``, shape (zones,), is what the hosts that are up draw idle.
    """

    def __init__(self, cluster: Cluster, scheduler: Scheduler, meter: Meter, buildout: Buildout | None, zones: Zones) -> None:
        self._scheduler, self._meter, self._zones = scheduler, meter, zones
        self._idle = [idle_milliwatts(host_type) for host_type in cluster.host_types]
        self._rack_first: list[int] = cluster.level("rack").first_host.tolist()
        self._switches = self._switches_by_rack(cluster)
        self._rack_site = [zones.site[zone] for zone in zones.of_rack]
        self.standing_milliwatts = np.zeros(zones.count, dtype=np.int64)
        for zone, milliwatts in enumerate(self._idle_by_zone(cluster)):
            self._install(0, zone, milliwatts, 0)
        meter.installed_gpus.change(0, cluster.gpu_count)
        for rack, milliwatts in self._switches.items():
            meter.switches[self._rack_site[rack]].change(0, milliwatts)
        self._links, self.links_ns = cluster.links, links_in_service_ns(buildout, cluster)
        times = in_service_ns(buildout, len(self._rack_first) - 1)
        #: (time, rack) of the racks that are not in service yet, the next one last.
        self._to_come = sorted(((int(times[rack]), int(rack)) for rack in np.flatnonzero(times > 0)), reverse=True)
        self._burn_in_ns = 0 if buildout is None else buildout.burn_in_ns
        #: (time, rack) of those that are tried out until then, the next one first.
        self._burning: deque[tuple[int, int]] = deque()
        for _, rack in self._to_come:
            for host in self._hosts(rack):
                scheduler.ledger.withhold(host, Withheld.PLANNED)
            self._install(0, zones.of_rack[rack], *(-value for value in self._size(rack)))
            meter.switches[self._rack_site[rack]].change(0, -self._switches.get(rack, 0))

    @staticmethod
    def _switches_by_rack(cluster: Cluster) -> dict[int, int]:
        """Milliwatts of the switches that come with each rack: racks come in order of their number, so the first below is the lowest."""
        draw = switch_milliwatts(cluster.links)
        rack = first_racks(cluster)
        found: dict[int, int] = {}
        for number, milliwatts in zip(rack[draw > 0].tolist(), draw[draw > 0].tolist(), strict=True):
            found[number] = found.get(number, 0) + milliwatts
        return found

    def _idle_by_zone(self, cluster: Cluster) -> list[int]:
        """Of all hosts."""
        found = [0] * self._zones.count
        for kind, parts in zip(cluster.block_type.tolist(), self._zones.of_block, strict=True):
            for zone, mask in parts:
                found[zone] += self._idle[kind] * mask.bit_count()
        return found

    def _install(self, at_ns: int, zone: int, milliwatts: int, gpus: int) -> None:
        """Count ``gpus`` more GPUs as in service from ``at_ns`` on, on hosts of a zone that draw ``milliwatts`` when idle."""
        self._stand(at_ns, zone, milliwatts)
        self._meter.installed_gpus.change(at_ns, gpus)

    def _stand(self, at_ns: int, zone: int, milliwatts: int) -> None:
        self._meter.hosts[self._zones.site[zone]].change(at_ns, milliwatts)
        self.standing_milliwatts[zone] += milliwatts

    def idle_milliwatts(self, host: int) -> int:
        """What the host draws while it is up and nothing runs."""
        ledger = self._scheduler.ledger
        return self._idle[ledger.block_type[ledger.host_block[host]]]

    def switch_host(self, host: int, at_ns: int, *, on: bool) -> None:
        """The whole of a host is broken, and draws nothing, or is up again."""
        idle = self.idle_milliwatts(host)
        self._stand(at_ns, self._zones.of_host(host), idle if on else -idle)

    def next_ns(self) -> int:
        """When the next rack comes into service, or has been tried out; NEVER if there is none."""
        burnt_ns = self._burning[0][0] if self._burning else NEVER
        return min(burnt_ns, self._to_come[-1][0]) if self._to_come else burnt_ns

    def commission(self, until_ns: int) -> int:
        """Bring the racks that are due by ``until_ns`` into service, at their exact times, and give to jobs those that have been tried out.

        Returns how many of both there were.
        """
        count = 0
        while self._to_come and self._to_come[-1][0] <= until_ns:
            at_ns, rack = self._to_come.pop()
            for host in self._hosts(rack):
                if self._burn_in_ns:
                    self._scheduler.ledger.withhold(host, Withheld.BURN_IN)
                self._scheduler.ledger.release(host, Withheld.PLANNED)
            if self._burn_in_ns:
                self._burning.append((at_ns + self._burn_in_ns, rack))
            self._install(at_ns, self._zones.of_rack[rack], *self._size(rack))
            self._meter.switches[self._rack_site[rack]].change(at_ns, self._switches.get(rack, 0))
            count += 1
        while self._burning and self._burning[0][0] <= until_ns:
            for host in self._hosts(self._burning.popleft()[1]):
                self._scheduler.ledger.release(host, Withheld.BURN_IN)
            count += 1
        return count

    def __len__(self) -> int:
        """Racks in service."""
        return len(self._rack_first) - 1 - len(self._to_come)

    def planned_bytes_per_second(self, at_ns: int) -> Float64:
        """By tier, the capacity in one direction of the links that are not in service yet, shape (tiers,)."""
        if not self._to_come:
            return np.zeros(len(TIERS))
        to_come = self.links_ns > at_ns
        return np.bincount(self._links.tier[to_come], self._links.bytes_per_second[to_come], len(TIERS)).astype(np.float64)

    def _hosts(self, rack: int) -> range:
        return range(self._rack_first[rack], self._rack_first[rack + 1])

    def _size(self, rack: int) -> tuple[int, int]:
        """What it draws when idle, in milliwatts, and its GPUs."""
        hosts = self._hosts(rack)
        return sum(self.idle_milliwatts(host) for host in hosts), self._scheduler.ledger.gpus_of(hosts)
