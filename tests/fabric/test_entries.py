import networkx as nx
import numpy as np
import pytest

from emulator.fabric.entries import connected_rows, entries_of, of_rows, on_links


def random_rows(seed, rows=30, links=60):
    rng = np.random.default_rng(seed)
    picked = [np.sort(rng.choice(links, rng.integers(0, 5), replace=False)) for _ in range(rows)]
    return picked, [rng.uniform(0.1, 8, len(row)) for row in picked], rng


@pytest.mark.parametrize("seed", range(10))
def test_only_wanted_links_stay_and_rows_keep_their_own(seed):
    links, weights, rng = random_rows(seed)
    wanted = rng.random(60) < 0.5
    entries = on_links(entries_of(links, weights), wanted)
    chosen = rng.random(30) < 0.5
    some = of_rows(entries, chosen)
    for part, numbers in ((entries, np.arange(30)), (some, np.flatnonzero(chosen))):
        assert len(part.start) == len(numbers) + 1
        for at, row in enumerate(numbers.tolist()):
            here = slice(part.start[at], part.start[at + 1])
            assert part.link[here].tolist() == links[row][wanted[links[row]]].tolist()
            assert part.weight[here].tolist() == weights[row][wanted[links[row]]].tolist()


@pytest.mark.parametrize("seed", range(20))
def test_connected_rows_are_those_of_the_graph(seed):
    links, weights, rng = random_rows(seed)
    seeds = np.zeros(60, dtype=bool)
    seeds[rng.choice(60, 3, replace=False)] = True
    graph = nx.Graph([(f"flow {row}", int(link)) for row, some in enumerate(links) for link in some])
    graph.add_nodes_from(np.flatnonzero(seeds).tolist())
    near = set().union(*(nx.node_connected_component(graph, link) for link in np.flatnonzero(seeds).tolist()))
    reached = connected_rows(entries_of(links, weights), seeds)
    assert np.flatnonzero(reached).tolist() == [row for row in range(30) if f"flow {row}" in near]


def test_nothing_at_all():
    entries = on_links(entries_of([], []), np.ones(3, dtype=bool))
    assert entries.start.tolist() == [0]
    assert connected_rows(entries, np.ones(3, dtype=bool)).tolist() == []
    empty = on_links(entries_of([np.array([1])], [np.array([2.0])]), np.zeros(3, dtype=bool))
    assert connected_rows(empty, np.ones(3, dtype=bool)).tolist() == [False]
