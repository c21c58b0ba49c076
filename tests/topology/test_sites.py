"""Several fabrics as one cluster: exact counts of buildings and sites, units, planes, latencies, and what cannot be joined."""

from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import TIERS, Cluster
from topology.compile import compile_cluster
from topology.dragonfly import DragonflyPlan
from topology.dragonfly import build as build_dragonfly
from topology.sites import Part, Wan, WanLink, compose, full_mesh
from topology.vocabulary import TopologyError


def clos(name: str, hosts: int, host: catalog.HostType = catalog.HGX_H100, **more: Any) -> nx.Graph:
    return build(ClosPlan(name, host, catalog.QM9700, hosts, 4 * host.domain_hosts, **more))


def two_sites() -> Cluster:
    """Site x of two buildings (64 hosts of two tiers, non-blocking, and 40 with a quarter of the bandwidth out), site y of one."""
    parts = [
        Part("one", clos("one", 64), "x"),
        Part("two", clos("two", 40, catalog.HGX_H200), "x", 4.0),
        Part("far", clos("far", 36, catalog.GB200_NVL72), "y"),
    ]
    return compile_cluster(compose("both", parts, Wan(1e12, (WanLink(("y", "x"), 800.0, 5e11),)), ["Assumed: all of it."]))


def test_exact_counts_of_two_sites() -> None:
    cluster = two_sites()
    counts = cluster.counts
    assert (counts.gpus, counts.hosts, counts.domains) == ((64 + 40) * 8 + 36 * 4, 140, 64 + 40 + 2)
    assert [host.name for host in cluster.host_types] == ["hgx-h100", "hgx-h200", "gb200-nvl72"]
    assert cluster.type_hosts == (64, 40, 36)
    assert cluster.gpu_count == counts.gpus
    assert (counts.leaf, counts.core) == (16 + 10 + 8, 0)  # a leaf of 32 ports down has the 18 NICs of one NVL72 on its rail
    # Spines have ports for what comes in and for what goes out: 512 + 512, 320 + 80, 144 + 20 to the gateway (1 TB/s is 20 x 400G).
    assert counts.spine == ceil(1024 / 64) + ceil(400 / 64) + ceil(164 / 64)
    assert (counts.leaf_spine_links, counts.inter_building_links) == (512 + 320 + 144, 512 + 80)
    assert (counts.gateway_links, counts.wan_links) == (20 + 20, 10)
    assert counts.inter_building == ceil((592 + 20) / 64)
    assert counts.wan == 1 + 1
    assert counts.taper is None
    assert counts.local_links == counts.global_links == 0
    assert counts.bisection_bytes_per_second == 5e11  # the link between the sites
    assert cluster.assumptions == ("Assumed: all of it.",)
    assert {level.name: len(level) for level in cluster.levels} == {
        "host": 140,
        "domain": 106,
        "rack": 16 + 10 + 2,
        "leaf": 2 + 2 + 2,
        "pod": 3,
        "building": 3,
        "site": 2,
    }
    assert cluster.site_names == ("x", "y")


def test_uplinks_and_peers_of_sites() -> None:
    cluster = two_sites()
    links = cluster.links
    names = [TIERS[tier] for tier in links.tier]
    site, building = cluster.level("site"), cluster.level("building")
    assert [names[link] for link in site.uplinks] == ["wan", "wan"]
    assert np.diff(site.uplink_start).tolist() == [1, 1]
    assert links.bytes_per_second[site.uplinks].tolist() == [1e12, 1e12]
    assert [names[link] for link in building.uplinks] == ["inter_building", "inter_building", "wan"]
    (peers,) = cluster.peers
    assert (peers.level, peers.unit_u.tolist(), peers.unit_v.tolist()) == ("site", [0], [1])
    assert links.node_tier[[links.u[peers.links[0]], links.v[peers.links[0]]]].tolist() == [5, 5]
    assert not np.isin(peers.links, np.concatenate([level.uplinks for level in cluster.levels])).any()
    # Each site is a plane, and the WAN is the last one; gateways' uplinks belong to their site.
    assert sorted(set(links.plane.tolist())) == [0, 1, 2]
    assert np.flatnonzero(links.plane == 2).tolist() == peers.links.tolist()
    assert links.plane[site.uplinks].tolist() == [0, 1]
    assert links.latency_seconds[peers.links[0]] == pytest.approx(800 * 5e-6 + 150e-9)


def test_types_of_blocks_and_units() -> None:
    cluster = two_sites()
    assert set(cluster.block_type[:-2].tolist()) == {0, 1}
    assert cluster.block_type[-2:].tolist() == [2, 2]
    kind = np.repeat(cluster.block_type, np.diff(cluster.block.first_host))
    assert kind.tolist() == [0] * 64 + [1] * 40 + [2] * 36
    for finer, coarser in pairwise(cluster.levels):
        assert np.isin(coarser.first_host, finer.first_host).all()
    assert np.isin(cluster.block.first_host, cluster.level("host").first_host).all()


