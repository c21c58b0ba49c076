"""Whatever graph comes in, it is a cluster whose arrays agree with each other, or an error for people."""

from itertools import pairwise

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from topology.cables import cable_ends, cabling
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.describe import describe, link_name, node_name, switch_name
from topology.vocabulary import TopologyError

odd: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, -1, 2.5, "x", "", [], {}, (1,), float("nan"), 2**70, "gb200-nvl72", "given", "n[1-2]", "n[2-"]
)
counts = st.integers(1, 4)
KEYS = ["tier", "hosts", "host", "hosts_per_rack", "site", "switches", "switch", "group", "hostlist", "lanes", "rail", "rails", "names"]
KEYS += ["distance_km", "latency_seconds", "lane_bytes_per_second", "assumptions", "worst_pod_to_pod_ratio", "name"]
HOSTS = st.sampled_from(["hgx-h100", "hgx-h200", "frontier-node", "gb200-nvl72"])


@st.composite
def fabrics(draw: st.DrawFn) -> nx.Graph:
    """One or two sites, each a tree or a dragonfly, with a few cables and one attribute that may be odd."""
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=draw(st.sampled_from([18, 36])))
    sites = draw(st.integers(1, 2))
    for site in range(sites):
        leaves = draw(st.integers(1, 5))
        fly = draw(st.booleans())
        for leaf in range(leaves):
            hosts = draw(st.integers(0 if fly and leaf else 1, 3))
            graph.add_node(
                f"leaf{site}-{leaf}", tier="leaf", switches=1 if fly else draw(counts), **({"group": f"{site}{leaf // 2}"} if fly else {})
            )
            kind = draw(HOSTS)
            for host in range(hosts):
                graph.add_node(f"host{site}-{leaf}-{host}", tier="endpoint", site=f"site{site}", host=kind, hosts=1)
                graph.add_edge(f"host{site}-{leaf}-{host}", f"leaf{site}-{leaf}", lanes=draw(counts))
            if fly and leaf:
                graph.add_edge(f"leaf{site}-{leaf}", f"leaf{site}-{leaf - 1}", lanes=draw(counts))
        tops = [f"leaf{site}-{leaf}" for leaf in range(leaves)]
        for tier in () if fly else ("spine", "core", "inter_building"):
            banks = [f"{tier}{site}-{number}" for number in range(draw(st.integers(1, len(tops))) if tier != "inter_building" else 1)]
            graph.add_nodes_from(banks, tier=tier, switches=draw(counts))
            graph.add_edges_from((low, banks[at % len(banks)], {"lanes": draw(counts)}) for at, low in enumerate(tops))
            tops = banks
        if sites > 1:
            graph.add_node(f"gateway{site}", tier="wan", site=f"site{site}", switches=draw(counts))
            graph.add_edges_from((top, f"gateway{site}", {"lanes": 2}) for top in tops)
    if sites > 1:
        graph.add_edge("gateway0", "gateway1", distance_km=draw(st.integers(0, 100)), lanes=draw(counts))
    for _, _, cable in graph.edges(data=True):
        cable["lane_bytes_per_second"] = 25e9
    nodes = list(graph)
    for _ in range(draw(st.integers(0, 3)) // 3):
        graph.add_edge(draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes)), lane_bytes_per_second=1e9)
    if draw(st.integers(0, 2)) == 0:
        target = draw(
            st.sampled_from([graph.graph, *(data for _, data in graph.nodes(data=True)), *(data for *_, data in graph.edges(data=True))])
        )
        target[draw(st.sampled_from(KEYS))] = draw(odd)
    return graph


def check(cluster: Cluster) -> None:
    links, endpoints = cluster.links, len(cluster.level("domain"))
    for level in (*cluster.levels, cluster.block):
        assert level.first_host[0] == 0
        assert level.first_host[-1] == cluster.host_count
        assert (np.diff(level.first_host) > 0).all()
        assert level.uplink_start[-1] == len(level.uplinks)
        unit = np.repeat(np.arange(len(level)), np.diff(level.uplink_start))
        hosted = links.u[level.uplinks] < endpoints
        below = cluster.level("domain").first_host[links.u[level.uplinks][hosted]]
        assert (level.host_unit[below] == unit[hosted]).all()
    for finer, coarser in pairwise(cluster.levels):
        assert np.isin(coarser.first_host, finer.first_host).all()
    assert np.diff(cluster.block.first_host).max() <= 64
    assert np.isin(cluster.level("leaf").first_host, cluster.block.first_host).all()
    assert len(cluster.block_type) == len(cluster.block)
    assert (np.diff(links.node_tier) >= 0).all()
    ascending = links.node_tier[links.u] < links.node_tier[links.v]
    peers = np.concatenate([peer.links for peer in cluster.peers] or [np.empty(0, dtype=np.int32)])
    assert sorted(peers.tolist()) == np.flatnonzero(~ascending).tolist()
    for peer in cluster.peers:
        units = {level.name: level for level in cluster.levels}[peer.level]
        assert min(peer.unit_u.min(), peer.unit_v.min()) >= 0
        assert (links.u[peer.links] < links.v[peer.links]).all()
        assert peer.level != "site" or (peer.unit_u != peer.unit_v).all()
        assert peer.level != "site" or max(peer.unit_u.max(), peer.unit_v.max()) < len(units)
    wan = (links.node_tier[links.u] == 5) & (links.node_tier[links.v] == 5)
    if wan.any():
        assert set(links.plane[wan].tolist()) == {int(links.plane.max())}
        assert not (links.plane[~wan] == links.plane.max()).any()
    cables = cabling(cluster)
    for link in range(len(links)):
        assert [len(end) for end in cable_ends(cluster, link, cables)] == [links.lanes[link]] * 2
    assert len({link_name(cluster, link) for link in range(len(links))}) == len(links)
    assert len({node_name(cluster, node) for node in range(len(links.node_tier))}) == len(links.node_tier)
    assert switch_name(cluster, len(links.node_tier) - 1, 0)
    assert describe(cluster)["hosts"] == cluster.host_count


def test_a_cluster_or_an_error() -> None:
    built = {"trees": 0, "dragonflies": 0, "sites": 0, "errors": 0}

    @given(graph=fabrics())
    @settings(max_examples=250, deadline=None)
    def run(graph: nx.Graph) -> None:
        try:
            cluster = compile_cluster(graph)
        except TopologyError:
            built["errors"] += 1
            return
        check(cluster)
        levels = {peer.level for peer in cluster.peers}
        built["trees"] += not levels
        built["dragonflies"] += bool(levels & {"leaf", "pod"})
        built["sites"] += "site" in levels

    run()
    assert min(built.values()) > 10, built
