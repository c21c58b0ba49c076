"""Graphs as other programs write them: GraphML's defaults and encodings, directed graphs, multigraphs, attributes that are not ours."""

import json
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.formats import FormatError, detect, read_graph

_HEAD = '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
_NODES = '<node id="a"><data key="t">endpoint</data></node><node id="b"><data key="t">endpoint</data></node><node id="s"/>'


def _read(path: Path, text: str | bytes) -> Cluster:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return compile_cluster(read_graph(path))


def _graphml(keys: str, body: str, default: str = "undirected") -> str:
    return f'{_HEAD}{keys}<graph edgedefault="{default}">{body}</graph></graphml>'


def _json(edges: list[dict[str, Any]], **more: Any) -> str:
    nodes = [{"id": "a", "tier": "endpoint"}, {"id": "b", "tier": "endpoint"}, {"id": "s", "tier": "leaf"}, {"id": "top", "tier": "spine"}]
    return json.dumps({"directed": False, "multigraph": False, "graph": {}, "nodes": nodes, "edges": edges} | more)


def _to(source: str | int, target: str | int, **attributes: Any) -> dict[str, Any]:
    return {"source": source, "target": target, **attributes}


_TREE = [_to("a", "s", lanes=8, rails=8), _to("b", "s", lanes=8, rails=8), _to("s", "top", lanes=16)]


@pytest.mark.parametrize("of", ["edge", "all"])
def test_the_default_of_a_key_holds_where_nothing_is_said(of: str, tmp_path: Path) -> None:
    """Of edges, of nodes and of the graph; what an element says goes before it."""
    keys = (
        '<key id="t" for="node" attr.name="tier"><default>leaf</default></key>'
        f'<key id="l" for="{of}" attr.name="lanes" attr.type="double"><default>8.0</default></key>'
        f'<key id="h" for="{"all" if of == "all" else "graph"}" attr.name="hosts_per_rack"><default>2</default></key>'
    )
    cluster = _read(
        tmp_path / "x", _graphml(keys, f'{_NODES}<edge source="a" target="s"/><edge source="b" target="s"><data key="l">3</data></edge>')
    )
    assert cluster.counts.host_leaf_links == 11
    assert len(cluster.level("rack")) == 1
    assert not any("Left out" in sentence for sentence in cluster.assumptions)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8", None),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", None),
        ("utf-32", "UTF-32"),
        ("iso8859-1", "ISO-8859-1"),
        ("iso8859-15", "ISO-8859-15"),
        ("cp1252", "windows-1252"),
        ("shift_jis", "Shift_JIS"),
        ("utf-8", "us-ascii"),
    ],
)
def test_the_encoding_is_what_the_file_says(encoding: str, declared: str | None, tmp_path: Path) -> None:
    name = {"shift_jis": "京", "utf-8": "n" if declared else "nœud"}.get(encoding, "né")
    declaration = f"<?xml version='1.0' encoding='{declared}'?>" if declared else ""
    keys = '<key id="t" for="node" attr.name="tier"><default>leaf</default></key><key id="n" for="graph" attr.name="names"/>'
    text = declaration + _graphml(
        keys, f'{_NODES}<data key="n">given</data><edge source="a" target="s"/><edge source="b" target="s"/>'
    ).replace('"a"', f'"{name}"')
    data = text.encode(encoding)
    assert detect(data) == "graphml"
    assert _read(tmp_path / "x", data).host_names == (name, "b")


def test_a_wrong_encoding_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"x:2: not UTF-8 text"):
        _read(tmp_path / "x", _HEAD.encode() + b"\n<\xe9/>")
    with pytest.raises(FormatError, match=r"x:1: the text declares UTF-16"):
        _read(tmp_path / "x", f"<?xml version='1.0' encoding='UTF-16'?>{_HEAD}")


def test_a_cable_both_ways_is_compared_with_what_is_usual(tmp_path: Path) -> None:
    edges = [_to("a", "s"), _to("s", "a", lanes=1, rail=0), _to("s", "b"), _to("s", "top")]
    assert _read(tmp_path / "x", _json(edges, directed=True)).counts.host_leaf_links == 2


