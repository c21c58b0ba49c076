"""The section ``cluster``: one fabric, or several as the buildings and sites of one cluster."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from emulator.scenario.section import Int, Real, Section, as_tuple
from emulator.scenario.units import Bandwidth, Duration
from topology import catalog

#: Most hosts of a scenario: 32 million GPUs, eight times 10 GW. A larger number is probably a typing error.
MOST_HOSTS = 4_000_000
#: Most fabrics of a cluster, and most groups and switches of a dragonfly; a larger number is probably a typing error.
MOST_PARTS, MOST_GROUPS = 1000, 10_000

Ratio = Annotated[Real, Field(ge=1, le=1000)]
Size = Annotated[Int, Field(ge=1)]  # the hosts that they come to are counted below
Whole = Annotated[Int, Field(ge=1, le=100 * MOST_HOSTS)]
Name = Annotated[str, Field(min_length=1)]


def _known_host(name: str) -> str:
    catalog.host(name)
    return name


def _known_switch(name: str) -> str:
    catalog.switch(name)
    return name


Host = Annotated[str, AfterValidator(_known_host)]
Switch = Annotated[str, AfterValidator(_known_switch)]


class Oversubscription(Section):
    """Bandwidth down to bandwidth up, 1: non-blocking."""

    leaf: Ratio = 1.0
    spine: Ratio = 1.0
    building: Ratio = 1.0  # the top of a fabric to the inter-building tier, where a site has several


class FabricOfHosts(Section):
    """One fabric. Exactly one of ``hosts``, ``gpus`` and ``scalable_units`` says how much of it, unless a file does."""

    builder: Literal["clos", "dragonfly", "file"] = "clos"
    host: Host = "hgx-h100"
    hosts: Annotated[Int, Field(ge=1, le=MOST_HOSTS)] | None = None
    gpus: Size | None = None
    scalable_units: Size | None = None
    scalable_unit_hosts: Size = 32  # DGX SuperPOD
    scalable_unit_hosts_left_out: Annotated[Int, Field(ge=0, le=MOST_HOSTS)] = 0  # of the whole: their ports serve the fabric manager
    hosts_per_rack: Annotated[Int, Field(ge=1, le=MOST_HOSTS)] | None = None  # by default 8, or one scale-up domain
    switch: Switch = "sn5600"
    oversubscription: Oversubscription = Oversubscription()
    site: Name = "site"
    # builder clos: `topology.clos.ClosPlan`
    rail_optimised: bool = True
    rails: Literal["meet", "isolated"] = "meet"
    whole_arrays: bool = False
    even_striping: bool = False
    array_hosts: Whole | None = None
    pod_arrays: Whole | None = None
    planes: Annotated[Int, Field(ge=1, le=64)] = 1
    nic_ports: Annotated[Int, Field(ge=1, le=64)] | None = None
    uplink_ports: Annotated[Int, Field(ge=1, le=64)] = 1
    spine_switch: Switch | None = None
    buildings: Annotated[Int, Field(ge=1, le=1000)] = 1
    aggregate: Literal["none", "rails"] = "none"
    # builder dragonfly: `topology.dragonfly.DragonflyPlan`
    group_switches: Annotated[Int, Field(ge=1, le=MOST_GROUPS)] = 32  # Frontier and Aurora
    switch_host_ports: Whole = 16  # Frontier and Aurora
    global_links_per_pair: Whole = 1
    local_links_per_pair: Whole = 1
    chassis_switches: Whole | None = None
    groups: Annotated[Int, Field(ge=1, le=MOST_GROUPS)] | None = None
    # builder file: `topology.formats`
    path: Name | None = None
    format: Name | None = None  # by default told from the file's content
    host_types: dict[Name, Name] | None = None  # by hostlist, "*" for all others; nodes that it does not name are left out
    islands: Literal["apart", "joined"] | None = None  # switch trees without a common top; by default as the format has it

    @model_validator(mode="after")
    def _keys_of_its_builder(self) -> Self:
        for builder, keys in _KEYS.items():
            stray = [key for key in keys if builder != self.builder and getattr(self, key) != type(self).model_fields[key].default]
            if stray:
                raise ValueError(f"{stray[0]} is a key for builder {builder}, but the builder is {self.builder}")
        if self.builder == "file" and self.path is None:
            raise ValueError("builder file needs a path")
        return self

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        self._check_size()
        return self

    def _check_size(self) -> None:
        given = [name for name in SIZES if getattr(self, name) is not None]
        if self.builder == "file":
            if given:
                raise ValueError(f"the file says how many hosts there are; given: {', '.join(given)}")
            return
        if len(given) != 1:
            raise ValueError(f"exactly one of hosts, gpus and scalable_units is needed; given: {', '.join(given) or 'none'}")
        each = catalog.host(self.host).gpus
        if self.gpus is not None and self.gpus % each:
            raise ValueError(f"gpus is {self.gpus}: {self.host} has {each} GPUs, so a multiple of {each} is needed")
        if not 1 <= (self.host_count or 0) <= MOST_HOSTS:
            raise ValueError(f"that makes {self.host_count} hosts: allowed are 1 to {MOST_HOSTS}")

    @property
    def rack_hosts(self) -> int:
        """Hosts of a rack: what is given, or one scale-up domain, or 8 as in Colossus."""
        domain = catalog.host(self.host).domain_hosts
        return self.hosts_per_rack or (domain if domain > 1 else 8)

    @property
    def host_count(self) -> int | None:
        """How many hosts; None if only a file says it."""
        if self.builder == "file":
            return None
        if self.hosts is not None:
            return self.hosts
        if self.gpus is not None:
            return self.gpus // catalog.host(self.host).gpus
        return (self.scalable_units or 0) * self.scalable_unit_hosts - self.scalable_unit_hosts_left_out


#: Ways to say how big a fabric is.
SIZES = ("hosts", "gpus", "scalable_units")
#: Keys that one builder alone reads.
_KEYS = {
    "clos": (
        *("rail_optimised", "rails", "whole_arrays", "even_striping", "array_hosts", "pod_arrays"),
        *("planes", "nic_ports", "uplink_ports", "spine_switch", "buildings", "aggregate"),
    ),
    "dragonfly": ("group_switches", "switch_host_ports", "global_links_per_pair", "local_links_per_pair", "chassis_switches", "groups"),
    "file": ("path", "format", "host_types", "islands"),
}


class PartSettings(FabricOfHosts):
    """One fabric of several: those of one ``site`` are its buildings."""

    name: Name
    islands: Literal["joined"] | None = "joined"  # the tiers above the parts reach all of a part


class WanLinkSettings(Section):
    """Fibre between two sites, by their names; the distance gives its latency."""

    between: Annotated[tuple[Name, ...], BeforeValidator(as_tuple), Field(min_length=2, max_length=2)]
    distance_km: Annotated[Real, Field(ge=0, le=20_100)]  # half of the Earth's circumference
    bandwidth: Bandwidth | None = None  # by default an even share of the gateway's


class WanSettings(Section):
    """What joins sites: a gateway each and ``links`` between them, by default one of ``distance_km`` between every two sites."""

    gateway_bandwidth: Bandwidth
    links: Annotated[tuple[WanLinkSettings, ...], BeforeValidator(as_tuple)] = ()
    distance_km: Annotated[Real, Field(ge=0, le=20_100)] | None = None

    @model_validator(mode="after")
    def _distance_is_known(self) -> Self:
        if bool(self.links) == (self.distance_km is not None):
            raise ValueError("needs either links, each with its distance_km, or one distance_km for all")
        return self


class BuildoutSettings(Section):
    """Racks come into service one by one, by number: ``initial_racks`` are there at the start, the last comes at ``until``."""

    initial_racks: Annotated[Int, Field(ge=0, le=MOST_HOSTS)] = 0
    until: Annotated[Duration, Field(ge=1)]


class ClusterSettings(FabricOfHosts):
    """What is built: one fabric, or ``parts``, and the ``wan`` that joins their sites; and, where not all at once, when."""

    parts: Annotated[tuple[PartSettings, ...], BeforeValidator(as_tuple), Field(max_length=MOST_PARTS)] = ()
    wan: WanSettings | None = None
    buildout: BuildoutSettings | None = None  # by default every rack is there from the start

    def _check_size(self) -> None:
        if not self.parts:
            if self.wan is not None:
                raise ValueError("wan joins the sites of several parts, but the cluster has no parts")
            super()._check_size()
            return
        for key, field in FabricOfHosts.model_fields.items():
            if getattr(self, key) != field.default:
                raise ValueError(f"with parts, {key} belongs into each part, not into the cluster")
        if (self.host_count or 0) > MOST_HOSTS:
            raise ValueError(f"the parts make {self.host_count} hosts: allowed are 1 to {MOST_HOSTS}")

    @property
    def host_count(self) -> int | None:
        if not self.parts:
            return super().host_count
        counts = [part.host_count for part in self.parts]
        return None if None in counts else sum(count or 0 for count in counts)
