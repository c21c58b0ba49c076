"""What `topology.check` finds, one broken cluster for each finding."""

from typing import Any

import networkx as nx
import pytest

from topology import catalog
from topology.check import check
from topology.clos import ClosPlan, build
from topology.sites import Part, compose


def _plan(**changes: Any) -> nx.Graph:
    values: dict[str, Any] = {"name": "x", "host": catalog.HGX_H100, "switch": catalog.QM9700, "hosts": 64, "hosts_per_rack": 4} | changes
    return build(ClosPlan(**values))


def _found(graph: nx.Graph, *, errors: bool = False) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in check(graph):
        assert finding.text.endswith("."), finding
        if finding.error or not errors:
            found.setdefault(finding.about, []).append(finding.text)
    return found


def test_a_whole_fabric_has_nothing_odd() -> None:
    assert check(_plan()) == []
    assert check(_plan(hosts=512)) == []  # three tiers


def test_notes() -> None:
    graph = _plan()
    assert graph.nodes["spine-p0"]["switches"] == 8
    graph.nodes["spine-p0"]["switches"] = 1
    assert _found(graph)["single point of failure"] == ["2 leaf units of 2 have one switch above: spine-00000."]
    assert _found(graph, errors=True) == {"ports over the radix": ["spine-p0 (1 switch) needs 512 ports and has 64."]}
    assert _found(_plan(hosts=92))["uneven units"] == ["2 of 3 leaf units have 32 hosts, but 1 has 28."]
    found = _found(_plan(leaf_oversubscription=3.0, hosts=96))
    assert found["oversubscription"] == ["The worst leaf switch has 3 times as much bandwidth down as up."]
    found = _found(_plan(rail_optimised=False, hosts=8))
    assert found["single point of failure"][0].startswith("8 hosts or domains have all NICs on one leaf switch")


def test_asymmetric_uplinks_and_rails() -> None:
    graph = _plan()
    graph.edges["leaf-a1-0", "spine-p0"]["lanes"] = 16
    texts = _found(graph)["asymmetric uplinks"]
    assert texts == ["leaf units of 32 hosts differ in their uplinks: that of r00008-h00 has 96,000 Gb/s, that of r00000-h00 102,400 Gb/s."]
    graph = _plan()
    graph.remove_edge("host-3", "leaf-a0-7")
    assert _found(graph)["rails"] == ["Of the hosts or domains of type hgx-h100, which have 8 rails, 1 has 7, 63 have 8 with a cable."]


def test_stranded_ports() -> None:
    found = _found(_plan(hosts=4, whole_arrays=True))
    assert any(text.startswith("224 of the 512 ports of 8 leaf switches have no cable") for text in found["stranded ports"]), found


def test_errors() -> None:
    graph = _plan()
    graph.add_node("spare", tier="leaf")
    assert _found(graph, errors=True) == {"empty switch": ["spare has no host below."]}
    graph = _plan()
    graph.remove_node("spine-p0")
    texts = _found(graph, errors=True)["unreachable"]
    assert len(texts) == 1 or all("cannot reach the rest" in text for text in texts)
    assert any("host-32, host-33, host-34 and 29 more cannot reach" in text or "host-0" in text for text in texts), texts
    graph = _plan()
    del graph.graph["hosts_per_rack"]
    assert "hosts_per_rack" in _found(graph, errors=True)["not a cluster"][0]
    assert _found(nx.Graph(host="hgx-h100", switch="qm9700"), errors=True)["not a cluster"]


def test_mixed_hosts_and_a_thin_wan() -> None:
    graph = nx.Graph(name="two", host="hgx-h100", switch="qm9700", hosts_per_rack=4)
    for site, host in (("east", "hgx-h100"), ("west", "hgx-h200"), ("north", "hgx-h100")):
        for number in range(4):
            graph.add_node(f"{site}-{number}", tier="endpoint", host=host, site=site)
            graph.add_edge(f"{site}-{number}", f"{site}-leaf", lanes=8, rails=8)
        graph.add_node(f"{site}-leaf", tier="leaf", switches=2)
        graph.add_node(f"{site}-gate", tier="wan", site=site)
        graph.add_edge(f"{site}-leaf", f"{site}-gate", lanes=8)
    graph.add_edge("east-gate", "west-gate", lanes=4, distance_km=100.0)
    graph.add_edge("west-gate", "north-gate", lanes=4, distance_km=100.0)
    found = _found(graph)
    assert found["mixed hosts"] == ["Hosts of 2 types: 8 hgx-h100, 4 hgx-h200. A job runs on hosts of one type."]
    assert "Without the link between east and west the sites are in two parts." in found["WAN"]
    assert "Without west the other sites are in parts." in found["WAN"]
    graph.add_edge("east-gate", "north-gate", lanes=4, distance_km=100.0)
    assert not any("Without" in text for text in _found(graph).get("WAN", []))


@pytest.mark.parametrize("name", ["tier", "host"])
def test_nonsense_is_an_error_and_no_exception(name: str) -> None:
    graph = _plan(hosts=8)
    graph.nodes["host-0"][name] = "nonsense"
    assert any(finding.error for finding in check(graph))


def test_units_are_compared_with_those_of_their_own_type() -> None:
    """Leaf units of 32 hosts at 200 and at 400 Gb/s a NIC differ in their uplinks, and should."""
    parts = [
        Part("old", _plan(host=catalog.HGX_A100, hosts=64), "x"),
        Part("new", _plan(hosts=128), "x", building_oversubscription=2.0),
        Part("odd", _plan(hosts=28), "x"),
    ]
    found = _found(compose("both", parts))
    assert "asymmetric uplinks" not in found
    assert found["uneven units"] == [
        "4 of 5 leaf units of hgx-h100 have 32 hosts, but 1 has 28.",
        "1 of 2 pod units of hgx-h100 have 28 hosts, but 1 has 128.",
    ]
