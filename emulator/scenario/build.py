"""From a scenario to the compiled cluster."""

from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from topology import catalog
from topology.clos import ClosPlan, TopologyError, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

#: Parameters of `ClosPlan` that a scenario spells differently.
_FIELDS = {
    "rails_meet": "rails",
    "leaf_oversubscription": "oversubscription.leaf",
    "spine_oversubscription": "oversubscription.spine",
    "building_oversubscription": "oversubscription.building",
}


def clos_plan(scenario: Scenario) -> ClosPlan:
    """The plan of a scenario's cluster. Raises ScenarioError naming the field."""
    cluster = scenario.cluster
    try:
        return ClosPlan(
            name=scenario.name,
            host=catalog.host(cluster.host),
            switch=catalog.switch(cluster.switch),
            hosts=cluster.host_count,
            hosts_per_rack=cluster.hosts_per_rack,
            rail_optimised=cluster.rail_optimised,
            rails_meet=cluster.rails == "meet",
            whole_arrays=cluster.whole_arrays,
            even_striping=cluster.even_striping,
            leaf_oversubscription=cluster.oversubscription.leaf,
            spine_oversubscription=cluster.oversubscription.spine,
            building_oversubscription=cluster.oversubscription.building,
            array_hosts=cluster.array_hosts,
            pod_arrays=cluster.pod_arrays,
            buildings=cluster.buildings,
            aggregate=cluster.aggregate,
            site=cluster.site,
            assumptions=scenario.assumptions,
        )
    except TopologyError as error:
        field = _FIELDS.get(error.field, error.field)
        raise ScenarioError(f"scenario {scenario.name}: cluster{'.' if field else ''}{field}: {error}") from None


def build_cluster(scenario: Scenario) -> Cluster:
    """The cluster of a scenario, compiled. Raises ScenarioError where no such fabric exists."""
    return compile_cluster(build(clos_plan(scenario)))