def test_a_dragonfly_and_a_clos_by_wan() -> None:
    plan = DragonflyPlan("fly", catalog.FRONTIER_NODE, catalog.ROSETTA, 96, 32, 8, 16, global_links_per_pair=3, groups=4)
    parts = [Part("fly", build_dragonfly(plan), "hills"), Part("fly2", build_dragonfly(plan), "lake"), Part("fat", clos("fat", 16), "city")]
    cluster = compile_cluster(compose("three", parts, Wan(1e12, full_mesh(("hills", "lake", "city"), 50.0, 4e11))))
    assert cluster.counts.wan_links == 3 * 16  # 400 GB/s is 16 x 200G, or 8 x 400G: the slower end decides, even towards the city
    assert (cluster.counts.leaf, cluster.counts.local_links, cluster.counts.global_links) == (64 + 4, 2 * 4 * 28, 2 * 6 * 3)
    assert [(peers.level, len(peers.links)) for peers in cluster.peers] == [("leaf", 2 * 4 * 28), ("pod", 2 * 6 * 3), ("site", 3)]
    pod = cluster.level("pod")
    groups = set(zip(cluster.peers[1].unit_u.tolist(), cluster.peers[1].unit_v.tolist(), strict=True))
    hosted = len(pod)
    assert hosted == 3 + 3 + 1
    # Groups of different sites are not joined; the groups without hosts have numbers of their own after the pods'.
    assert groups == {(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)} | {(n, 7) for n in (0, 1, 2)} | {(n, 8) for n in (3, 4, 5)}
    assert [len(set(cluster.links.plane[peers.links].tolist())) for peers in cluster.peers] == [2, 2, 1]


def test_names_that_files_give_are_kept() -> None:
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=1, names="given")
    graph.add_node("nvl1", tier="endpoint", host="gb200-nvl72", hosts=3, hosts_per_rack=18, hostlist="gpu[08-10]")
    graph.add_node("n7", tier="endpoint")
    for at, node in enumerate(("nvl1", "n7")):
        graph.add_node(f"sw{at}", tier="leaf")
        graph.add_edge(node, f"sw{at}", lanes=4, rails=4)
        graph.add_edge(f"sw{at}", "top", lanes=2)
    graph.nodes["top"].update(tier="spine")
    alone = compile_cluster(graph)
    assert alone.host_names == ("gpu08", "gpu09", "gpu10", "n7")
    assert alone.switch_names == ("sw0", "sw1", "top")
    whole = compile_cluster(compose("w", [Part("a", graph, "x"), Part("b", clos("b", 2), "y")], Wan(1e9, full_mesh("xy", 1.0, 1e9))))
    assert whole.host_names == ("gpu08", "gpu09", "gpu10", "n7", "r00002-h00", "r00002-h01")
    assert whole.switch_names is None
    with pytest.raises(TopologyError, match="host gpu08 is in the graph twice"):
        compile_cluster(compose("w", [Part("a", graph, "x"), Part("b", graph, "x")]))


def test_parts_of_several_buildings_share_the_tier_of_their_site() -> None:
    parts = [Part("a", clos("a", 64, buildings=2, building_oversubscription=2.0), "x"), Part("b", clos("b", 32), "x")]
    cluster = compile_cluster(compose("w", parts))
    assert len(cluster.level("building")) == 3
    assert len(cluster.level("site")) == 1
    assert cluster.counts.inter_building_links == 2 * 128 + 256
    assert cluster.counts.inter_building == ceil(512 / 64)


def test_nics_of_different_speed_keep_their_trunks() -> None:
    slow = replace(catalog.HGX_A100, nics=4)
    parts = [Part("a", clos("a", 40), "x"), Part("b", clos("b", 40, slow), "y")]
    cluster = compile_cluster(compose("w", parts, Wan(1e10, full_mesh("xy", 1.0, 1e10))))
    links = cluster.links
    trunks = links.tier == 1
    assert set((links.bytes_per_second[trunks] / links.lanes[trunks]).tolist()) == {50e9, 25e9}
    assert cluster.rails == 8
    # Trunks of the fabric with four NICs a host have its four rails.
    far = trunks & (links.plane == links.plane[np.flatnonzero(links.tier == 0)[-1]])
    assert (links.rail_first[far] + links.rails[far]).max() == 4


