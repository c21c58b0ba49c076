"""What a file does not say about the cluster in it."""

from dataclasses import dataclass
from math import ceil

from topology import catalog
from topology.catalog import HostType, SwitchType

#: Hosts in a rack where nobody says: as in Colossus (eight 4U servers of 8 GPUs); assumed for others.
_RACK_HOSTS = 8


@dataclass(frozen=True)
class Defaults:
    """Host and switch are names in `topology.catalog`; ``oversubscription`` is ports down to ports up of leaf, spine and core."""

    name: str
    host: str = "hgx-h100"
    switch: str = "sn5600"
    rack_hosts: int | None = None  # by default 8, or one scale-up domain
    site: str = "site"
    oversubscription: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def host_type(self) -> HostType:
        return catalog.host(self.host)

    @property
    def switch_type(self) -> SwitchType:
        return catalog.switch(self.switch)

    @property
    def hosts_per_rack(self) -> int:
        if self.rack_hosts is not None:
            return self.rack_hosts
        return self.host_type.domain_hosts if self.host_type.domain_hosts > 1 else _RACK_HOSTS


def ports(switch: SwitchType, lane_bytes_per_second: float) -> int:
    """Ports of a switch at a cable's speed: faster ports break out, slower ones are bundled."""
    ratio = switch.port_bytes_per_second / lane_bytes_per_second
    return switch.radix * int(ratio) if ratio >= 1 else switch.radix // ceil(1 / ratio)
