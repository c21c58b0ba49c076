"""Switch trees: the content of Slurm's and topograph's files, and the part of a cluster that such a file can hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from topology.cluster import Cluster
from topology.describe import unit_names
from topology.formats.errors import FormatError
from topology.hostlist import MOST_NAMES, HostlistError, expand

#: slurm.conf(5), topology.conf(5): a switch's name is not longer.
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Switch:
    """One switch of a file: either switches or hosts below. ``speed`` is its LinkSpeed, in units of its own.

    ``share`` is (k, n) of a leaf that has part k of n of its hosts' NICs.
    """

    name: str
    children: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    line: int = 0
    speed: float | None = None
    share: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Tree:
    """``domains`` is the scale-up domain of hosts, where a file says it. ``joined``: trees without a common root are joined above, unless
    somebody says otherwise."""

    switches: tuple[Switch, ...]
    domains: Mapping[str, str] = field(default_factory=dict)
    joined: bool = False
    notes: tuple[str, ...] = ()


def names(source: str) -> Callable[[str, int], tuple[str, ...]]:
    """What reads the hostlists of one file: (text, line) to names, not more of them in all than `MOST_NAMES`. Raises FormatError."""
    left = MOST_NAMES

    def read(text: str, line: int) -> tuple[str, ...]:
        nonlocal left
        try:
            found = tuple(expand(text, left))
        except HostlistError as error:
            raise FormatError(str(error), source, line) from None
        if "#" in text:
            raise FormatError("'#' cannot be in a name", source, line)
        left -= len(found)
        return found

    return read


def named(name: str, source: str, line: int) -> str:
    """A valid switch name. Raises FormatError for an invalid one."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or set(name) & set(" ,[]"):
        shown = repr(name if len(name) <= 70 else name[:67] + "...")
        raise FormatError(
            f"{shown} is not a switch's name: 1 to {_LONGEST_NAME} characters without blanks, commas and brackets", source, line
        )
    return name


def from_cluster(cluster: Cluster) -> Tree:
    """The levels of a cluster as a tree: leaf units, pods, buildings (where there is one site), sites, up to the first that has one unit.

    Domains are named where they have several hosts.
    """
    levels = [level for name in ("leaf", "pod", "building", "site") for level in cluster.levels if level.name == name]
    if len(cluster.site_names) > 1:
        levels = [level for level in levels if level.name != "building"]
    tops = len(cluster.level("site")) if cluster.islands else 1
    last = next((number for number, level in enumerate(levels) if len(level) == tops), len(levels) - 1)
    levels = levels[: last + 1]
    named_units = {level.name: _written(unit_names(cluster, level.name), level.name) for level in levels}
    switches = []
    names = [cluster.host_name(host) for host in range(cluster.host_count)]
    for number, level in enumerate(levels):
        inner = np.asarray(level.first_host if not number else np.searchsorted(levels[number - 1].first_host, level.first_host)).tolist()
        below = names if not number else named_units[levels[number - 1].name]
        for unit, name in enumerate(named_units[level.name]):
            members = tuple(below[inner[unit] : inner[unit + 1]])
            switches.append(Switch(name, hosts=members) if not number else Switch(name, children=members))
    if len(levels[-1]) > 1 and not cluster.islands:
        switches.append(Switch("wan", children=tuple(named_units[levels[-1].name])))
    return Tree(tuple(switches), dict(_domains(cluster, names)))


def _domains(cluster: Cluster, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    starts = cluster.level("domain").first_host.tolist()
    if len(starts) - 1 < cluster.host_count:
        for domain, (low, high) in enumerate(pairwise(starts)):
            yield from ((name, f"domain-{domain:05d}") for name in names[low:high])


def _written(names: list[str], level: str) -> list[str]:
    """Names as Slurm takes them: level and number where one is too long or has other signs, and for all where two are alike."""
    odd = set(" ,[]#=")
    names = [name if len(name) <= _LONGEST_NAME and not set(name) & odd else f"{level}-{unit:05d}" for unit, name in enumerate(names)]
    return names if len(set(names)) == len(names) else [f"{level}-{unit:05d}" for unit in range(len(names))]
