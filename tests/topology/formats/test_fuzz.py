"""Whatever a file holds: a graph, or one error with file and line; never another exception, a hang or a flood."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.topology.formats.test_errors import _GRAPH, _GRAPHML
from topology.compile import compile_cluster
from topology.formats import FORMATS, FormatError, Holds, detect, read_graph
from topology.formats.defaults import HostTypes
from topology.formats.slurm_gpus import NodeGpus, host_types, read_gres_conf, read_slurm_conf
from topology.vocabulary import TopologyError

_EXAMPLES = Path(__file__).parent / "examples"
_MULTIGRAPH = _GRAPH.replace('"directed": false', '"directed": true,\n"multigraph": true').replace(
    ' {"source"', ' {"source": "l0", "target": "h0", "lanes": 8.0, "rails": 8, "key": 1, "weight": 2},\n {"source"'
)
_GRAPHML_OF_OTHERS = """<graphml>
<key id="t" for="all" attr.name="tier"><default>leaf</default></key>
<key id="w" for="edge" attr.name="weight"><default>1.5</default></key>
<graph edgedefault="directed">
<node id="h0"><data key="t">endpoint</data><port name="x"/></node>
<node id="l0"><desc>a <b>leaf</b></desc></node>
<edge source="h0" target="l0"/>
<edge source="l0" target="h0" directed="true"/>
</graph>
</graphml>
"""
_ISLANDS = """SwitchName=a Nodes=n[1-3],n7
SwitchName=b Nodes=n[1-3],n7
SwitchName=c Nodes=n[3-6]
SwitchName=top Switches=b
SwitchName=other Nodes=other,x[1-3]
"""
_PRINTED = """SwitchName=sp Level=1 LinkSpeed=1 Nodes=n[1-4] Switches=a,b
SwitchName=a Level=0 LinkSpeed=1 Nodes=n[1-2] Switches=
SwitchName=b Level=0 LinkSpeed=1 Nodes=n[3-4]
"""
_VALID = {
    "node-link": [_GRAPH, _MULTIGRAPH],
    "graphml": [_GRAPHML, _GRAPHML_OF_OTHERS],
    "slurm-tree": [_ISLANDS, _PRINTED] + [(_EXAMPLES / f"slurm/{name}.conf").read_text() for name in ("tree", "guide-1", "guide-2")],
    "slurm-block": [(_EXAMPLES / "slurm/block.conf").read_text()],
    "slurm-yaml": [(_EXAMPLES / f"slurm/{name}.yaml").read_text() for name in ("yaml-1", "yaml-2")],
    "topograph": [path.read_text() for path in sorted((_EXAMPLES / "topograph").iterdir())],
}
_WORDS = st.sampled_from(
    [
        "0",
        "-1",
        "1e999",
        "99999999999999999999",
        "NaN",
        "null",
        "true",
        "[]",
        "{}",
        "[[",
        "]",
        "}",
        "<",
        "</graph>",
        "&a",
        "*a",
        "!!python/object:x",
        "n[0-999999999]",
        "n[5-1]",
        "n[",
        "s0",
        "s4",
        "core",
        "\x00",
        "\ud7ff",
        "\u2028",
        "é" * 70,
        "# ",
        "\\",
        "\t",
        '"',
        "'",
        "---",
        "- ",
        ": ",
        "=",
        ",",
    ]
)


@st.composite
def _mutated(draw: st.DrawFn, text: str) -> str:
    """Lines dropped, doubled, moved; parts cut out; words and characters put in; names made another's."""
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        kind = draw(st.sampled_from(["drop", "double", "swap", "cut", "insert", "rename", "letter"]))
        at = draw(st.integers(0, len(lines) - 1))
        if kind == "drop":
            lines = lines[:at] + lines[at + 1 :]
        elif kind == "double":
            lines.insert(at, lines[at])
        elif kind == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
        text = "\n".join(lines)
        place = draw(st.integers(0, len(text)))
        if kind == "cut":
            text = text[:place] + text[place + draw(st.integers(1, 30)) :]
        elif kind == "insert":
            text = text[:place] + draw(_WORDS) + text[place:]
        elif kind == "letter":
            text = text[:place] + draw(st.characters()) + text[place + 1 :]
        elif kind == "rename":
            words = re.findall(r"[\w.-]+", text)
            if words:
                text = text.replace(draw(st.sampled_from(words)), draw(st.one_of(st.sampled_from(words), _WORDS)), draw(st.integers(1, 3)))
    return text


def _reads(path: Path, text: str, form: str) -> None:
    """Read ``text``, and compile what comes of it."""
    try:
        path.write_text(text, encoding="utf-8")
    except UnicodeEncodeError:
        return
    detect(text)
    for options in (
        {},
        {"host": "gb200-nvl72"},
        {"islands": "joined"},
        {"host_types": {"n[1-3],tux[0-3]": "gb200-nvl72", "*": "hgx-h100"}},
    ):
        graph = error = None
        if "host_types" in options and FORMATS[form].holds is Holds.GRAPH:
            continue
        try:
            graph = read_graph(path, form, **options)
        except FormatError as caught:
            error = caught
        if error is not None:
            assert 1 <= error.line <= len(text.splitlines()) + 2, error  # YAML breaks lines at U+2028, too
            assert str(error).startswith(f"{path}:{error.line}: ")
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
        if graph is not None:
            with contextlib.nullcontext() if form not in ("node-link", "graphml") else contextlib.suppress(TopologyError):
                compile_cluster(graph)  # a tree that is read can be compiled


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_mutated_files(form: str, data: st.DataObject, tmp_path: Path) -> None:
    _reads(tmp_path / "file", data.draw(st.sampled_from(_VALID[form]).flatmap(_mutated)), form)


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=80, suppress_health_check=list(HealthCheck), deadline=None)
@given(text=st.one_of(st.text(), st.lists(_WORDS).map("".join)))
@example(text="")
@example(text="\n")
@example(text="[" * 1200)
@example(text="{" * 1200)
@example(text="<a>" * 5000)
@example(text="- " * 800)
@example(text="a: &a\n- *a\n")
@example(
    text="a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9))
)
@example(text="SwitchName=s0 Nodes=" + ",".join(["n[0-1999999]"] * 100))
def test_any_text(form: str, text: str, tmp_path: Path) -> None:
    _reads(tmp_path / "file", text, form)


_SLURM = [
    "AutoDetect=nvml\nNodeName=n[1-2] Name=gpu Type=h100 File=/dev/nvidia[0-7]\nName=gpu Type=a100 Count=8 \\\n Cores=0-3\n",
    "NodeName=DEFAULT Gres=gpu:h100:8(S:0-1)\nNodeName=n[1-2],m3\nNodeName=l Gres=\nInclude x\nPartitionName=all Nodes=ALL\n",
]


@pytest.mark.parametrize("read", [read_gres_conf, read_slurm_conf])
@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_files_that_say_where_gpus_are(read: Callable[[Path], NodeGpus], data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "conf"
    try:
        path.write_text(data.draw(st.sampled_from(_SLURM).flatmap(_mutated)), encoding="utf-8")
    except UnicodeEncodeError:
        return
    with contextlib.suppress(FormatError):
        found = read(path)
        nodes, gres = (found, None) if read is read_slurm_conf else (None, found)
        for hostlist, kind in host_types(nodes, gres, {}, "hgx-h100").items():
            HostTypes.of("hgx-h100", {hostlist: kind})
