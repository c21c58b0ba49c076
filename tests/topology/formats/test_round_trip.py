"""Export, then import: the same arrays where the format holds all, the same hierarchy where it holds that."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import networkx as nx
import numpy as np
import pytest

from emulator.scenario import load, presets
from emulator.scenario.build import build_graph
from topology import catalog, dragonfly
from topology.catalog import HGX_H100, HostType
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan
from topology.formats import FORMATS, Holds, read_graph, write_graph

#: Larger ones differ from these, and from the other graphs here, in numbers only.
_MOST_HOSTS = 2_500
_SITES = """
name: three-fabrics
assumptions: ["Assumed: everything."]
cluster:
  parts:
    - {name: hall-a, site: Abilene, gpus: 512, switch: qm9700}
    - {name: hall-b, site: Abilene, host: gb200-nvl72, hosts: 37, oversubscription: {building: 4}}
    - {name: fly, site: Oak Ridge, builder: dragonfly, host: frontier-node, switch: rosetta, hosts: 96, hosts_per_rack: 32,
       group_switches: 8, global_links_per_pair: 3}
  wan: {gateway_bandwidth: 8Tbps, distance_km: 1400}
"""


def _preset(name: str) -> nx.Graph:
    return build_graph(load(name))


def _plan(**changes: Any) -> nx.Graph:
    values: dict[str, Any] = {"name": "x", "host": HGX_H100, "switch": catalog.QM9700, "hosts": 40, "hosts_per_rack": 4} | changes
    return build(ClosPlan(**values))


def _mixed() -> nx.Graph:
    """Two types of hosts, each under leaves of its own, one with names."""
    graph = nx.Graph(name="mixed", host="hgx-h100", switch="qm9700", hosts_per_rack=8, site="here", assumptions=["A, & <B>."])
    for number in range(4):
        graph.add_node(f"old-{number}", tier="endpoint", host="hgx-a100", hosts_per_rack=2)
        graph.add_edge(f"old-{number}", "leaf-a", lanes=8, rails=8, lane_bytes_per_second=25e9)
    for number in range(2):
        graph.add_node(f"new-{number}", tier="endpoint", hostlist=f"n{number}")
        graph.add_edge(f"new-{number}", "leaf-b", lanes=8, rails=8)
    graph.add_node("leaf-a", tier="leaf", switches=2, switch="qm8790")
    graph.add_node("leaf-b", tier="leaf")
    graph.add_node("spine", tier="spine", switches=np.int64(2))
    graph.add_edge("leaf-a", "spine", lanes=32, lane_bytes_per_second=25e9, latency_seconds=1.25e-6)
    graph.add_edge("leaf-b", "spine", lanes=16, lane_bytes_per_second=50e9)
    return graph


def _own_host() -> nx.Graph:
    """A host type and a switch type that are not in the catalog."""
    values = {field.name: getattr(HGX_H100, field.name) for field in fields(HostType)}
    host = HostType(**(values | {"name": "mine", "nics": 4, "peak_watts": 9000.5}))
    return _plan(host=host)


def _sites() -> nx.Graph:
    """Two buildings, a dragonfly, a WAN and three types of hosts."""
    with NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(_SITES)
        file.flush()
        return build_graph(load(file.name))


def _dragonfly() -> nx.Graph:
    host, switch = catalog.FRONTIER_NODE, catalog.ROSETTA
    plan = DragonflyPlan("fly", host, switch, hosts=150, hosts_per_rack=32, group_switches=8, switch_host_ports=16, groups=6)
    return dragonfly.build(plan)


_GRAPHS: dict[str, Callable[[], nx.Graph]] = {
    "two tiers": _plan,
    "three tiers": lambda: _plan(hosts=1000, hosts_per_rack=8),
    "isolated rails": lambda: _plan(hosts=200, rails_meet=False),
    "oversubscribed": lambda: _plan(hosts=300, leaf_oversubscription=3.0, spine_oversubscription=2.0),
    "plain": lambda: _plan(rail_optimised=False),
    "buildings": lambda: _plan(hosts=600, hosts_per_rack=8, buildings=3),
    "NVL72": lambda: _plan(host=catalog.GB200_NVL72, hosts=18 * 40 + 5, hosts_per_rack=18, switch=catalog.SN5600),
    "NVL72, rails joined": lambda: _plan(host=catalog.GB200_NVL72, hosts=18 * 300, hosts_per_rack=18, aggregate="rails"),
    "mixed": _mixed,
    "dragonfly": _dragonfly,
    "sites": _sites,
    "own host": _own_host,
    **{f"preset {name}": partial(_preset, name) for name, _ in presets() if (load(name).cluster.host_count or 0) <= _MOST_HOSTS},
}


@pytest.fixture(scope="module", params=_GRAPHS)
def built(request: pytest.FixtureRequest) -> tuple[nx.Graph, Cluster]:
    graph = _GRAPHS[request.param]()
    return graph, compile_cluster(graph)


def assert_equal(one: Any, other: Any, what: str = "cluster") -> None:
    """Every array, every value."""
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, what
        np.testing.assert_array_equal(one, other, err_msg=what)
    elif is_dataclass(one):
        for field in fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name), f"{what}.{field.name}")
    elif isinstance(one, tuple) and one and is_dataclass(one[0]):
        assert len(one) == len(other), what
        for number, (mine, its) in enumerate(zip(one, other, strict=True)):
            assert_equal(mine, its, f"{what}.{number}")
    else:
        assert one == other, what


@pytest.mark.parametrize("form", [name for name, form in FORMATS.items() if form.holds is Holds.GRAPH])
def test_whole_graphs_come_back(built: tuple[nx.Graph, Cluster], form: str, tmp_path: Path) -> None:
    graph, cluster = built
    path = tmp_path / "file"
    path.write_text(write_graph(graph, cluster, form))
    assert_equal(compile_cluster(read_graph(path, host="aurora-node", switch="rosetta")), cluster)


@pytest.mark.parametrize("form", [name for name, form in FORMATS.items() if form.holds is not Holds.GRAPH])
def test_hierarchies_come_back(built: tuple[nx.Graph, Cluster], form: str, tmp_path: Path) -> None:
    """With one type of hosts: names, and the hosts of every unit that the format holds."""
    graph, cluster = built
    path = tmp_path / "file"
    path.write_text(write_graph(graph, cluster, form))
    one_type = len(cluster.host_types) == 1
    host = cluster.host_type.name if cluster.host_type.name in catalog.HOSTS else "hgx-h100"
    rack = graph.graph["hosts_per_rack"] if one_type else None
    again = compile_cluster(read_graph(path, host=host, switch="sn5600", hosts_per_rack=rack))
    assert again.host_count == cluster.host_count
    assert [again.host_name(at) for at in range(again.host_count)] == [cluster.host_name(at) for at in range(cluster.host_count)]
    several = one_type and cluster.host_type.domain_hosts > 1
    if form == "slurm-block":
        held = ["domain"] if several else ["leaf"] if one_type else []
    else:
        held = ["leaf", "pod", "site"] if len(cluster.site_names) == 1 else ["leaf", "pod"]
        held += ["domain"] if several else []
        held += ["building"] if any(level.name == "building" for level in cluster.levels) and len(cluster.site_names) == 1 else []
    for name in held:
        assert again.level(name).first_host.tolist() == cluster.level(name).first_host.tolist(), name


def test_the_older_name_of_edges_is_read(tmp_path: Path) -> None:
    graph = _plan()
    cluster = compile_cluster(graph)
    path = tmp_path / "links.json"
    path.write_text(write_graph(graph, cluster, "node-link").replace('"edges": [', '"links": ['))
    assert_equal(compile_cluster(read_graph(path)), cluster)


def test_networkx_own_json_and_graphml(tmp_path: Path) -> None:
    """What networkx writes itself is read, and what is written here networkx reads."""
    import json

    graph = _plan()
    cluster = compile_cluster(graph)
    path = tmp_path / "nx.json"
    path.write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    assert_equal(compile_cluster(read_graph(path)), cluster)
    again = nx.node_link_graph(json.loads(write_graph(graph, cluster, "node-link")), edges="edges")
    assert_equal(compile_cluster(again), cluster)
    plain = graph.copy()
    assumptions = plain.graph.pop("assumptions")
    assert assumptions == []
    path = tmp_path / "nx.graphml"
    nx.write_graphml(plain, path)
    assert_equal(compile_cluster(read_graph(path)), cluster)
    written = nx.parse_graphml(write_graph(graph, cluster, "graphml"))
    assert set(written) == set(graph)
    assert written.number_of_edges() == graph.number_of_edges()
