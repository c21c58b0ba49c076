"""Models of NVIDIA's topograph (github.com/NVIDIA/topograph, docs/modeling.md and tests/models), in each of the forms that they have had.

- ``switches``, ``nodes`` and ``capacity_blocks`` are mappings; a switch has ``switches`` or ``nodes``. This is the form that is written.
- ``switches`` and ``capacity_blocks`` are lists of items with a ``name``; a switch has ``switches`` or ``capacity_blocks``.
- ``switches`` is a mapping, ``blocks`` a list of items with ``switch``, ``nodes`` and labels.

A node's scale-up domain is its ``nvlink``, else its block's label or annotation of one, else its capacity block.
"""

from typing import Any

import networkx as nx
import yaml

from topology.cluster import Cluster
from topology.formats.defaults import Defaults
from topology.formats.slurm_conf import block_tree, cluster_blocks
from topology.formats.tree import Switch, Tree, from_cluster, named, names
from topology.formats.tree_graph import to_graph
from topology.formats.yaml_document import Document
from topology.hostlist import fold
from topology.yaml_lines import Path

_SECTIONS = ("switches", "nodes", "capacity_blocks", "blocks", "topology", "physical_layers")
_SWITCH_KEYS = ("name", "switches", "nodes", "capacity_blocks", "metadata", "labels", "annotations")
_BLOCK_KEYS = ("name", "switch", "nodes", "type", "nvlink", "attributes", "labels", "annotations", "metadata")
_NODE_KEYS = ("id", "name", "type", "capacity_block", "capacity_block_id", "attributes", "labels", "annotations", "metadata")
#: Labels and annotations of a block that name its NVLink domain, in tests/models.
_DOMAIN_LABELS = (
    "accelerated.topology.nvidia.com/level-0",
    "network.topology.nvidia.com/accelerator",
    "accelerator.topology.test/domain",
)


def read(text: str, source: str, defaults: Defaults) -> nx.Graph:
    """Raises FormatError."""
    return to_graph(_Model(Document(text, source)).tree(), source, defaults)


