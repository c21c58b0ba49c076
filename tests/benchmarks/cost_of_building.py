"""One preset: CPU seconds of building its graph, of compiling it, and of adding the same nodes and edges to an empty networkx graph.

``python -m tests.benchmarks.cost_of_building PRESET`` prints a JSON object. The peak of resident memory is read before
the floor.
"""

import json
import sys
import time
from typing import Any

import networkx as nx

from emulator.scenario.build import build_graph
from emulator.scenario.load import load
from tests.benchmarks.cost_of_events import peak_bytes
from topology.compile import compile_cluster


def cost(preset: str) -> dict[str, Any]:
    begun = time.process_time()
    graph = build_graph(load(preset))
    built = time.process_time()
    cluster = compile_cluster(graph)
    compiled = time.process_time()
    peak = peak_bytes()
    nodes, edges = list(graph.nodes(data=True)), list(graph.edges(data=True))
    copying = time.process_time()
    copy = nx.Graph()
    copy.add_nodes_from(nodes)
    copy.add_edges_from(edges)
    return {
        "build_seconds": built - begun,
        "compile_seconds": compiled - built,
        "floor_seconds": time.process_time() - copying,
        "peak_bytes": peak,
        "gpus": cluster.gpu_count,
        "nodes": copy.number_of_nodes(),
        "edges": copy.number_of_edges(),
    }


if __name__ == "__main__":
    print(json.dumps(cost(sys.argv[1])))
