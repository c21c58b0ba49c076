"""Where actors go, at the start and when nodes are lost, on nodes that are only listed."""

import dataclasses

import pytest

from emulator.runtime import ray_place
from emulator.runtime.ray_address import UnusableRay
from emulator.runtime.ray_head import RayNode
from emulator.runtime.ray_place import NodePlaces, OwnPlaces, spread


def node(number: int, cpus: int, free: int | None = None) -> RayNode:
    return RayNode(f"{number:056x}", f"host{number}", f"10.0.0.{number}", cpus, cpus if free is None else free)


def name(node_id: str) -> str:
    return f"id{int(node_id, 16)}"


class Cluster:
    """``nodes`` as the head lists them, with the CPUs that ``places`` holds taken off."""

    def __init__(self, *nodes: RayNode) -> None:
        self.nodes = {name(one.node_id): one for one in nodes}
        self.held: dict[str, int] = {}

    def __call__(self) -> tuple[RayNode, ...]:
        return tuple(dataclasses.replace(one, free_cpus=one.free_cpus - self.held.get(number, 0)) for number, one in self.nodes.items())

    def holding(self, places: NodePlaces, actors: int) -> list[tuple[str, int]]:
        options = [places.options(actor) for actor in range(actors)]
        self.held = {}
        for one in options:
            node_id = name(one["scheduling_strategy"].node_id)
            self.held[node_id] = self.held.get(node_id, 0) + one["num_cpus"]
        assert all(self.nodes[node_id].free_cpus >= held for node_id, held in self.held.items() if node_id in self.nodes)
        return [(name(one["scheduling_strategy"].node_id), one["num_cpus"]) for one in options]


def test_actors_are_spread_evenly_as_far_as_free_cpus_allow() -> None:
    nodes = [node(1, 4, free=1), node(2, 4), node(3, 8)]
    assert [name(one.node_id) for one in spread(7, nodes)] == ["id1", "id2", "id3", "id2", "id3", "id2", "id3"]


@pytest.mark.parametrize(
    ("actors", "nodes", "said"),
    [
        (4, [node(1, 2), node(2, 1)], "has 3 free CPUs and each of the 4 actors needs one: use --actors 3 or fewer"),
        (1, [node(1, 0)], "has no free CPU, and an actor needs one: add a node"),
        (1, [], "has no free CPU"),
    ],
)
def test_too_few_cpus(monkeypatch: pytest.MonkeyPatch, actors: int, nodes: list[RayNode], said: str) -> None:
    monkeypatch.setattr(ray_place, "SETTLE_SECONDS", 0.0)
    with pytest.raises(UnusableRay, match=said):
        NodePlaces(lambda: tuple(nodes), actors)


def test_cpus_that_are_about_to_be_free_are_waited_for() -> None:
    answers = [(node(1, 2, free=0),), (node(1, 2, free=1),), (node(1, 2),)]
    assert NodePlaces(lambda: answers.pop(0) if len(answers) > 1 else answers[0], 2).options(1)["num_cpus"] == 1


def test_where_nodes_fit_exactly_a_lost_ones_actors_share_the_cpus_of_ours_twice_over() -> None:
    cluster = Cluster(node(1, 1), node(2, 1), node(3, 1))
    places = NodePlaces(cluster, 3)
    assert cluster.holding(places, 3) == [("id1", 1), ("id2", 1), ("id3", 1)]
    del cluster.nodes["id2"]
    assert places.find([1], elsewhere=False) == []
    assert cluster.holding(places, 3) == [("id1", 1), ("id1", 0), ("id3", 1)]
    del cluster.nodes["id1"]
    assert places.find([0, 1], elsewhere=False) == []
    assert cluster.holding(places, 3) == [("id3", 0), ("id3", 0), ("id3", 1)]


