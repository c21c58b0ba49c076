"""What a file does not say about the cluster in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from topology import catalog
from topology.catalog import HostType, SwitchType
from topology.formats.errors import FormatError
from topology.hostlist import HostlistError, expand

#: Hosts in a rack where nobody says: as in Colossus (eight 4U servers of 8 GPUs); assumed for others.
_RACK_HOSTS = 8
#: What becomes of switch trees without a common top: a cluster of islands that no job spans, or one whose top tier is assumed.
ISLANDS = ("apart", "joined")
#: Instead of a hostlist: all nodes that no hostlist names.
OTHERS = "*"
#: Instead of a type: the nodes are no hosts of the cluster.
NONE = "none"


@dataclass(frozen=True)
class HostTypes:
    """Types of hosts by name, None for nodes that are no hosts with GPUs. ``others`` is that of nodes that ``by_host`` does not name."""

    others: HostType | None
    by_host: Mapping[str, HostType | None] = field(default_factory=dict)

    @classmethod
    def of(cls, host: str, by_hostlist: Mapping[str, str] | None = None) -> "HostTypes":
        """Raises FormatError for what is no hostlist or no known type."""
        if not by_hostlist:
            return cls(_host(host))
        by_host: dict[str, HostType | None] = {}
        for hostlist, name in by_hostlist.items():
            if hostlist == OTHERS:
                continue
            kind = None if name == NONE else _host(name)
            try:
                names = expand(hostlist)
            except HostlistError as error:
                raise FormatError(f"not a hostlist: {error}", f"host type {hostlist}={name}") from None
            for node in names:
                if by_host.setdefault(node, kind) is not kind:
                    raise FormatError(f"{node} already has another type", f"host type {hostlist}={name}")
        others = by_hostlist.get(OTHERS, NONE)
        found = cls(None if others == NONE else _host(others), by_host)
        if not found.all:
            raise FormatError("no node has GPUs according to the given host types", "host types")
        return found

    def get(self, name: str) -> HostType | None:
        """The type of the node of that name; None: it has no GPUs."""
        return self.by_host.get(name, self.others)

    @cached_property
    def all(self) -> tuple[HostType, ...]:
        """Each type once; the first is what the graph's own attribute says."""
        return tuple(dict.fromkeys(kind for kind in (self.others, *self.by_host.values()) if kind))


@dataclass(frozen=True)
class Defaults:
    """Switch is a name in `topology.catalog`; ``oversubscription`` is ports down to ports up of leaf, spine and core."""

    name: str
    hosts: HostTypes
    switch: str = "sn5600"
    rack_hosts: int | None = None  # by default 8, or one scale-up domain
    site: str = "site"
    oversubscription: tuple[float, float, float] = (1.0, 1.0, 1.0)
    islands: str | None = None  # one of ISLANDS; by default as the format has it

    @property
    def host_type(self) -> HostType:
        """Of hosts of which nothing else is known."""
        return self.hosts.all[0]

    @property
    def switch_type(self) -> SwitchType:
        return catalog.switch(self.switch)

    def hosts_per_rack(self, kind: HostType) -> int:
        if self.rack_hosts is not None:
            return self.rack_hosts
        return kind.domain_hosts if kind.domain_hosts > 1 else _RACK_HOSTS


def _host(name: str) -> HostType:
    try:
        return catalog.host(name)
    except catalog.UnknownHardware as error:
        raise FormatError(str(error), "host type") from None


def ports(switch: SwitchType, lane_bytes_per_second: float) -> int:
    """Ports of a switch at a cable's speed: faster ports break out, slower ones are bundled."""
    ratio = switch.port_bytes_per_second / lane_bytes_per_second
    return switch.radix * int(ratio) if ratio >= 1 else switch.radix // ceil(1 / ratio)
