"""Bad files: an error with the file, the line and what is allowed."""

from pathlib import Path

import pytest

from topology.formats import FormatError, read_graph
from topology.formats.node_link import _line

_GRAPH = """{
"directed": false,
"graph": {"host": "hgx-h100", "switch": "qm9700", "hosts_per_rack": 8},
"nodes": [
 {"id": "h0", "tier": "endpoint"},
 {"id": "l0", "tier": "leaf"}
],
"edges": [
 {"source": "h0", "target": "l0", "lanes": 8, "rails": 8}
]
}
"""
_GRAPHML = """<?xml version="1.0"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key id="t" for="node" attr.name="tier" attr.type="string"/>
<key id="n" for="edge" attr.name="lanes" attr.type="int"/>
<graph edgedefault="undirected">
<node id="h0"><data key="t">endpoint</data></node>
<node id="l0"><data key="t">leaf</data></node>
<edge source="h0" target="l0"><data key="n">8</data></edge>
</graph>
</graphml>
"""
_BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("form", "text", "line", "problem"),
    [
        ("node-link", _GRAPH.replace('"lanes": 8', '"lanes": 0'), 9, "lanes is 0: a whole number from 1"),
        ("node-link", _GRAPH.replace('"lanes": 8', '"lanes": true'), 9, "lanes is True"),
        ("node-link", _GRAPH.replace('"lanes"', '"lames"'), 9, "did you mean lanes?"),
        ("node-link", _GRAPH.replace('"leaf"', '"leave"'), 6, "one of endpoint, leaf"),
        ("node-link", _GRAPH.replace(', "tier": "leaf"', ""), 6, "no tier"),
        ("node-link", _GRAPH.replace('"id": "l0"', '"id": "h0"'), 6, "appears twice"),
        ("node-link", _GRAPH.replace('"target": "l0"', '"target": "l1"'), 9, "but there is no such node"),
        ("node-link", _GRAPH.replace('"target": "l0"', '"target": "h0"'), 9, "with itself"),
        ("node-link", _GRAPH.replace("hgx-h100", "hgx-h1000"), 3, "did you mean hgx-h100"),
        ("node-link", _GRAPH.replace('"host": "hgx-h100"', '"host": {"name": "x"}'), 3, "the record needs exactly"),
        ("node-link", _GRAPH.replace('"directed": false', '"directed": "no"'), 2, "directed must be true or false"),
        ("node-link", _GRAPH.replace('"edges"', '"edge"'), 8, "did you mean edges"),
        ("node-link", _GRAPH.replace('"lanes": 8', '"lanes": 2.5'), 9, "lanes is 2.5: a whole number"),
        ("node-link", _GRAPH.replace('"h0", "tier"', '"h0", "tier": "endpoint", "tier"'), 5, "given twice"),
        ("node-link", _GRAPH.replace('"lanes": 8', '"lanes": NaN'), 9, "NaN"),
        ("node-link", _GRAPH.replace('"lanes": 8', '"lanes": ' + "9" * 5000), 9, "too many digits"),
        ("node-link", _GRAPH.replace('"lanes": 8', '"lanes": ' + "9" * 400), 9, "more than 40 digits"),
        ("node-link", _GRAPH.replace('"rails": 8}', '"rails": 8'), 10, "bad JSON"),
        ("node-link", _GRAPH.replace('"h0", "tier"', '"h0", "tier": 1, "tier"').replace("8}", "8"), 10, "bad JSON: Expecting"),
        ("node-link", "[" * 100_000, 1, "nested too deeply"),
        ("node-link", '{"nodes": {}}', 1, "nodes is not a list"),
        ("node-link", '{"nodes": [1], "edges": []}', 1, "object with id"),
        ("graphml", _GRAPHML.replace(">leaf<", ">leave<"), 7, "one of endpoint, leaf"),
        ("graphml", _GRAPHML.replace(">8<", ">eight<"), 8, "lanes is 'eight'"),
        ("graphml", _GRAPHML.replace('key="n"', 'key="m"'), 8, "no <key> has this id"),
        ("graphml", _GRAPHML.replace("</graph>", ""), 10, "bad XML: mismatched tag"),
        ("graphml", _GRAPHML.replace("<graphml xmlns", _BOMB + "<graphml xmlns"), 2, "document type is not allowed"),
        ("graphml", _GRAPHML.replace(">8<", ">2.5<"), 8, "lanes is 2.5: a whole number"),
        ("graphml", _GRAPHML.replace('"int"/>', '"int"><default>many</default></key>').replace('<data key="n">8</data>', ""), 8, "'many'"),
        ("graphml", _GRAPHML.replace('"1.0"?>', '"1.0" encoding="klingon"?>'), 1, "encoding 'klingon' is not known"),
        ("graphml", _GRAPHML.replace("h0", "l0"), 7, "appears twice"),
        ("graphml", "<html/>", 1, "not GraphML"),
        ("slurm-tree", "SwitchName=s0 Nodes=n[0-3\n", 1, "without"),
        ("slurm-tree", "# x\nSwitchName=s0 Nodes=n[0-999999999]\n", 2, "at most 2000000"),
        ("slurm-tree", "SwitchName=s0 Nodes=n[0-3]\nSwitchName=s0 Nodes=n4\n", 2, "appears twice"),
        ("slurm-tree", "SwitchName=s0 Nodes=n0\nSwitchName=s1 Switches=s[0,2]\n", 2, "does not describe"),
        ("slurm-tree", "SwitchName=s0 Nodes=n0\nSwitchName=s1 Switches=s2\nSwitchName=s2 Switches=s1\n", 2, "below itself"),
        ("slurm-tree", "SwitchName=s0 Nodes=n0 Switches=s1\nSwitchName=s1 Nodes=n1\n", 1, "one of the two"),
        ("slurm-tree", "SwitchName=s0 Nodes=n0 Speed=3\n", 1, "unknown key Speed"),
        ("slurm-tree", "SwitchName=s0 Nodes=n0 \\\n  LinkSpeed=fast\n", 1, "LinkSpeed 'fast'"),
        ("slurm-tree", "SwitchName=s0 Nodes n0\n", 1, "not of the form Key=value"),
        ("slurm-tree", f"SwitchName={'s' * 65} Nodes=n0\n", 1, "1 to 64 characters"),
        (
            "slurm-tree",
            "SwitchName=a Nodes=n0\nSwitchName=b Nodes=n1\nSwitchName=c Nodes=n2\nSwitchName=x Switches=a,b\nSwitchName=y Switches=b,c\n",
            5,
            "do not have the same switches below",
        ),
        (
            "slurm-tree",
            "SwitchName=s0 Nodes=n0\n" + "".join(f"SwitchName=s{number} Switches=s{number - 1}\n" for number in range(1, 6)),
            6,
            "6 tiers",
        ),
        ("slurm-tree", "# nothing\n", 1, "no switch with nodes"),
        ("slurm-block", "BlockName=b Nodes=n[0-3]\nBlockSizes=4,12\n", 2, "power of two"),
        ("slurm-block", "BlockName=b Nodes=n[0-3]\nBlockSizes=many\n", 2, "not a whole number"),
        ("slurm-block", "SwitchName=b Nodes=n[0-3]\n", 1, "topology/block has"),
        ("slurm-yaml", "- topology: a\n  flat: true\n", 1, "a is flat"),
        ("slurm-yaml", "- topology: a\n  ring: {rings: []}\n- {topology: b, torus3d: {}}\n", 1, "a is ring, b is torus3d"),
        ("slurm-yaml", "- topology: a\n  tre: {}\n", 2, "did you mean tree"),
        ("slurm-yaml", "- topology: a\n  tree:\n    switches:\n    - switch: s\n      node: n\n", 5, "did you mean nodes"),
        ("slurm-yaml", "- topology: a\n  tree:\n    switches: []\n", 3, "list of switches"),
        ("slurm-yaml", "- topology: a\n  tree: {}\n  block: {}\n", 1, "exactly one of"),
        ("slurm-yaml", "- topology: a\n  tree: [\n", 3, "bad YAML"),
        ("slurm-yaml", "topology: a\n", 1, "list of topologies"),
        ("topograph", "switches:\n  a: {switches: [b]}\n  b: {switches: [a]}\nnodes: {n: {}}\n", 1, "no switch with nodes"),
        ("topograph", "switches:\n  a: {nodes: ['n#1']}\n", 2, "cannot be in a name"),
        ("topograph", "switches:\n  a: {switches: [l]}\n  b: {switches: [l]}\n  l: {nodes: n}\n", 3, "below both a and b"),
        ("topograph", "switches:\n  a: {node: [n]}\n", 2, "did you mean nodes"),
        ("topograph", "switches:\n- name: a\n  capacity_blocks: [c]\n", 2, "does not describe"),
        ("topograph", "x: &a [*a]\nswitches: *a\n", 1, "recursion|values"),
    ],
)
def test_errors_say_where(form: str, text: str, line: int, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(FormatError, match=problem) as caught:
        read_graph(path, form)
    assert (caught.value.source, caught.value.line) == (str(path), line), str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


def test_what_is_no_text_or_no_format(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"SwitchName=s0\n\xff")
    with pytest.raises(FormatError, match=r"file:2: not UTF-8"):
        read_graph(path)
    path.write_text("hello")
    with pytest.raises(FormatError, match="cannot be recognised"):
        read_graph(path)
    with pytest.raises(FormatError, match="'toml' is not a format; known: node-link"):
        read_graph(path, "toml")
    with pytest.raises(FormatError, match="it is a directory"):
        read_graph(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_graph(tmp_path / "nothing")


def test_lines_of_json() -> None:
    assert [_line(_GRAPH, path) for path in (("nodes", 1, "tier"), ("edges", 0, "rails"), ("graph",), ("edges", 5), ("none",))] == [
        6,
        9,
        3,
        8,
        1,
    ]
