"""Slurm's topology.yaml (topology.yaml(5), from 25.05 on): a list of topologies, of which the cluster's default one is read."""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import yaml

from topology.cluster import Cluster
from topology.formats.defaults import Defaults
from topology.formats.slurm_conf import block_sizes, block_tree, cluster_blocks
from topology.formats.tree import Switch, Tree, from_cluster, named, names
from topology.formats.tree_graph import to_graph
from topology.formats.words import meant
from topology.formats.yaml_document import Document
from topology.hostlist import fold

#: Kinds of topology that name nodes in a way that is read; ``flat`` names none.
_READ = ("tree", "block")


def read(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    document = Document(text, source)
    topologies = document.items(document.value, (), "topology.yaml must be a list of topologies")
    kinds = [_kind(document, number, value) for number, value in enumerate(topologies)]
    named_at: dict[str, int] = {}
    for number, topology in enumerate(topologies):
        name = document.text(topology["topology"], (number, "topology"))
        if named_at.setdefault(name, number) != number:
            raise document.refuse(f"topology {name} appears twice", (number, "topology"))
    readable = [number for number, kind in enumerate(kinds) if kind in _READ]
    if not readable:
        told = ", ".join(f"{name[:40]} is {kinds[number]}" for name, number in list(named_at.items())[:5])
        raise document.refuse(f"there is no tree or block topology, and other kinds do not name the switches of nodes; {told}", (0,))
    chosen = next((number for number in readable if _is_default(topologies[number])), readable[0])
    left_out = [
        f"{name} ({kinds[number]}{', the default' if _is_default(topologies[number]) else ''})"
        for name, number in named_at.items()
        if number != chosen
    ]
    notes = (f"Left out: of the topologies of {source}, {', '.join(left_out)}.",) if left_out else ()
    kind = kinds[chosen]
    tree = (_tree if kind == "tree" else _blocks)(document, (chosen, kind), topologies[chosen][kind])
    return to_graph(Tree(tree.switches, tree.domains, tree.joined, notes), source, defaults)


def _is_default(topology: Mapping[str, Any]) -> bool:
    return str(topology.get("cluster_default", "")).lower() in ("true", "yes", "on")


def _kind(document: Document, number: int, value: Any) -> str:
    """What the topology is: the one key that it has besides its name and whether it is the default."""
    if not isinstance(value, dict):
        raise document.refuse(
            f"a topology must be a mapping with topology (its name), cluster_default, and one of {', '.join(_READ)}", (number,)
        )
    if "topology" not in value:
        raise document.refuse("a topology without a name (topology: ...)", (number,))
    if not isinstance(value.get("cluster_default", ""), str):
        raise document.refuse("cluster_default must be true or false", (number, "cluster_default"))
    kinds = [key for key in value if key not in ("topology", "cluster_default")]
    for key in kinds:
        word = meant(key, (*_READ, "cluster_default"))
        if key not in _READ and word:
            raise document.refuse(f"a topology has an unknown key {key[:40]!r}, did you mean {word}?", (number, key))
    if len(kinds) != 1:
        given = ", ".join(key[:40] for key in kinds[:5])
        raise document.refuse(f"exactly one of tree, block, flat and other kinds is needed; given: {given or 'none'}", (number,))
    return str(kinds[0])[:40]


def _tree(document: Document, path: tuple[str | int, ...], value: Any) -> Tree:
    hosts, switches = names(document.source), []
    section = document.section(value, path, ("switches",), "a tree")
    path = (*path, "switches")
    for number, item in enumerate(document.items(section.get("switches"), path, "a tree must have a list of switches")):
        keys = document.section(item, (*path, number), ("switch", "children", "nodes"), "a switch")
        line = document.line((*path, number))
        switches.append(
            Switch(
                _named(document, keys, "switch", (*path, number)),
                hosts(document.text(keys.get("children", ""), (*path, number, "children")), line),
                hosts(document.text(keys.get("nodes", ""), (*path, number, "nodes")), line),
                line,
            )
        )
    return Tree(tuple(switches))


def _blocks(document: Document, path: tuple[str | int, ...], value: Any) -> Tree:
    hosts, blocks = names(document.source), []
    section = document.section(value, path, ("block_sizes", "blocks"), "a block topology")
    if "block_sizes" in section:
        sizes = document.items(section["block_sizes"], (*path, "block_sizes"), "block_sizes must be a list of numbers")
        block_sizes([document.text(size, (*path, "block_sizes")) for size in sizes], document.source, document.line((*path, "block_sizes")))
    path = (*path, "blocks")
    for number, item in enumerate(document.items(section.get("blocks"), path, "a block topology must have a list of blocks")):
        keys = document.section(item, (*path, number), ("block", "nodes"), "a block")
        line = document.line((*path, number))
        nodes = hosts(document.text(keys.get("nodes", ""), (*path, number, "nodes")), line)
        blocks.append(Switch(_named(document, keys, "block", (*path, number)), (), nodes, line))
    return block_tree(blocks)


def _named(document: Document, keys: Mapping[str, Any], key: str, path: tuple[str | int, ...]) -> str:
    if key not in keys:
        raise document.refuse(f"a {key} without a name ({key}: ...)", path)
    return named(document.text(keys[key], (*path, key)), document.source, document.line((*path, key)))


def write(graph: nx.Graph, cluster: Cluster) -> str:
    """A tree; where domains have several hosts, these as blocks of a second topology, which is not the default."""
    tree = [
        {"switch": switch.name, "children": fold(switch.children)}
        if switch.children
        else {"switch": switch.name, "nodes": fold(switch.hosts)}
        for switch in from_cluster(cluster).switches
    ]
    topologies: list[dict[str, Any]] = [{"topology": "tree", "cluster_default": True, "tree": {"switches": tree}}]
    if len(cluster.level("domain")) < cluster.host_count:
        blocks = cluster_blocks(cluster)
        block = {
            "block_sizes": [min(len(members) for _, members in blocks)],
            "blocks": [{"block": name, "nodes": fold(members)} for name, members in blocks],
        }
        topologies.append({"topology": "block", "cluster_default": False, "block": block})
    return f"# of {cluster.name}\n" + yaml.safe_dump(topologies, sort_keys=False, width=2**20)
