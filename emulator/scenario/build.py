"""From a scenario to its graph and the compiled cluster."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import networkx as nx

from emulator.scenario.cluster import FabricOfHosts, PartSettings, WanSettings
from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from topology import catalog, clos, dragonfly
from topology.clos import ClosPlan
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan
from topology.formats import read_graph
from topology.sites import Part, Wan, WanLink, compose, full_mesh
from topology.vocabulary import TopologyError

#: Parameters of plans that a scenario spells differently.
_FIELDS = {
    "rails_meet": "rails",
    "leaf_oversubscription": "oversubscription.leaf",
    "spine_oversubscription": "oversubscription.spine",
    "building_oversubscription": "oversubscription.building",
}


def build_cluster(scenario: Scenario) -> Cluster:
    """The cluster of a scenario, compiled. Raises ScenarioError where no such fabric exists."""
    with _no_collection():
        graph = _graph(scenario)
        try:
            return compile_cluster(graph)
        except TopologyError as error:
            raise _refused(scenario, "cluster", error) from None


def build_graph(scenario: Scenario) -> nx.Graph:
    """The graph of a scenario's cluster, in the vocabulary of `topology.vocabulary`. Raises ScenarioError naming the field."""
    with _no_collection():
        return _graph(scenario)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection inside: a graph is millions of dicts, none of them garbage, and the search takes as long as making them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _graph(scenario: Scenario) -> nx.Graph:
    settings = scenario.cluster
    if not settings.parts:
        return _fabric_graph(scenario, settings, "cluster", scenario.name, scenario.assumptions)
    parts = []
    for number, part in enumerate(settings.parts):
        graph = _fabric_graph(scenario, part, f"cluster.parts.{number}", part.name, ())
        parts.append(Part(part.name, graph, part.site, part.oversubscription.building))
    try:
        wan = None if settings.wan is None else _wan(settings.wan, settings.parts)
        return compose(scenario.name, parts, wan, scenario.assumptions)
    except TopologyError as error:
        raise _refused(scenario, "cluster", error) from None


def plans(scenario: Scenario) -> tuple[ClosPlan | DragonflyPlan, ...]:
    """The plans of all fabrics that are built, without those read from files. Raises ScenarioError naming the field."""
    settings = scenario.cluster
    if not settings.parts:
        built = [_plan(scenario, settings, "cluster", scenario.name, scenario.assumptions)]
    else:
        built = [_plan(scenario, part, f"cluster.parts.{number}", part.name, ()) for number, part in enumerate(settings.parts)]
    return tuple(plan for plan in built if plan is not None)


def _fabric_graph(scenario: Scenario, fabric: FabricOfHosts, place: str, name: str, assumptions: tuple[str, ...]) -> nx.Graph:
    plan = _plan(scenario, fabric, place, name, assumptions)
    if plan is None:
        return _read(scenario, fabric, place, name, assumptions)
    return clos.build(plan) if isinstance(plan, ClosPlan) else dragonfly.build(plan)


def _plan(
    scenario: Scenario, fabric: FabricOfHosts, place: str, name: str, assumptions: tuple[str, ...]
) -> ClosPlan | DragonflyPlan | None:
    """The plan of one fabric; None for one that is in a file."""
    if fabric.builder == "file":
        return None
    try:
        if fabric.builder == "dragonfly":
            return DragonflyPlan(
                name=name,
                host=catalog.host(fabric.host),
                switch=catalog.switch(fabric.switch),
                hosts=fabric.host_count or 0,
                hosts_per_rack=fabric.rack_hosts,
                group_switches=fabric.group_switches,
                switch_host_ports=fabric.switch_host_ports,
                global_links_per_pair=fabric.global_links_per_pair,
                local_links_per_pair=fabric.local_links_per_pair,
                chassis_switches=fabric.chassis_switches,
                groups=fabric.groups,
                site=fabric.site,
                assumptions=assumptions,
            )
        return ClosPlan(
            name=name,
            host=catalog.host(fabric.host),
            switch=catalog.switch(fabric.switch),
            hosts=fabric.host_count or 0,
            hosts_per_rack=fabric.rack_hosts,
            rail_optimised=fabric.rail_optimised,
            rails_meet=fabric.rails == "meet",
            whole_arrays=fabric.whole_arrays,
            even_striping=fabric.even_striping,
            leaf_oversubscription=fabric.oversubscription.leaf,
            spine_oversubscription=fabric.oversubscription.spine,
            building_oversubscription=fabric.oversubscription.building,
            array_hosts=fabric.array_hosts,
            pod_arrays=fabric.pod_arrays,
            planes=fabric.planes,
            nic_ports=fabric.nic_ports,
            uplink_ports=fabric.uplink_ports,
            spine_switch=None if fabric.spine_switch is None else catalog.switch(fabric.spine_switch),
            buildings=fabric.buildings,
            aggregate=fabric.aggregate,
            site=fabric.site,
            assumptions=assumptions,
        )
    except TopologyError as error:
        raise _refused(scenario, place, error) from None


def _read(scenario: Scenario, fabric: FabricOfHosts, place: str, name: str, assumptions: tuple[str, ...]) -> nx.Graph:
    """The graph in a file. What its format does not hold comes from the section ``cluster``."""
    over = fabric.oversubscription
    try:
        graph = read_graph(
            fabric.path or "",
            fabric.format,
            host=fabric.host,
            host_types=fabric.host_types,
            switch=fabric.switch,
            hosts_per_rack=fabric.hosts_per_rack,
            islands=fabric.islands,
            site=fabric.site,
            name=name,
            oversubscription=(over.leaf, over.spine, over.building),
        )
    except TopologyError as error:
        raise ScenarioError(f"scenario {scenario.name}: {place}.path: {error}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ScenarioError(f"scenario {scenario.name}: {place}.path: {fabric.path}: cannot be read: {reason}") from None
    graph.graph["name"] = name
    graph.graph["assumptions"] = [*assumptions, *graph.graph.get("assumptions", ())]
    return graph


def _wan(settings: WanSettings, parts: tuple[PartSettings, ...]) -> Wan:
    sites = tuple(dict.fromkeys(part.site for part in parts))
    if settings.distance_km is not None:
        share = settings.gateway_bandwidth / max(1, len(sites) - 1)
        return Wan(settings.gateway_bandwidth, full_mesh(sites, settings.distance_km, share))
    degree = {site: sum(site in link.between for link in settings.links) for site in sites}
    links = []
    for link in settings.links:
        one, other = link.between
        share = settings.gateway_bandwidth / max(1, degree.get(one, 1), degree.get(other, 1))
        links.append(WanLink((one, other), link.distance_km, share if link.bandwidth is None else link.bandwidth))
    return Wan(settings.gateway_bandwidth, tuple(links))


def _refused(scenario: Scenario, place: str, error: TopologyError) -> ScenarioError:
    field = _FIELDS.get(error.field, error.field)
    return ScenarioError(f"scenario {scenario.name}: {place}{'.' if field else ''}{field}: {error}")
