"""Files that describe clusters, read into graphs and written from them: one module for each format, and one registry."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import networkx as nx

from topology.cluster import Cluster
from topology.files import MOST_DESCRIPTION_BYTES, UnreadableFile, read_whole
from topology.formats import graphml, node_link, slurm_conf, slurm_yaml, topograph
from topology.formats.defaults import Defaults, HostTypes
from topology.formats.detection import detect
from topology.formats.encoding import decode
from topology.formats.errors import FormatError
from topology.formats.loss import Holds, not_held

_Read = Callable[[bytes, str, Defaults], nx.Graph]


class Format(NamedTuple):
    """A file format. ``read`` takes a file's bytes, and the name to use for it in messages."""

    what: str
    holds: Holds
    read: _Read
    write: Callable[[nx.Graph, Cluster], str]


def _of_text(read: Callable[[str, str, Defaults], nx.Graph]) -> _Read:
    return lambda data, source, defaults: read(decode(data, source), source, defaults)


FORMATS: Mapping[str, Format] = {
    "node-link": Format("node-link JSON, as networkx writes it", Holds.GRAPH, node_link.read, node_link.write),
    "graphml": Format("GraphML", Holds.GRAPH, graphml.read, graphml.write),
    "slurm-tree": Format("Slurm's topology.conf of topology/tree", Holds.TREE, _of_text(slurm_conf.read_tree), slurm_conf.write_tree),
    "slurm-block": Format("Slurm's topology.conf of topology/block", Holds.BLOCKS, _of_text(slurm_conf.read_block), slurm_conf.write_block),
    "slurm-yaml": Format("Slurm's topology.yaml", Holds.TREE_AND_DOMAINS, _of_text(slurm_yaml.read), slurm_yaml.write),
    "topograph": Format("a model of NVIDIA's topograph", Holds.TREE_AND_DOMAINS, _of_text(topograph.read), topograph.write),
}


def read_graph(
    path: str | Path,
    format: str | None = None,
    *,
    host: str = "hgx-h100",
    host_types: Mapping[str, str] | None = None,
    switch: str = "sn5600",
    hosts_per_rack: int | None = None,
    site: str = "site",
    name: str | None = None,
    oversubscription: tuple[float, float, float] = (1.0, 1.0, 1.0),
    islands: str | None = None,
) -> nx.Graph:
    """The graph of a file. What the format does not hold comes from the arguments and is noted in the graph's ``assumptions``.

    ``format`` is one of `FORMATS`, by default what the file is. ``host_types`` are types of hosts by hostlist, ``*`` for all others; nodes
    that it does not name are left out; without it all are of type ``host``. ``hosts_per_rack`` is by default 8, or one scale-up domain;
    ``oversubscription`` is of leaf, spine and core, for formats that hold no cables; ``islands`` says what becomes of switch trees without
    a common top: `topology.formats.defaults.ISLANDS`. Raises FormatError (file, line) for what is not of the format; OSError where there is
    no such file.
    """
    source, data = str(path), read_bytes(path)
    chosen = format or detect(data)
    if chosen is None:
        decode(data, source)  # bytes that are not text have their own error
        raise FormatError(f"the format cannot be recognised from the text; known: {', '.join(FORMATS)}", source)
    if chosen not in FORMATS:
        raise FormatError(f"{chosen!r} is not a format; known: {', '.join(FORMATS)}", source)
    types = HostTypes.of(host, host_types)
    if types.by_host and FORMATS[chosen].holds is Holds.GRAPH:
        raise FormatError(f"host types by hostlist do not apply to {chosen}: there the node attribute host says the type", source)
    defaults = Defaults(name or Path(path).stem, types, switch, hosts_per_rack, site, oversubscription, islands)
    for kind in types.all:
        if defaults.hosts_per_rack(kind) % kind.domain_hosts:
            raise FormatError(f"hosts_per_rack is {hosts_per_rack}, not whole domains of {kind.domain_hosts} ({kind.name})", source)
    return FORMATS[chosen].read(data, source, defaults)


def read_bytes(path: str | Path) -> bytes:
    """What is in a file. Raises FormatError for what is no file or too large; OSError where there is none."""
    try:
        return read_whole(path, MOST_DESCRIPTION_BYTES)
    except UnreadableFile as error:
        raise FormatError(f"cannot be read: {error.strerror}", str(path)) from None


def write_graph(graph: nx.Graph, cluster: Cluster, format: str) -> str:
    """The text of a graph, and of the cluster compiled from it, in one of `FORMATS`; `lost` says what is not in it."""
    return FORMATS[format].write(graph, cluster)


def lost(cluster: Cluster, format: str) -> list[str]:
    """What a file in one of `FORMATS` leaves out of the cluster, in sentences; none if it holds everything."""
    return not_held(cluster, FORMATS[format].holds)


__all__ = ["FORMATS", "Format", "FormatError", "Holds", "detect", "lost", "read_bytes", "read_graph", "write_graph"]
