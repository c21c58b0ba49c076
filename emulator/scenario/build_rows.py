"""The section ``power.rows`` for the units that the cluster has."""

import numpy as np

from emulator.engine.power_settings import UNCAPPED, RowCaps
from emulator.racks.power import idle_milliwatts
from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from topology.cluster import Cluster
from topology.describe import unit_names

_LEVELS = ("rack", "leaf", "pod", "building")


def row_caps(scenario: Scenario, cluster: Cluster) -> RowCaps | None:
    """None where none are given. Raises ScenarioError naming the field: a level that the cluster does not have or whose units are no whole
    racks, a name that no unit has, a cap below what a unit draws while nothing runs.
    """
    given, field = scenario.power.rows, f"scenario {scenario.name}: power.rows"
    if given is None:
        return None
    racks = cluster.level("rack").first_host
    levels = [level.name for level in cluster.levels if level.name in _LEVELS and np.isin(level.first_host, racks).all()]
    if given.level not in levels:
        raise ScenarioError(f"{field}.level: {given.level}: this cluster has none of whole racks; allowed: {', '.join(levels)}")
    level, names = cluster.level(given.level), unit_names(cluster, given.level)
    watts: list[float | None] = [given.cap] * len(level)
    numbers = {name: number for number, name in enumerate(names)}
    for name, cap in given.caps.items():
        if name not in numbers:
            raise ScenarioError(f"{field}.caps: {name:.80} is no {given.level} of this cluster; allowed: {names[0]} to {names[-1]}")
        watts[numbers[name]] = cap
    idle = np.array([idle_milliwatts(kind) for kind in cluster.host_types], dtype=np.int64)
    hosts = np.repeat(idle[cluster.block_type], np.diff(cluster.block.first_host))
    for number, standing in enumerate(np.add.reduceat(hosts, level.first_host[:-1], dtype=np.int64).tolist()):
        cap_watts = watts[number]
        if cap_watts is not None and cap_watts * 1000 < standing:
            where = f"caps.{names[number]}" if names[number] in given.caps else "cap"
            least = f"at least {standing / 1000:,.0f}W, which {names[number]} draws while nothing runs"
            raise ScenarioError(f"{field}.{where}: is {cap_watts:,.0f}W; allowed: {least}")
    milliwatts = tuple([UNCAPPED if one is None else round(one * 1000) for one in watts])
    return RowCaps(given.level, tuple(names), tuple(level.first_host[:-1].tolist()), milliwatts)
