"""The section ``scheduler.sites`` for the sites that the cluster has."""

from collections.abc import Iterable

import numpy as np

from emulator.power.facility import it_cap_milliwatts
from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from emulator.scenario.sites import SiteSettings
from emulator.scheduler.sites import Dataset, Float64, Sites, Weights, standing_milliwatts, wan_of
from emulator.scheduler.table import NEVER
from topology.cluster import Cluster


def build_sites(scenario: Scenario, cluster: Cluster) -> Sites | None:
    """None where jobs are not dispatched. Raises ScenarioError naming the field: a site that the cluster does not have, a cap below what a
    site draws while nothing runs, data that may move where nothing joins the sites.
    """
    given = scenario.scheduler.sites
    if given is None:
        return None
    numbers = {name: number for number, name in enumerate(cluster.site_names)}

    def at(field: str, names: Iterable[str]) -> tuple[int, ...]:
        found = tuple(names)
        if strange := [name for name in found if name not in numbers]:
            text = f"{strange[0]!r:.80} is no site of this cluster; allowed: {', '.join(numbers)}"
            raise ScenarioError(f"scenario {scenario.name}: scheduler.sites.{field}: {text}")
        return tuple([numbers[name] for name in dict.fromkeys(found)])

    for place, link in enumerate(given.links):
        at(f"links.{place}.between", link.between)
    at("caps", given.caps)
    datasets = [Dataset(one.name, one.size, at(f"datasets.{number}.home", one.home)) for number, one in enumerate(given.datasets)]
    wan = _wan(given, cluster)
    if given.move_data and len(numbers) > 1 and any(one.size_bytes for one in datasets) and not wan.any():
        text = "nothing joins the sites; allowed: a bandwidth, or move_data: false"
        raise ScenarioError(f"scenario {scenario.name}: scheduler.sites.bandwidth: {text}")
    return Sites(
        names=cluster.site_names,
        every_ns=given.every,
        backlog=given.backlog,
        move_after_ns=NEVER if given.move_after is None else given.move_after,
        weights=Weights(**given.weights.model_dump()),
        wan_bytes_per_second=wan,
        datasets=tuple(datasets),
        of_tenant={tenant: number for number, one in enumerate(given.datasets) for tenant in one.tenants},
        of_queue={queue: number for number, one in enumerate(given.datasets) for queue in one.queues},
        move_data=given.move_data,
        cap_milliwatts=_caps(scenario, given, cluster),
        high_priority=given.high_priority,
    )


def _caps(scenario: Scenario, given: SiteSettings, cluster: Cluster) -> tuple[int | None, ...]:
    """Of each site's IT: its cap without the PUE."""
    pue = scenario.power.pue
    caps = tuple([it_cap_milliwatts(round(given.caps[name] * 1000), pue) if name in given.caps else None for name in cluster.site_names])
    for name, cap, standing in zip(cluster.site_names, caps, standing_milliwatts(cluster).tolist(), strict=True):
        if cap is not None and cap <= standing:
            least = f"above {standing / 1000 * pue:,.0f}W, which it draws while nothing runs"
            raise ScenarioError(f"scenario {scenario.name}: scheduler.sites.caps.{name}: is {given.caps[name]:,.0f}W; allowed: {least}")
    return caps


def _wan(given: SiteSettings, cluster: Cluster) -> Float64:
    count = len(cluster.site_names)
    if given.bandwidth is not None:
        return np.full((count, count), given.bandwidth)
    if not given.links:
        return wan_of(cluster)
    found = np.zeros((count, count))
    for link in given.links:
        one, other = (cluster.site_names.index(name) for name in link.between)
        found[one, other] = found[other, one] = link.bandwidth
    return found
