"""What people are shown of an engine's state."""

import networkx as nx

from emulator.scenario import build_cluster, load
from topology.compile import compile_cluster
from topology.describe import hostlist


def test_hosts_have_the_names_of_their_file_or_of_their_place() -> None:
    graph = nx.Graph(host="hgx-h100", switch="qm9700", hosts_per_rack=1)
    for number in (12, 7, 8, 9):
        graph.add_edge(f"n{number}", "leaf", lanes=8, rails=8)
        graph.nodes[f"n{number}"].update(tier="endpoint", hostlist=f"gpu{number:03d}")
    graph.nodes["leaf"]["tier"] = "leaf"
    named = compile_cluster(graph)
    assert hostlist(named, {1, 2, 3, 0}) == "gpu[012,007-009]"
    plain = build_cluster(load("laptop"))
    assert hostlist(plain, [7, 4, 5, 6, 9, 8, 10, 11, 13]) == "r[00001-00002]-h[00-03],r00003-h01"
    assert hostlist(plain, []) == hostlist(named, []) == ""