class _Model:
    """The sections of a model, read one after the other into switches, hosts and domains."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names = names(document.source)
        self._children: dict[str, tuple[str, ...]] = {}
        self._hosts: dict[str, list[str]] = {}  # by switch
        self._lines: dict[str, int] = {}  # by switch
        self._blocks: dict[str, tuple[str, ...]] = {}  # hosts by capacity block
        self._nodes: dict[str, None] = {}  # all hosts, in order
        self._domains: dict[str, str] = {}
        sections = document.section(document.value, (), _SECTIONS, "a topograph model")
        if not any(key in sections for key in ("switches", "nodes", "capacity_blocks", "blocks")):
            raise document.refuse("a topograph model must have switches, nodes, capacity_blocks or blocks", ())
        self._read_nodes(sections.get("nodes", ""))
        self._read_blocks(sections.get("capacity_blocks", ""), "capacity_blocks")
        self._read_switches(sections.get("switches", ""))
        self._read_blocks(sections.get("blocks", ""), "blocks")

    def tree(self) -> Tree:
        if not self._children:
            if not self._blocks:
                raise self._document.refuse("the model has neither switches nor capacity blocks", ())
            blocks = block_tree([Switch(name, (), hosts, self._lines[name]) for name, hosts in self._blocks.items()])
            return Tree(
                blocks.switches, self._domains_of_blocks(), True, self._left_out({h for hosts in self._blocks.values() for h in hosts})
            )
        for below in list(self._children.values()):
            for child in below:
                self._children.setdefault(child, ())
        switches = tuple(
            Switch(name, below, tuple(self._hosts.get(name, ())), self._lines.get(name, 1)) for name, below in self._children.items()
        )
        return Tree(switches, self._domains, True, self._left_out({host for hosts in self._hosts.values() for host in hosts}))

    def _domains_of_blocks(self) -> dict[str, str]:
        """A block on its own is a leaf unit of its name, which a domain cannot have as well."""
        return {host: domain for host, domain in self._domains.items() if domain not in self._blocks}

    def _left_out(self, switched: set[str]) -> tuple[str, ...]:
        stray = [host for host in self._nodes if host not in switched]
        return (f"Left out: {len(stray)} nodes that are under no switch: {fold(stray)[:200]}.",) if stray else ()

    def _read_nodes(self, value: Any) -> None:
        if not value:
            return
        if not isinstance(value, dict):
            raise self._document.refuse("nodes must be a mapping of names", ("nodes",))
        for key, node in value.items():
            path: Path = ("nodes", key)
            host = self._one_host(key, path)
            keys = self._document.section(node or {}, path, _NODE_KEYS, "a node")
            self._nodes[host] = None
            block = keys.get("capacity_block", keys.get("capacity_block_id", ""))
            domain = self._nvlink(keys, path) or self._document.text(block, path)
            if domain:
                self._domains[host] = domain
            if block:
                self._blocks[block] = (*self._blocks.get(block, ()), host)
                self._lines.setdefault(block, self._document.line(path))

    def _read_blocks(self, value: Any, section: str) -> None:
        for path, name, item in self._named(value, section):
            keys = self._document.section(item or {}, path, _BLOCK_KEYS, "a block")
            hosts = self._hostlists(keys.get("nodes", ""), (*path, "nodes"))
            switch = self._document.text(keys.get("switch", ""), (*path, "switch"))
            for host in hosts:
                self._nodes[host] = None
                domain = self._nvlink(keys, path) or self._label(keys) or name
                if domain:
                    self._domains.setdefault(host, domain)
            if switch:
                self._children.setdefault(named(switch, self._document.source, self._document.line(path)), ())
                self._hosts.setdefault(switch, []).extend(hosts)
                self._lines.setdefault(switch, self._document.line(path))
            if name:
                named(name, self._document.source, self._document.line(path))
                self._blocks[name] = tuple(dict.fromkeys((*self._blocks.get(name, ()), *hosts)))
                self._lines.setdefault(name, self._document.line(path))

    def _read_switches(self, value: Any) -> None:
        above: dict[str, str] = {}
        for path, name, item in self._named(value, "switches"):
            line = self._document.line(path)
            if not name or named(name, self._document.source, line) in self._children:
                raise self._document.refuse(f"switch {name} appears twice" if name else "a switch without a name", path)
            keys = self._document.section(item or {}, path, _SWITCH_KEYS, "a switch")
            children = self._hostlists(keys.get("switches", ""), (*path, "switches"))
            for child in children:
                if above.setdefault(named(child, self._document.source, line), name) != name:
                    raise self._document.refuse(f"switch {child} is below both {above[child]} and {name}", path)
            self._children[name] = children
            self._lines[name] = line
            hosts = list(self._hostlists(keys.get("nodes", ""), (*path, "nodes")))
            for block in self._hostlists(keys.get("capacity_blocks", ""), (*path, "capacity_blocks")):
                if block not in self._blocks:
                    raise self._document.refuse(f"switch {name} has capacity block {block}, which the file does not describe", path)
                hosts += self._blocks[block]
            for host in hosts:
                self._nodes[host] = None
            self._hosts[name] = hosts

    def _named(self, value: Any, section: str) -> list[tuple[Path, str, Any]]:
        """(path, name, item) of a mapping by name, or of a list of items with one."""
        if isinstance(value, dict):
            return [((section, name), name, item) for name, item in value.items()]
        if not value:
            return []
        items = self._document.items(value, (section,), f"{section} must be a mapping of names, or a list")
        return [
            ((section, number), self._document.text(item.get("name", "") if isinstance(item, dict) else "", (section, number)), item)
            for number, item in enumerate(items)
        ]

    def _hostlists(self, value: Any, path: Path) -> tuple[str, ...]:
        """A text, or a list of texts, each a hostlist."""
        given = [value] if isinstance(value, str) else self._document.items(value, path, f"{path[-1]} must be a list of names")
        return tuple(name for item in given for name in self._names(self._document.text(item, path), self._document.line(path)))

    def _one_host(self, key: str, path: Path) -> str:
        found = self._names(key, self._document.line(path))
        if len(found) != 1:
            raise self._document.refuse(f"{key[:40]!r} is not the name of one node", path)
        return found[0]

    def _nvlink(self, keys: dict[str, Any], path: Path) -> str:
        attributes = keys.get("attributes", "")
        inner = attributes.get("nvlink", "") if isinstance(attributes, dict) else ""
        return self._domain(keys.get("nvlink", "") or inner, path)

    def _label(self, keys: dict[str, Any]) -> str:
        for holder in (keys.get("labels"), keys.get("annotations")):
            for label in _DOMAIN_LABELS:
                if isinstance(holder, dict) and label in holder:
                    return self._domain(holder[label], ("blocks",))
        return ""

    def _domain(self, value: Any, path: Path) -> str:
        text = self._document.text(value, path)
        return named(text, self._document.source, self._document.line(path)) if text else ""


def write(graph: nx.Graph, cluster: Cluster) -> str:
    """Switches with switches or nodes, and capacity blocks, which are the scale-up domains where these have several hosts."""
    switches = {
        switch.name: {"switches": list(switch.children)} if switch.children else {"nodes": [fold(switch.hosts)]}
        for switch in from_cluster(cluster).switches
    }
    several = len(cluster.level("domain")) < cluster.host_count
    blocks = {
        name: {"nodes": [fold(members)], **({"attributes": {"nvlink": name}} if several else {})}
        for name, members in cluster_blocks(cluster)
    }
    return f"# of {cluster.name}\n" + yaml.safe_dump({"switches": switches, "capacity_blocks": blocks}, sort_keys=False, width=2**20)
