"""Slurm's topology.conf (topology.conf(5)): switches of topology/tree, or blocks of topology/block.

Lines of ``Key=value``; keys in any case; ``#`` starts a comment; a backslash at its end continues a line.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import networkx as nx

from topology.cluster import Cluster
from topology.formats.defaults import Defaults
from topology.formats.errors import FormatError
from topology.formats.tree import Switch, Tree, from_cluster, named, names, to_graph
from topology.hostlist import fold

_TREE_KEYS = ("switchname", "switches", "nodes", "linkspeed")
_BLOCK_KEYS = ("blockname", "nodes", "blocksizes")
_PAIR = re.compile(r'([A-Za-z]+)\s*=\s*("[^"]*"|[^\s"]+)')


class _Record(NamedTuple):
    """One line's keys, in small letters, and values."""

    line: int
    values: dict[str, str]


def read_tree(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    switches, hosts = [], names(source)
    for line, values in _records(text, source, _TREE_KEYS, "topology/tree has SwitchName, Switches, Nodes and LinkSpeed"):
        if "switchname" not in values:
            raise FormatError("a line without SwitchName", source, line)
        switches.append(
            Switch(
                named(values["switchname"], source, line),
                hosts(values.get("switches", ""), line),
                hosts(values.get("nodes", ""), line),
                line,
                _speed(values["linkspeed"], source, line) if "linkspeed" in values else None,
            )
        )
    return to_graph(Tree(tuple(switches)), source, defaults)


def read_block(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    blocks, hosts = [], names(source)
    for line, values in _records(text, source, _BLOCK_KEYS, "topology/block has BlockName, Nodes and BlockSizes"):
        if "blocksizes" in values:
            block_sizes(values["blocksizes"].split(","), source, line)
        if "blockname" in values:
            blocks.append(Switch(named(values["blockname"], source, line), (), hosts(values.get("nodes", ""), line), line))
        elif "nodes" in values:
            raise FormatError("Nodes without BlockName", source, line)
    return to_graph(block_tree(blocks), source, defaults)


def block_tree(blocks: list[Switch]) -> Tree:
    """Blocks, each a leaf unit, joined by one tier of switches, which the file does not describe."""
    return Tree(tuple(blocks), joined=True)


def block_sizes(sizes: list[str], source: str, line: int) -> None:
    """Raises FormatError unless these are Slurm's planning sizes: each a power of two of the first."""
    for size in sizes:
        if not re.fullmatch(r"\s*[1-9]\d{0,8}\s*", size):
            raise FormatError(f"block size {size[:40]!r} is not a whole number above 0", source, line)
    numbers = [int(size) for size in sizes]
    for number in numbers:
        ratio, rest = divmod(number, numbers[0])
        if rest or not ratio or ratio & (ratio - 1):
            raise FormatError(f"block size {number} is not {numbers[0]} times a power of two", source, line)


def _speed(text: str, source: str, line: int) -> float:
    if not re.fullmatch(r"[1-9]\d{0,11}", text):
        raise FormatError(f"LinkSpeed {text[:40]!r} is not a whole number above 0", source, line)
    return float(text)


def _records(text: str, source: str, keys: tuple[str, ...], allowed: str) -> Iterator[_Record]:
    for number, line in _logical_lines(text):
        values: dict[str, str] = {}
        rest = line.strip()
        while rest:
            match = _PAIR.match(rest)
            if not match:
                raise FormatError(f"{rest[:40]!r} is not of the form Key=value", source, number)
            key = match[1].lower()
            if key not in keys:
                raise FormatError(f"unknown key {match[1]}: {allowed}", source, number)
            if key in values:
                raise FormatError(f"{match[1]} is given twice", source, number)
            values[key] = match[2].strip('"')
            rest = rest[match.end() :]
            if rest and not rest[0].isspace():
                raise FormatError(f"{rest[:40]!r} is not of the form Key=value", source, number)
            rest = rest.lstrip()
        if values:
            yield _Record(number, values)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number of the first, text) of lines without comments, continued ones joined."""
    joined: list[str] = []
    first = 1
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.partition("#")[0].rstrip()
        first = first if joined else number
        joined.append(content.removesuffix("\\"))
        if not content.endswith("\\"):
            yield first, " ".join(joined)
            joined = []
    if joined:
        yield first, " ".join(joined)


def write_tree(graph: nx.Graph, cluster: Cluster) -> str:
    lines = [f"# topology/tree of {cluster.name}"]
    for switch in from_cluster(cluster).switches:
        below = f"Switches={fold(switch.children)}" if switch.children else f"Nodes={fold(switch.hosts)}"
        lines.append(f"SwitchName={switch.name} {below}")
    return "\n".join(lines) + "\n"


def write_block(graph: nx.Graph, cluster: Cluster) -> str:
    blocks = cluster_blocks(cluster)
    lines = [f"# topology/block of {cluster.name}", *(f"BlockName={name} Nodes={fold(members)}" for name, members in blocks)]
    return "\n".join([*lines, f"BlockSizes={min(len(members) for _, members in blocks)}"]) + "\n"


def cluster_blocks(cluster: Cluster) -> list[tuple[str, list[str]]]:
    """(name, hosts) of the blocks that a cluster is: its scale-up domains where these have several hosts, else its leaf units."""
    name = "domain" if len(cluster.level("domain")) < cluster.host_count else "leaf"
    starts = cluster.level(name).first_host.tolist()
    return [
        (f"block-{number:05d}", [cluster.host_name(host) for host in range(low, high)])
        for number, (low, high) in enumerate(pairwise(starts))
    ]
