"""Physical switches and cables of banks: every cable has two ends, no switch too many, and the units below share what the ratio says."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from topology import catalog
from topology.cables import cable_ends, cabling, switch_cables, switch_count
from topology.clos import ClosPlan, TopologyError, build
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.describe import switch_name
from topology.dragonfly import DragonflyPlan
from topology.dragonfly import build as build_dragonfly
from topology.sites import Part, Wan, compose, full_mesh


def clos(hosts: int, **more: Any) -> Cluster:
    host = more.pop("host", catalog.HGX_H100)
    values: dict[str, Any] = {"switch": catalog.QM9700, "hosts_per_rack": host.domain_hosts * 4, **more}
    plan = ClosPlan(name="test", host=host, hosts=hosts, **values)
    return compile_cluster(build(plan))


def check_ends(cluster: Cluster, radix: int) -> None:
    """Each end of each cable is one switch's; a switch's cables are as many as another's of its bank, or one more."""
    links, cables = cluster.links, cabling(cluster)
    ends = [cable_ends(cluster, link, cables) for link in range(len(links))]
    for node in np.flatnonzero(links.switches).tolist():
        degree = []
        for number in range(switch_count(cluster, node)):
            mine = switch_cables(cluster, node, number, cables)
            for link, cable in mine:
                end = ends[link][1 if links.v[link] == node else 0]
                assert (end[cable] == number).all()
            degree.append(sum(len(cable) for _, cable in mine))
        assert max(degree) - min(degree) <= 1
        assert max(degree) <= radix, node
        assert sum(degree) == links.lanes[(links.u == node) | (links.v == node)].sum()


@given(
    hosts=st.integers(1, 900),
    host=st.sampled_from([catalog.HGX_H100, catalog.GB200_NVL72]),
    buildings=st.sampled_from([1, 2]),
    aggregate=st.sampled_from(["none", "rails"]),
    whole=st.booleans(),
    leaf=st.sampled_from([1.0, 2.0, 3.0]),
)
@settings(max_examples=30, deadline=None)
def test_no_switch_has_more_cables_than_ports(
    hosts: int, host: catalog.HostType, buildings: int, aggregate: str, whole: bool, leaf: float
) -> None:
    try:
        cluster = clos(
            hosts, host=host, buildings=buildings, aggregate=aggregate, whole_arrays=whole, leaf_oversubscription=leaf, hosts_per_rack=18
        )
    except TopologyError:
        assume(False)
    check_ends(cluster, catalog.QM9700.radix)


def test_sites_and_buildings_fit_their_ports_too() -> None:
    fabric = {name: build(ClosPlan(name, catalog.HGX_H100, catalog.QM9700, hosts, 4)) for name, hosts in (("a", 300), ("b", 90), ("c", 40))}
    parts = [Part("a", fabric["a"], "x", 2.0), Part("b", fabric["b"], "x"), Part("c", fabric["c"], "y"), Part("d", fabric["c"], "z")]
    mesh = full_mesh(("x", "y", "z"), 100.0, 3e12)
    check_ends(compile_cluster(compose("three", parts, Wan(5e12, mesh))), catalog.QM9700.radix)


def test_a_dragonfly_has_no_banks() -> None:
    plan = DragonflyPlan("small", catalog.FRONTIER_NODE, catalog.ROSETTA, 40, 16, 8, 4, global_links_per_pair=2)
    check_ends(compile_cluster(build_dragonfly(plan)), catalog.ROSETTA.radix)


@pytest.mark.parametrize("hosts", [7000, 3000, 2000, 1990, 70])
def test_what_two_units_share_is_the_ratio_of_the_builder(hosts: int) -> None:
    cluster = clos(hosts, whole_arrays=hosts != 70, pod_arrays=4 if hosts < 7000 else None)
    links, cables = cluster.links, cabling(cluster)
    top = int(links.node_tier.max())
    tops = np.flatnonzero(links.node_tier == top)
    assert len(tops) == 1
    # Cables of every unit below on every switch at the top.
    below = [
        np.bincount(cable_ends(cluster, link, cables)[1], minlength=links.switches[tops[0]])
        for link in np.flatnonzero(links.v == tops[0]).tolist()
    ]
    worst = min((np.minimum(one, other).sum() / min(one.sum(), other.sum()) for one, other in combinations(below, 2)), default=1.0)
    assert worst == pytest.approx(cluster.counts.worst_pod_to_pod_ratio, abs=1e-12)


def test_ends_by_hand() -> None:
    cluster = compile_cluster(build(ClosPlan("two", catalog.GB200_NVL72, catalog.SN5600, 20, 18, whole_arrays=True, aggregate="rails")))
    links = cluster.links
    # The whole domain has a lane per tray and rail on the four leaves of its array: 18 trays, rails in turn.
    low, high = cable_ends(cluster, 0)
    assert low.tolist() == np.repeat(np.arange(18), 4).tolist()
    assert high.tolist() == [0, 1, 2, 3] * 18
    low, high = cable_ends(cluster, 1)
    assert low.tolist() == [0] * 4 + [1] * 4
    leaf, spine = 2, 3
    assert links.switches.tolist() == [0, 0, 4, 2]
    # 72 + 8 cables from below are 20 a leaf, then come the 256 upwards, 64 a leaf; they go to the two spines in turn.
    assert [(link, len(cable)) for link, cable in switch_cables(cluster, leaf, 3)] == [(0, 18), (1, 2), (2, 64)]
    assert switch_cables(cluster, leaf, 3)[2][1][:3].tolist() == [3, 7, 11]
    # Cable k of 256 upwards is leaf k mod 4's, and the first half of them goes to the first spine: 32 of each leaf's to either.
    assert switch_cables(cluster, spine, 1)[0][1].tolist() == list(range(128, 256))
    assert switch_name(cluster, leaf, 3) == "leaf-00000/3"
    for wrong in (lambda: cable_ends(cluster, 3), lambda: switch_cables(cluster, spine, 2), lambda: switch_cables(cluster, 0, 0)):
        with pytest.raises(IndexError, match="no "):
            wrong()
    with pytest.raises(IndexError, match="no switch 4 in leaf-00000: it has 4"):
        switch_name(cluster, leaf, 4)


def test_every_leaf_of_a_joined_array_reaches_every_spine_of_its_pod() -> None:
    """54 uplinks of each of 4 leaves to 54 spines: one to each, as rails can meet at any of them."""
    cluster = clos(18 * 3 * 16 * 2, host=catalog.GB200_NVL72, switch=catalog.SN5600, aggregate="rails", hosts_per_rack=18)
    links, cables = cluster.links, cabling(cluster)
    trunks = np.flatnonzero((links.node_tier[links.u] == 1) & (links.switches[links.u] == 4))
    assert len(trunks) == 32
    for link in trunks.tolist():
        low, high = cable_ends(cluster, link, cables)
        assert (links.lanes[link], links.switches[links.v[link]]) == (216, 54)
        assert len(np.unique(low * 54 + high)) == 216
