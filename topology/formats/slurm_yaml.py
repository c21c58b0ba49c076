"""Slurm's topology.yaml (topology.yaml(5), from 25.05 on): a list of topologies, of which the cluster's default one is read."""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import yaml

from topology.cluster import Cluster
from topology.formats.defaults import Defaults
from topology.formats.slurm_conf import block_sizes, block_tree, cluster_blocks
from topology.formats.tree import Switch, Tree, from_cluster, named, names, to_graph
from topology.formats.yaml_document import Document
from topology.hostlist import fold

_KINDS = ("tree", "block", "flat")


def read(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    document = Document(text, source)
    topologies = document.items(document.value, (), "topology.yaml is a list of topologies")
    described = [(number, _kind(document, number, value)) for number, value in enumerate(topologies)]
    seen: dict[str, int] = {}
    for number, _ in described:
        name = document.text(topologies[number]["topology"], (number, "topology"))
        if seen.setdefault(name, number) != number:
            raise document.refuse(f"topology {name} is there twice", (number, "topology"))
    shaped = [(number, kind) for number, kind in described if kind != "flat"]
    if not shaped:
        raise document.refuse("every topology is flat, which names no nodes: a tree or a block topology is needed", (0,))
    number, kind = next(
        ((number, kind) for number, kind in shaped if topologies[number].get("cluster_default", "").lower() in ("true", "yes", "on")),
        shaped[0],
    )
    notes = (f"Left out: the other {len(topologies) - 1} topologies of {source}.",) if len(topologies) > 1 else ()
    tree = (_tree if kind == "tree" else _blocks)(document, (number, kind), topologies[number][kind])
    return to_graph(Tree(tree.switches, tree.domains, tree.joined, notes), source, defaults)


def _kind(document: Document, number: int, value: Any) -> str:
    keys = document.section(value, (number,), ("topology", "cluster_default", *_KINDS), "a topology")
    if "topology" not in keys:
        raise document.refuse("a topology without a name (topology: ...)", (number,))
    if not isinstance(keys.get("cluster_default", ""), str):
        raise document.refuse("cluster_default is true or false", (number, "cluster_default"))
    kinds = [kind for kind in _KINDS if kind in keys]
    if len(kinds) != 1:
        raise document.refuse(f"exactly one of tree, block and flat is needed; given: {', '.join(kinds) or 'none'}", (number,))
    return kinds[0]


def _tree(document: Document, path: tuple[str | int, ...], value: Any) -> Tree:
    hosts, switches = names(document.source), []
    section = document.section(value, path, ("switches",), "a tree")
    path = (*path, "switches")
    for number, item in enumerate(document.items(section.get("switches"), path, "a tree has a list of switches")):
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
        sizes = document.items(section["block_sizes"], (*path, "block_sizes"), "block_sizes is a list of numbers")
        block_sizes([document.text(size, (*path, "block_sizes")) for size in sizes], document.source, document.line((*path, "block_sizes")))
    path = (*path, "blocks")
    for number, item in enumerate(document.items(section.get("blocks"), path, "a block topology has a list of blocks")):
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
