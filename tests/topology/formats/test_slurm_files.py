"""Slurm's files as sites have them: several topologies, islands, nodes under two leaves, what scontrol prints, hosts by hostlist."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.formats import FORMATS, FormatError, detect, read_graph, write_graph


def _read(path: Path, text: str, **options: Any) -> Cluster:
    path.write_text(text)
    return compile_cluster(read_graph(path, **options))


def _leaves(cluster: Cluster) -> list[int]:
    return [int(size) for size in np.diff(cluster.level("leaf").first_host)]


_HALLS = """# two halls and a leaf
SwitchName=east Switches=e[1-2]
SwitchName=e1 Nodes=n[1-3]
SwitchName=e2 Nodes=n[4-5]
SwitchName=west Switches=w[1-2]
SwitchName=w1 Nodes=n[6-9]
SwitchName=w2 Nodes=n[10-13]
SwitchName=alone Nodes=n[14-15]
"""


def test_trees_without_a_common_top_are_islands(tmp_path: Path) -> None:
    cluster = _read(tmp_path / "x", _HALLS)
    assert cluster.islands
    assert cluster.host_count == 15
    assert cluster.site_names == ("site/east", "site/west", "site/alone")
    assert np.diff(cluster.level("site").first_host).tolist() == [5, 8, 2]
    assert cluster.counts.bisection_bytes_per_second == 0
    assert any("3 islands, east (5 hosts), west (8 hosts), alone (2 hosts)" in sentence for sentence in cluster.assumptions)


def test_islands_may_be_joined_by_an_assumed_tier(tmp_path: Path) -> None:
    cluster = _read(tmp_path / "x", _HALLS, islands="joined")
    assert not cluster.islands
    assert (cluster.host_count, len(cluster.level("site")), cluster.site_names) == (15, 1, ("site",))
    assert any("one tier of switches joins" in sentence for sentence in cluster.assumptions)
    blocks = "BlockName=a Nodes=n[1-2]\nBlockName=b Nodes=n[3-4]\n"
    assert not _read(tmp_path / "x", blocks).islands
    assert _read(tmp_path / "x", blocks, islands="apart").islands


@pytest.mark.parametrize("form", [name for name in FORMATS if name not in ("slurm-block", "topograph")])
def test_islands_come_back(form: str, tmp_path: Path) -> None:
    cluster = _read(tmp_path / "x", _HALLS)
    (tmp_path / "again").write_text(write_graph(read_graph(tmp_path / "x"), cluster, form))
    again = compile_cluster(read_graph(tmp_path / "again"))
    assert again.islands
    assert again.host_names == cluster.host_names
    for level in ("leaf", "site"):
        assert again.level(level).first_host.tolist() == cluster.level(level).first_host.tolist()


def test_the_default_tree_is_read_and_other_kinds_are_named(tmp_path: Path) -> None:
    text = """- {topology: one, tree: {switches: [{switch: s, nodes: "n[1-9]"}]}}
- topology: ours
  cluster_default: true
  tree: {switches: [{switch: a, nodes: "n[1-2]"}, {switch: b, nodes: "n3"}, {switch: t, children: "a,b"}]}
- {topology: hoops, ring: {rings: [{ring: r, nodes: "n[1-3]"}]}}
- {topology: cube, torus3d: {dims: 3}}
- {topology: none, flat: true}
"""
    cluster = _read(tmp_path / "x", text)
    assert _leaves(cluster) == [2, 1]
    assert any("one (tree), hoops (ring), cube (torus3d), none (flat)" in sentence for sentence in cluster.assumptions)


def test_a_default_of_another_kind_is_named_as_such(tmp_path: Path) -> None:
    text = "- {topology: r, cluster_default: true, ring: {}}\n- {topology: t, block: {blocks: [{block: b, nodes: 'n[1-2]'}]}}\n"
    cluster = _read(tmp_path / "x", text)
    assert cluster.host_count == 2
    assert any("r (ring, the default)" in sentence for sentence in cluster.assumptions)


def test_a_node_under_two_leaves_is_at_the_first(tmp_path: Path) -> None:
    cluster = _read(tmp_path / "x", "SwitchName=a Nodes=n[1-3]\nSwitchName=b Nodes=n[3-6],n[4-5]\nSwitchName=top Switches=a,b\n")
    assert (_leaves(cluster), cluster.counts.host_leaf_links) == ([3, 3], 48)
    assert "Assumed: 1 node under both a and b has all NICs at a, which comes first: n3." in cluster.assumptions
    assert "Left out: 2 nodes that b lists again: n[4-5]." in cluster.assumptions


def test_leaves_with_the_same_nodes_share_their_nics(tmp_path: Path) -> None:
    """Two planes: they meet in the hosts alone, and are no islands."""
    text = "SwitchName=a Nodes=n[1-3]\nSwitchName=b Nodes=n[1-3]\nSwitchName=c Nodes=n[4-5]\nSwitchName=d Nodes=n[4-5]\n"
    cluster = _read(tmp_path / "x", text + "SwitchName=A Switches=a,c\nSwitchName=B Switches=b,d\n")
    assert not cluster.islands
    assert (_leaves(cluster), cluster.counts.host_leaf_links) == ([3, 2], 40)
    below = cluster.links.tier == 0
    assert sorted(set(zip(cluster.links.rail_first[below].tolist(), cluster.links.rails[below].tolist(), strict=True))) == [(0, 4), (4, 4)]
    assert len(set(cluster.links.plane.tolist())) == 2


def test_nodes_and_switches_may_have_the_same_names(tmp_path: Path) -> None:
    cluster = _read(tmp_path / "x", "SwitchName=x1 Nodes=x1\nSwitchName=x2 Nodes=x2\nSwitchName=x3 Switches=x[1-2]\n")
    assert cluster.host_names == ("x1", "x2")
    assert cluster.switch_names == ("x1", "x2", "x3")
    assert (cluster.counts.leaf, cluster.counts.spine) == (2, 1)


def test_what_scontrol_prints_of_a_tree(tmp_path: Path) -> None:
    text = """SwitchName=core Level=2 LinkSpeed=1 Nodes=n[1-6] Switches=sp[0-1]