def test_a_free_cpu_is_used_first_and_other_programs_keep_theirs() -> None:
    cluster = Cluster(node(1, 2), node(2, 2, free=0), node(3, 2))
    places = NodePlaces(cluster, 3)
    assert cluster.holding(places, 3) == [("id1", 1), ("id3", 1), ("id1", 1)]
    del cluster.nodes["id1"]
    assert places.find([0, 2], elsewhere=False) == []
    assert cluster.holding(places, 3) == [("id3", 1), ("id3", 1), ("id3", 0)]


def test_an_actor_whose_node_lives_starts_where_it_was_and_then_elsewhere() -> None:
    cluster = Cluster(node(1, 2), node(2, 2))
    places = NodePlaces(cluster, 2)
    assert places.find([0], elsewhere=False) == []
    assert cluster.holding(places, 2) == [("id1", 1), ("id2", 1)]
    assert places.find([0], elsewhere=True) == []
    assert cluster.holding(places, 2) == [("id2", 1), ("id2", 1)]


def test_with_no_node_left_there_is_no_place_until_another_joins_that_is_not_refused() -> None:
    cluster = Cluster(node(1, 0), node(2, 1))
    places = NodePlaces(cluster, 1)
    del cluster.nodes["id2"]
    assert places.find([0], elsewhere=False) == [0]
    cluster.nodes["id3"] = node(3, 1)
    assert places.find([0], elsewhere=False) == []
    assert places.node_of(0) == "host3 (10.0.0.3)"
    places.refuse(0)
    assert places.find([0], elsewhere=True) == [0]
    cluster.nodes["id4"] = node(4, 1)
    assert places.find([0], elsewhere=False) == []
    assert cluster.holding(places, 1) == [("id4", 1)]


@pytest.mark.parametrize(("cpus", "actors", "each"), [(8, 3, 2.0), (2, 2, 1.0), (2, 5, 0.4), (2, 3, 0.6666)])
def test_our_own_cpus_are_shared_out(cpus: int, actors: int, each: float) -> None:
    assert OwnPlaces(cpus, actors).options(0) == {"num_cpus": each}


def test_a_node_that_joins_takes_actors_of_fuller_ones_until_they_are_even() -> None:
    cluster = Cluster(node(1, 4), node(2, 1))
    places = NodePlaces(cluster, 5)
    cluster.holding(places, 5)
    assert places.improve() == {}, "node 2 is full"
    cluster.nodes["id3"] = node(3, 8)
    assert places.improve() == {
        0: "from host1 (10.0.0.1), which had 4 of our actors, to host3 (10.0.0.3)",
        2: "from host1 (10.0.0.1), which had 3 of our actors, to host3 (10.0.0.3)",
    }
    assert cluster.holding(places, 5) == [("id3", 1), ("id2", 1), ("id3", 1), ("id1", 1), ("id1", 1)]
    assert places.improve() == {}


def test_an_actor_that_shares_a_cpu_moves_to_one_of_its_own() -> None:
    cluster = Cluster(node(1, 1), node(2, 1))
    places = NodePlaces(cluster, 2)
    cluster.holding(places, 2)
    del cluster.nodes["id2"]
    assert places.improve() == {}, "a lost node's actors are found a place first"
    assert places.find([1], elsewhere=False) == []
    assert cluster.holding(places, 2) == [("id1", 1), ("id1", 0)]
    cluster.nodes["id3"] = node(3, 1)
    assert list(places.improve()) == [1]
    assert cluster.holding(places, 2) == [("id1", 1), ("id3", 1)]


def test_a_node_without_a_free_cpu_or_that_was_refused_takes_no_actor() -> None:
    cluster = Cluster(node(1, 2), node(2, 1))
    places = NodePlaces(cluster, 2)
    places.refuse(1)
    assert places.find([1], elsewhere=True) == []
    assert cluster.holding(places, 2) == [("id1", 1), ("id1", 1)]
    cluster.nodes["id3"] = node(3, 4, free=0)
    assert places.improve() == {}
