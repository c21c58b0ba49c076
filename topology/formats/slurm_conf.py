"""Slurm's topology.conf (topology.conf(5)): switches of topology/tree, or blocks of topology/block.

Read as well is what ``scontrol show topology`` prints: it has lines of the same keys and a few more, ``Level`` of a switch, whose ``Nodes``
are then all nodes below, at whatever depth; ``BlockIndex`` and ``BlockSize`` of a block; and lines for several blocks together, which say
nothing new.
"""

import re
from itertools import pairwise

import networkx as nx
import numpy as np

from topology.cluster import Cluster
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError
from topology.formats.slurm_lines import records
from topology.formats.tree import Switch, Tree, from_cluster, named, names
from topology.formats.tree_graph import to_graph
from topology.formats.words import meant
from topology.hostlist import fold

_TREE_KEYS = ("switchname", "switches", "nodes", "linkspeed", "level")
_BLOCK_KEYS = ("blockname", "nodes", "blocksizes", "blockindex", "blocksize")


def read_tree(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    switches, hosts = [], names(source)
    for line, values, written in records(text, source):
        _known(written, _TREE_KEYS, "topology/tree has SwitchName, Switches, Nodes and LinkSpeed", source, line)
        if "switchname" not in values:
            raise FormatError("a line without SwitchName", source, line)
        children = hosts(values.get("switches", ""), line)
        printed = "level" in values and children
        switches.append(
            Switch(
                named(values["switchname"], source, line),
                children,
                () if printed else hosts(values.get("nodes", ""), line),
                line,
                _speed(values["linkspeed"], source, line) if "linkspeed" in values else None,
            )
        )
    return to_graph(Tree(tuple(switches)), source, defaults)


def read_block(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    blocks, hosts = [], names(source)
    for line, values, written in records(text, source):
        if "aggregatedblock" in values:
            continue
        _known(written, _BLOCK_KEYS, "topology/block has BlockName, Nodes and BlockSizes", source, line)
        if "blocksizes" in values:
            block_sizes(values["blocksizes"].split(","), source, line)
        if "blockname" in values:
            blocks.append(Switch(named(values["blockname"], source, line), (), hosts(values.get("nodes", ""), line), line))
        elif "nodes" in values:
            raise FormatError("Nodes without BlockName", source, line)
    return to_graph(block_tree(blocks), source, defaults)


def _known(written: dict[str, str], keys: tuple[str, ...], allowed: str, source: str, line: int) -> None:
    for key, word in written.items():
        if key not in keys:
            near = meant(key, keys)
            raise FormatError(f"unknown key {word}{f', did you mean {near}?' if near else ''}: {allowed}", source, line)


def block_tree(blocks: list[Switch]) -> Tree:
    """Blocks, each a leaf unit, joined by one tier of switches, which the file does not describe."""
    return Tree(tuple(blocks), joined=True)


def block_sizes(sizes: list[str], source: str, line: int) -> None:
    """Raises FormatError unless these are Slurm's planning sizes: each a power of two of the first."""
    for size in sizes:
        if not re.fullmatch(r"\s*[1-9]\d{0,8}(\.0+)?\s*", size):
            raise FormatError(f"block size {size[:40]!r} is not a whole number above 0", source, line)
    numbers = [int(float(size)) for size in sizes]
    for number in numbers:
        ratio, rest = divmod(number, numbers[0])
        if rest or not ratio or ratio & (ratio - 1):
            raise FormatError(f"block size {number} is not {numbers[0]} times a power of two", source, line)


def _speed(text: str, source: str, line: int) -> float:
    if not re.fullmatch(r"[1-9]\d{0,11}(\.0+)?", text):
        raise FormatError(f"LinkSpeed {text[:40]!r} is not a whole number above 0", source, line)
    return float(text)


def write_tree(graph: nx.Graph, cluster: Cluster) -> str:
    """As topology/tree reads it: one line a switch, without LinkSpeed."""
    lines = [f"# topology/tree of {cluster.name}"]
    for switch in from_cluster(cluster).switches:
        below = f"Switches={fold(switch.children)}" if switch.children else f"Nodes={fold(switch.hosts)}"
        lines.append(f"SwitchName={switch.name} {below}")
    return "\n".join(lines) + "\n"


def write_block(graph: nx.Graph, cluster: Cluster) -> str:
    """As topology/block reads it: the blocks of `cluster_blocks`, and as BlockSizes the least of them."""
    blocks = cluster_blocks(cluster)
    lines = [f"# topology/block of {cluster.name}", *(f"BlockName={name} Nodes={fold(members)}" for name, members in blocks)]
    return "\n".join([*lines, f"BlockSizes={min(len(members) for _, members in blocks)}"]) + "\n"


def cluster_blocks(cluster: Cluster) -> list[tuple[str, list[str]]]:
    """(name, hosts) of the blocks that a cluster is: its scale-up domains of several hosts, else its leaf units."""
    domains = cluster.level("domain").first_host
    several = np.flatnonzero(np.diff(domains) > 1)
    starts = np.unique(np.concatenate((cluster.level("leaf").first_host, domains[several], domains[several + 1]))).tolist()
    return [
        (f"block-{number:05d}", [cluster.host_name(host) for host in range(low, high)])
        for number, (low, high) in enumerate(pairwise(starts))
    ]