SwitchName=sp0 Level=1 LinkSpeed=1 Nodes=n[1-4] Switches=a,b
SwitchName=sp1 Level=1 LinkSpeed=1 Nodes=n[5-6] Switches=c
SwitchName=a Level=0 LinkSpeed=1 Nodes=n[1-2] Switches=
SwitchName=b Level=0 LinkSpeed=1 Nodes=n[3-4]
SwitchName=c Level=0 LinkSpeed=1 Switches= Nodes=n[5-6]
"""
    assert detect(text) == "slurm-tree"
    cluster = _read(tmp_path / "x", text)
    assert (_leaves(cluster), len(cluster.level("pod"))) == ([2, 2, 2], 2)


def test_what_scontrol_prints_of_blocks(tmp_path: Path) -> None:
    text = """BlockName=a BlockIndex=0 Nodes=n[1-2] BlockSize=2
BlockName=b BlockIndex=1 Nodes=n[3-4] BlockSize=2
AggregatedBlock=a,b BlockIndex=2 Nodes=n[1-4] BlockSize=4
"""
    assert detect(text) == "slurm-block"
    assert _leaves(_read(tmp_path / "x", text)) == [2, 2]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('[{"topology": "t", "tree": {"switches": [{"switch": "s", "nodes": "n[1-2]"}]}}]', "slurm-yaml"),
        ("---\n# SwitchName=x\n-\n    cluster_default: true\n    topology: t\n    tree: {}\n", "slurm-yaml"),
        ("{switches: {s: {nodes: [n1]}}}", "topograph"),
        ('{"nodes": {"n1": {}}, "switches": {"s": {"nodes": ["n1"]}}}', "topograph"),
        ('{"nodes": [], "links": []}', "node-link"),
        ('\ufeff\n {"multigraph": true', "node-link"),
        ("name: x\ncluster: {builder: file, path: nodes}\n", None),
        ("{name: x, cluster: {switches: 1}}", None),
        ("# nothing\n", None),
    ],
)
def test_the_format_is_told_from_the_structure(text: str, form: str | None) -> None:
    assert detect(text) == form


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_with_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("SwitchName=s0 Nodes=n[1-3]\r\n".encode(encoding))
    assert _leaves(compile_cluster(read_graph(path))) == [3]


def test_types_of_hosts_by_hostlist(tmp_path: Path) -> None:
    """Nodes that are in none are left out; a leaf with several types is a leaf unit for each."""
    text = (
        "SwitchName=a Nodes=login1,new[1-4],old[1-2]\nSwitchName=b Nodes=old[3-8]\nSwitchName=c Nodes=login2\nSwitchName=t Switches=a,b,c\n"
    )
    cluster = _read(tmp_path / "x", text, host_types={"new[1-4]": "hgx-h100", "old[1-8]": "hgx-a100"})
    assert {kind.name: count for kind, count in zip(cluster.host_types, cluster.type_hosts, strict=True)} == {"hgx-h100": 4, "hgx-a100": 8}
    assert sorted(_leaves(cluster)) == [2, 4, 6]
    assert len(cluster.level("pod")) == 1
    assert "Left out: 2 nodes without GPUs: login[1-2]." in cluster.assumptions
    assert "Left out: switch c, which has no hosts below it." in cluster.assumptions
    with_others = _read(tmp_path / "x", text, host_types={"old[1-8]": "hgx-a100", "login[1-2]": "none", "*": "hgx-h100"})
    assert with_others.host_names == cluster.host_names


def test_one_leaf_with_two_types_is_joined(tmp_path: Path) -> None:
    cluster = _read(tmp_path / "x", "SwitchName=a Nodes=n[1-2],g[1-18]\n", host_types={"n[1-2]": "hgx-h100", "g[1-18]": "gb200-nvl72"})
    assert (_leaves(cluster), len(cluster.level("site")), cluster.counts.gpus) == ([2, 18], 1, 88)


@pytest.mark.parametrize(
    ("types", "problem"),
    [
        ({"x[1-2]": "hgx-h100"}, "no node has GPUs"),
        ({"n[1-": "hgx-h100"}, "not a hostlist"),
        ({"n[1-2]": "hgx-h1"}, "no host called"),
        ({"n[1-2]": "hgx-h100", "n2": "hgx-a100"}, "n2 already has another type"),
        ({"n[1-2]": "none"}, "no node has GPUs"),
    ],
)
def test_types_that_do_not_fit(types: dict[str, str], problem: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=problem):
        _read(tmp_path / "x", "SwitchName=a Nodes=n[1-2]\n", host_types=types)
