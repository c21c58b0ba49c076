"""Files that describe clusters, to and from graphs: one module for each format, and one registry."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import networkx as nx

from topology.cluster import Cluster
from topology.formats import graphml, node_link, slurm_conf, slurm_yaml, topograph
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError
from topology.formats.loss import Holds, not_held

#: Of a file: a node-link JSON of 4,000,000 GPUs has about 300 MB.
MOST_BYTES = 2**30


class Format(NamedTuple):
    """What a file's text is to us. ``read`` is given the text and what to call the file in messages."""

    what: str
    holds: Holds
    read: Callable[[str, str, Defaults], nx.Graph]
    write: Callable[[nx.Graph, Cluster], str]


FORMATS: Mapping[str, Format] = {
    "node-link": Format("node-link JSON, as networkx writes it", Holds.GRAPH, node_link.read, node_link.write),
    "graphml": Format("GraphML", Holds.GRAPH, graphml.read, graphml.write),
    "slurm-tree": Format("Slurm's topology.conf of topology/tree", Holds.TREE, slurm_conf.read_tree, slurm_conf.write_tree),
    "slurm-block": Format("Slurm's topology.conf of topology/block", Holds.BLOCKS, slurm_conf.read_block, slurm_conf.write_block),
    "slurm-yaml": Format("Slurm's topology.yaml", Holds.TREE_AND_DOMAINS, slurm_yaml.read, slurm_yaml.write),
    "topograph": Format("a model of NVIDIA's topograph", Holds.TREE_AND_DOMAINS, topograph.read, topograph.write),
}


def read_graph(
    path: str | Path,
    format: str | None = None,
    *,
    host: str = "hgx-h100",
    switch: str = "sn5600",
    hosts_per_rack: int | None = None,
    site: str = "site",
    name: str | None = None,
    oversubscription: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> nx.Graph:
    """The graph of a file. What the format does not hold is as the arguments say and noted in the graph's ``assumptions``.

    ``format`` is one of `FORMATS`, by default what the text looks like. ``hosts_per_rack`` is by default 8, or one scale-up domain;
    ``oversubscription`` is of leaf, spine and core, for formats that hold no cables. Raises FormatError (file, line) for what is not of
    the format; OSError where there is no such file.
    """
    source, text = str(path), _text(Path(path))
    chosen = format or detect(text)
    if chosen is None:
        raise FormatError(f"what format this is cannot be told from its text; known: {', '.join(FORMATS)}", source)
    if chosen not in FORMATS:
        raise FormatError(f"{chosen!r} is not a format; known: {', '.join(FORMATS)}", source)
    defaults = Defaults(name or Path(path).stem, host, switch, hosts_per_rack, site, oversubscription)
    if defaults.hosts_per_rack % defaults.host_type.domain_hosts:
        raise FormatError(f"hosts_per_rack is {hosts_per_rack}, not whole domains of {defaults.host_type.domain_hosts} ({host})", source)
    return FORMATS[chosen].read(text, source, defaults)


def write_graph(graph: nx.Graph, cluster: Cluster, format: str) -> str:
    """The text of a graph, and of the cluster compiled from it, in one of `FORMATS`; `lost` says what is not in it."""
    return FORMATS[format].write(graph, cluster)


def lost(cluster: Cluster, format: str) -> list[str]:
    """What a file of one of `FORMATS` says nothing of, in sentences; none where it holds all."""
    return not_held(cluster, FORMATS[format].holds)


def detect(text: str) -> str | None:
    """The format that a text looks like, or None."""
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if start == "<":
        return "graphml"
    if start == "{":
        return "node-link"
    for pattern, found in (
        (r"(?im)^[ \t]*SwitchName[ \t]*=", "slurm-tree"),
        (r"(?im)^[ \t]*BlockName[ \t]*=", "slurm-block"),
        (r"(?m)^-[ \t]+topology[ \t]*:", "slurm-yaml"),
        (r"(?m)^(switches|nodes|capacity_blocks|blocks)[ \t]*:", "topograph"),
    ):
        if re.search(pattern, text):
            return found
    return None


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise FormatError("not a file", str(path))
    if (size := path.stat().st_size) > MOST_BYTES:
        raise FormatError(f"{size} bytes: at most {MOST_BYTES} are read", str(path))
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 text ({error.reason})", str(path), data.count(b"\n", 0, error.start) + 1) from None


__all__ = ["FORMATS", "Format", "FormatError", "Holds", "detect", "lost", "read_graph", "write_graph"]