@pytest.mark.parametrize("both", [False, True])
def test_a_directed_graph_is_read_as_cables(both: bool, tmp_path: Path) -> None:
    """The same cable each way is one cable, and more of them each way are as many."""
    edges = [
        *_TREE,
        *(_to(edge["target"], edge["source"], lanes=edge["lanes"], **({"rails": 8} if "rails" in edge else {})) for edge in _TREE),
    ]
    for written in (
        _json(edges if both else _TREE, directed=True),
        _json(
            [edge | {"lanes": edge["lanes"] // 2, "key": key} for edge in (edges if both else _TREE) for key in "xy"],
            directed=True,
            multigraph=True,
        ),
    ):
        cluster = _read(tmp_path / "x", written)
        assert (cluster.counts.host_leaf_links, cluster.counts.leaf_spine_links) == (16, 16)
        assert sum("directed edges" in sentence for sentence in cluster.assumptions) == 1


@pytest.mark.parametrize("mark", ['edgedefault="directed"', 'edgedefault="undirected"'])
def test_directed_and_parallel_edges_of_graphml(mark: str, tmp_path: Path) -> None:
    """networkx writes a multigraph with as many <edge> as there are; one edge may say itself that it is directed."""
    keys = '<key id="t" for="node" attr.name="tier"><default>leaf</default></key>'
    back = '<edge source="s" target="a" directed="true"/>' * 3 if "undirected" not in mark else ""
    edges = '<edge source="a" target="s"/>' * 3 + back + '<edge source="b" target="s" directed="true"/>'
    cluster = _read(tmp_path / "x", f"{_HEAD}{keys}<graph {mark}>{_NODES}{edges}</graph></graphml>")
    assert cluster.counts.host_leaf_links == 4


def test_parallel_edges_are_lanes(tmp_path: Path) -> None:
    """Each with a rail of its own, or all with the same."""
    rails = [_to("a", "s", key=rail, rail=rail) for rail in range(8)] + [
        _to("b", "s", key=0, lanes=4, rails=8),
        _to("s", "b", key=1, lanes=4, rails=8),
    ]
    cluster = _read(tmp_path / "x", _json([*rails, _to("s", "top", key=0, lanes=16)], multigraph=True))
    assert (cluster.counts.host_leaf_links, cluster.links.lanes.tolist()) == (16, [8, 8, 16])
    assert cluster.links.rails[:2].tolist() == [8, 8]


@pytest.mark.parametrize(
    ("edges", "more", "problem"),
    [
        ([*_TREE, _TREE[0]], {}, "edge a - s appears twice"),
        ([*_TREE, _TREE[0] | {"latency_seconds": 1e-6}], {"multigraph": True}, "differ in latency_seconds"),
        ([*_TREE, _to("a", "s", rail=3)], {"multigraph": True}, "neither the same rails nor rails one after the other"),
        ([*_TREE, _to("s", "a", lanes=4, rails=8)], {"directed": True}, "and back differ in lanes"),
        (_TREE, {"links": _TREE}, "both edges and links"),
    ],
)
def test_edges_that_are_no_trunk(edges: list[dict[str, Any]], more: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=problem):
        _read(tmp_path / "x", _json(edges, **more))


def test_what_networkx_writes_of_every_kind_of_graph(tmp_path: Path) -> None:
    """MultiGraph, DiGraph and MultiDiGraph, as JSON under each name of the keys, and as GraphML."""
    for kind in (nx.Graph, nx.DiGraph, nx.MultiGraph, nx.MultiDiGraph):
        graph = kind()
        for host in range(4):
            graph.add_node(f"h{host}", tier="endpoint", color="red")
            graph.add_edge(f"h{host}", "s", lanes=8.0, rails=8, weight=1.5)
        graph.nodes["s"]["tier"] = "leaf"
        for names in ({}, {"edges": "links"}, {"source": "from", "target": "to", "name": "name", "key": "k", "edges": "edges"}):
            cluster = _read(tmp_path / "x", json.dumps(nx.node_link_data(graph, **{"edges": "edges", **names})))
            assert cluster.counts.host_leaf_links == 32
        nx.write_graphml(graph, tmp_path / "x")
        cluster = compile_cluster(read_graph(tmp_path / "x"))
        assert cluster.counts.host_leaf_links == 32
        assert sum("Left out" in sentence for sentence in cluster.assumptions) == 1


def test_places_in_the_list_of_nodes_as_networkx_1_wrote_them(tmp_path: Path) -> None:
    edges = [_to(0, 2, lanes=8), _to(1, 2, lanes=8), _to(2, 3, lanes=16)]
    cluster = _read(tmp_path / "x", _json(edges, graph=[["name", "old"], ["hosts_per_rack", 2]]))
    assert (cluster.name, cluster.counts.host_leaf_links, len(cluster.level("rack"))) == ("old", 16, 1)


def test_numbers_that_are_ids_written_as_texts(tmp_path: Path) -> None:
    nodes = [{"id": "1", "tier": "leaf"}, {"id": "0", "tier": "endpoint"}]
    cluster = _read(tmp_path / "x", json.dumps({"nodes": nodes, "graph": {"names": "given"}, "edges": [{"source": 0, "target": 1}]}))
    assert (cluster.host_names, cluster.switch_names) == (("0",), ("1",))


def test_attributes_of_others_pass_with_one_note(tmp_path: Path) -> None:
    text = _json(
        [edge | {"weight": 1, "size": 2, "color": {"r": 1}} for edge in _TREE], graph={"label": "x", "node_default": {}}, version=3
    )
    cluster = _read(tmp_path / "x", text)
    notes = [sentence for sentence in cluster.assumptions if "Left out" in sentence]
    assert len(notes) == 1
    for said in ("label of the graph", "weight of 3 edges", "size of 3 edges", "color of 3 edges", "version beside the graph"):
        assert said in notes[0]


def test_drawings_of_yed_pass(tmp_path: Path) -> None:
    """Shapes inside <data>, ports inside nodes, <desc>; keys without a name."""
    label = "<y:NodeLabel>label<y:data>x</y:data></y:NodeLabel>"
    shape = f'<data key="g"><y:ShapeNode xmlns:y="urn:y"><y:Geometry/><y:node id="no"/>{label}</y:ShapeNode></data>'
    keys = '<key id="t" for="node" attr.name="tier"><default>leaf</default></key><key id="g" for="node" yfiles.type="nodegraphics"/>'
    body = _NODES.replace('<node id="s"/>', f'<node id="s"><desc>x<b/></desc>{shape}<port name="p"/></node>')
    cluster = _read(tmp_path / "x", _graphml(keys, f'{body}<edge source="a" target="s" targetport="p"/><edge source="b" target="s"/>'))
    assert cluster.host_count == 2
    assert any("nodegraphics of 1 node" in sentence for sentence in cluster.assumptions)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("lane", "lanes"),
        ("Lanes", "lanes"),
        ("lanse", "lanes"),
        ("RAIL", "rail"),
        ("latency", "latency_seconds"),
        ("laneBytesPerSecnd", "lane_bytes_per_second"),
        ("distance-km", "distance_km"),
    ],
)
def test_a_slip_of_the_pen_is_refused(word: str, meant: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"attribute '{word}', did you mean {meant}\\?"):
        _read(tmp_path / "x", _json([*_TREE[:2], _TREE[2] | {word: 1}]))


def test_slips_in_nodes_and_in_the_graph(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"did you mean tier\?"):
        _read(tmp_path / "x", _json(_TREE).replace('"tier": "leaf"', '"tier": "leaf", "teir": "spine"'))
    with pytest.raises(FormatError, match=r"did you mean hosts_per_rack\?"):
        _read(tmp_path / "x", _json(_TREE, graph={"host_per_rack": 8}))


def test_whole_numbers_may_be_written_as_doubles(tmp_path: Path) -> None:
    text = _json([edge | {"lanes": float(edge["lanes"]), "rail": 0.0} for edge in _TREE], graph={"hosts_per_rack": 4.0})
    cluster = _read(tmp_path / "x", text.replace('"tier": "spine"', '"tier": "spine", "switches": 2.0'))
    assert (cluster.counts.spine, cluster.counts.host_leaf_links, cluster.counts.racks) == (2, 16, 1)