@given(sizes=st.lists(st.tuples(st.integers(1, 60), st.sampled_from("xyz")), min_size=1, max_size=5), over=st.sampled_from([1.0, 3.0, 7.5]))
@settings(max_examples=40, deadline=None)
def test_any_parts_make_a_cluster_whose_hosts_are_all_there(sizes: list[tuple[int, str]], over: float) -> None:
    parts = [Part(f"p{at}", clos(f"p{at}", hosts), site, over) for at, (hosts, site) in enumerate(sizes)]
    sites = tuple(dict.fromkeys(site for _, site in sizes))
    wan = Wan(2e12, full_mesh(sites, 10.0, 1e12)) if len(sites) > 1 else None
    cluster = compile_cluster(compose("w", parts, wan))
    assert cluster.host_count == sum(hosts for hosts, _ in sizes)
    assert cluster.site_names == sites
    by_site = [sum(hosts for hosts, of in sizes if of == site) for site in sites]
    assert np.diff(cluster.level("site").first_host).tolist() == by_site
    if len(cluster.levels) == 7:
        assert len(cluster.level("building")) == len(sizes)
    links = cluster.links
    assert cluster.counts.wan == (0 if wan is None else links.switches[links.node_tier == 5].sum())
    # What a part can send out of its building: the bandwidth of its hosts over the oversubscription, in whole cables.
    out = np.zeros(len(links.switches))
    np.add.at(out, links.u, np.where(links.tier == TIERS.index("inter_building"), links.lanes, 0))
    several = [sum(of == site for _, of in sizes) > 1 for _, site in sizes]
    expected = sorted(ceil(hosts * 8 / over - 1e-9) for (hosts, _), joined in zip(sizes, several, strict=True) if joined)
    assert sorted(out[out > 0].tolist()) == expected


def mesh(*sites: str) -> Wan:
    return Wan(1e12, full_mesh(sites, 1.0, 1e12))


@pytest.mark.parametrize(
    ("parts", "wan", "text"),
    [
        ([], None, "at least one part"),
        ([("a", "x"), ("a", "y")], mesh("x", "y"), "two parts are called a"),
        ([("a", "x"), ("b", "y")], None, "the sites x, y need a wan"),
        ([("a", "x"), ("b", "x")], mesh("x"), "there is only x"),
        ([("a", "x"), ("b", "y")], mesh("x", "z"), "there is no site z; there are x, y"),
        ([("a", "x"), ("b", "y"), ("c", "z")], mesh("x", "y"), "no wan link leads from x to z"),
        ([("a", "x"), ("b", "y")], Wan(1e12, (WanLink(("x", "x"), 1.0, 1.0),)), "a link joins two sites"),
        ([("a", "x"), ("b", "y")], Wan(0.0, full_mesh("xy", 1.0, 1e12)), "not above 0"),
    ],
)
def test_what_cannot_be_joined(parts: list[tuple[str, str]], wan: Wan | None, text: str) -> None:
    with pytest.raises(TopologyError, match=text):
        compose("w", [Part(name, clos(name, 4), site) for name, site in parts], wan)


def wan_graph() -> nx.Graph:
    """Two sites of a host each, by hand."""
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=1)
    for site in ("x", "y"):
        graph.add_node(f"{site}h", tier="endpoint", site=site)
        graph.add_node(f"{site}l", tier="leaf")
        graph.add_node(f"{site}g", tier="wan", site=site)
        graph.add_edge(f"{site}h", f"{site}l", lanes=8, rails=8)
        graph.add_edge(f"{site}l", f"{site}g")
    graph.add_edge("xg", "yg", distance_km=100)
    return graph


def broken(change: str) -> nx.Graph:
    graph = wan_graph()
    match change:
        case "distance":
            del graph.edges["xg", "yg"]["distance_km"]
        case "site of gateway":
            graph.nodes["xg"]["site"] = "y"
        case "one site":
            graph.nodes["yh"]["site"] = "x"
        case "shared gateway":
            graph.add_edge("yl", "xg")
        case "gateway alone":
            graph.add_node("zg", tier="wan")
            graph.add_edge("zg", "xg", distance_km=1)
        case "to itself":
            graph.add_edge("xg", "xg", distance_km=1)
    return graph


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("distance", "edge xg - yg: a link between two gateways needs distance_km or latency_seconds"),
        ("site of gateway", "gateway xg of site y is joined to the fabric of site x"),
        ("one site", "site x has parts that only the WAN joins"),
        ("shared gateway", "gateway xg joins two fabrics, of xh and yh"),
        ("gateway alone", "switch zg has no endpoint below it"),
        ("to itself", "edge xg - xg: joins a switch to itself"),
    ],
)
def test_errors_name_the_gateway(change: str, text: str) -> None:
    assert len(compile_cluster(wan_graph()).level("site")) == 2
    with pytest.raises(TopologyError, match=text):
        compile_cluster(broken(change))
