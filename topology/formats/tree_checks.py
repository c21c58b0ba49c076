"""Prepares a file's switches for the graph: each host in one place, one type of host under each leaf, no switch without hosts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from topology.formats.defaults import HostTypes
from topology.formats.errors import FormatError
from topology.formats.tree import Switch, Tree
from topology.hostlist import fold

#: Of a note that lists names.
_LONGEST_LIST = 200


def checked(tree: Tree, source: str, types: HostTypes) -> tuple[list[Switch], list[str]]:
    """The switches that have hosts below them, in the file's order, and notes of what is left out or assumed.

    Raises FormatError for what is no tree.
    """
    by_name: dict[str, Switch] = {}
    for switch in tree.switches:
        if switch.name in by_name:
            first = by_name[switch.name].line
            raise FormatError(f"switch {switch.name} appears twice (first in line {first})", source, switch.line)
        by_name[switch.name] = switch
        if switch.children and switch.hosts:
            raise FormatError(f"switch {switch.name} has both switches and nodes below; allowed: one of the two", source, switch.line)
    if not any(switch.hosts for switch in tree.switches):
        raise FormatError("there is no switch with nodes", source, 1)
    for switch in tree.switches:
        for child in switch.children:
            if child not in by_name:
                raise FormatError(f"switch {switch.name} has {child} below, which the file does not describe", source, switch.line)
    order = bottom_up(by_name, source)
    notes: list[str] = []
    switches = _one_place(_with_gpus(tree.switches, types, source, notes), types, notes)
    switches = _one_type(switches, types, notes)
    return _filled(switches, [*(switch.name for switch in switches if switch.hosts), *order], notes), notes


def _with_gpus(switches: Sequence[Switch], types: HostTypes, source: str, notes: list[str]) -> list[Switch]:
    """The switches without the nodes that have no GPUs."""
    named = dict.fromkeys(host for switch in switches for host in switch.hosts)
    bare = [host for host in named if types.get(host) is None]
    if bare:
        notes.append(f"Left out: {_nodes(len(bare))} without GPUs: {_listed(bare)}.")
        without = set(bare)
        switches = [replace(switch, hosts=tuple(host for host in switch.hosts if host not in without)) for switch in switches]
    if len(bare) == len(named):
        raise FormatError("no node has GPUs according to the given host types", source, 1)
    if unused := [host for host in types.by_host if host not in named]:
        notes.append(f"Left out: {_nodes(len(unused))} that have a type but no switch: {_listed(unused)}.")
    return list(switches)


def _one_place(switches: Sequence[Switch], types: HostTypes, notes: list[str]) -> list[Switch]:
    """Each host under one leaf, or under several that have the same hosts and share their NICs (no more of them than NICs)."""
    twice = [switch for switch in switches if len(set(switch.hosts)) < len(switch.hosts)]
    for switch in twice:
        again = [host for host, count in Counter(switch.hosts).items() if count > 1]
        notes.append(f"Left out: {_nodes(len(again))} that {switch.name} lists again: {_listed(again)}.")
    switches = [replace(switch, hosts=tuple(dict.fromkeys(switch.hosts))) for switch in switches]
    alike: dict[frozenset[str], list[Switch]] = {}
    for switch in switches:
        if switch.hosts:
            alike.setdefault(frozenset(switch.hosts), []).append(switch)
    home: dict[str, str] = {}
    away: dict[tuple[str, str], list[str]] = {}
    placed: dict[str, Switch] = {}
    for group in alike.values():
        first = group[0].name
        nics = min(kind.nics for kind in map(types.get, group[0].hosts) if kind)
        placed |= {leaf.name: replace(leaf, hosts=()) for leaf in group[nics:]}
        leaves = group[:nics]
        for host in leaves[0].hosts:
            if home.setdefault(host, first) != first:
                away.setdefault((home[host], first), []).append(host)
        for part, leaf in enumerate(leaves):
            hosts = tuple(host for host in leaves[0].hosts if home[host] == first)
            placed[leaf.name] = replace(leaf, hosts=hosts, share=(part, len(leaves)))
        if len(leaves) > 1:
            names = ", ".join(leaf.name for leaf in leaves[:5]) + (f" and {len(leaves) - 5} more" if len(leaves) > 5 else "")
            same = _nodes(len(leaves[0].hosts))
            notes.append(f"Assumed: {names} have the same {same} and an even part of their NICs each, the first of them the first NICs.")
    for (one, other), both in away.items():
        said = f"{_nodes(len(both))} under both {one} and {other} {'has' if len(both) == 1 else 'have'}"
        notes.append(f"Assumed: {said} all NICs at {one}, which comes first: {_listed(both)}.")
    return [placed.get(switch.name, switch) for switch in switches]


def _one_type(switches: Sequence[Switch], types: HostTypes, notes: list[str]) -> list[Switch]:
    """A leaf with hosts of several types as a leaf of each, beside each other (under itself where it has no switch above)."""
    below = {child for switch in switches for child in switch.children}
    taken = {switch.name for switch in switches}
    parts: dict[str, list[Switch]] = {}
    for switch in switches:
        groups: dict[str, list[str]] = {}
        for host in switch.hosts:
            if kind := types.get(host):
                groups.setdefault(kind.name, []).append(host)
        if len(groups) > 1:
            parts[switch.name] = [
                replace(switch, name=free(f"{switch.name}-{name}", taken, "-"), hosts=tuple(hosts)) for name, hosts in groups.items()
            ]
            notes.append(f"Assumed: {switch.name}, which has hosts of {len(groups)} types, is a leaf unit for each: {', '.join(groups)}.")
    if not parts:
        return list(switches)
    return list(_with_parts(switches, parts, below))


def _with_parts(switches: Sequence[Switch], parts: Mapping[str, list[Switch]], below: set[str]) -> Iterator[Switch]:
    for switch in switches:
        if switch.name in parts:
            yield from parts[switch.name]
            if switch.name not in below:
                yield replace(switch, hosts=(), children=tuple(part.name for part in parts[switch.name]), share=(0, 1))
        else:
            names = (part.name for child in switch.children for part in parts.get(child, [Switch(child)]))
            yield replace(switch, children=tuple(names))


def _filled(switches: Sequence[Switch], order: Sequence[str], notes: list[str]) -> list[Switch]:
    """The switches that have hosts below, with the children that have. ``order`` has all names, those below first."""
    by_name = {switch.name: switch for switch in switches}
    full: set[str] = set()
    for name in order:
        if name in by_name and (by_name[name].hosts or any(child in full for child in by_name[name].children)):
            full.add(name)
    empty = [switch.name for switch in switches if switch.name not in full]
    if empty:
        what = f"switch {empty[0]}, which has no" if len(empty) == 1 else f"{len(empty)} switches, which have no"
        notes.append(f"Left out: {what} hosts below {'it' if len(empty) == 1 else f'them: {_listed(empty)}'}.")
    return [
        replace(switch, children=tuple(dict.fromkeys(child for child in switch.children if child in full)))
        for switch in switches
        if switch.name in full
    ]


def bottom_up(by_name: Mapping[str, Switch], source: str) -> list[str]:
    """Names with those below first. Raises FormatError where a switch is below itself."""
    above: dict[str, list[str]] = {}
    waiting = {name: len(switch.children) for name, switch in by_name.items()}
    for name, switch in by_name.items():
        for child in switch.children:
            above.setdefault(child, []).append(name)
    order = [name for name, count in waiting.items() if not count]
    for name in order:  # grows
        for parent in above.get(name, ()):
            waiting[parent] -= 1
            if not waiting[parent]:
                order.append(parent)
    if len(order) < len(by_name):
        around = next(name for name, count in waiting.items() if count)
        raise FormatError(f"switch {around} is below itself, or above switches that are", source, by_name[around].line)
    return order


def free(name: str, taken: set[str], ending: str) -> str:
    """The name, with as many endings as it takes to be no other's; it is taken from now on."""
    while name in taken:
        name += ending
    taken.add(name)
    return name


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count:,} nodes"


def _listed(names: Sequence[str]) -> str:
    text = fold(names[:2000])
    return text if len(text) <= _LONGEST_LIST and len(names) <= 2000 else text[: _LONGEST_LIST - 3] + "..."
