"""Which nodes have which GPUs, from Slurm's slurm.conf (``NodeName=... Gres=gpu:h100:8``) and gres.conf (``NodeName=... Name=gpu Type=h100
File=/dev/nvidia[0-7]``); and the types of hosts that these are."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from topology import catalog
from topology.files import MOST_DESCRIPTION_BYTES, UnreadableFile, read_whole
from topology.formats.encoding import decode
from topology.formats.errors import FormatError
from topology.formats.slurm_lines import logical_lines, pairs
from topology.formats.tree import names
from topology.hostlist import HostlistError, expand, fold

#: Files that include each other, one inside the other.
_DEEPEST_INCLUDE = 8
_MOST_GPUS = 64

#: GPUs of a node by what Slurm calls their type ("": it does not say); 0: some, found by Slurm itself (AutoDetect).
Gpus = Counter[str]


@dataclass
class NodeGpus:
    """``by_node`` has every node that a file names, in its order; ``any_node`` is said of nodes without a name."""

    source: str
    by_node: dict[str, Gpus] = field(default_factory=dict)
    any_node: Gpus = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


def read_slurm_conf(path: Path) -> NodeGpus:
    """The nodes of slurm.conf, those without GPUs too. Raises FormatError; OSError where there is no such file."""
    found = NodeGpus(str(path))
    hosts = names(str(path))
    default = ""
    for source, line, values in _lines(path, "nodename", found.notes):
        gres = values.get("gres", default)
        if values["nodename"].upper() == "DEFAULT":
            default = gres
            continue
        gpus = _gres(gres, source, line)
        for node in hosts(values["nodename"], line):
            found.by_node[node] = gpus
    if not found.by_node:
        raise FormatError("there is no line with NodeName", str(path), 1)
    return found


def read_gres_conf(path: Path) -> NodeGpus:
    """The GPUs of gres.conf; several lines of a node add up. Raises FormatError; OSError if there is no such file."""
    found = NodeGpus(str(path))
    hosts = names(str(path))
    detects = False
    for source, line, values in _lines(path, "", found.notes):
        detects = detects or values.get("autodetect", "off").lower() not in ("off", "")
        if values.get("name", "").lower() != "gpu":
            continue
        count = _count(values, source, line, detects=detects)
        kind = values.get("type", "").lower()
        if "nodename" not in values:
            found.any_node[kind] += count
        else:
            for node in hosts(values["nodename"], line):
                found.by_node.setdefault(node, Counter())[kind] += count
    if not found.by_node and not found.any_node and not detects:
        raise FormatError("there is no line with Name=gpu", str(path), 1)
    return found


def host_types(nodes: NodeGpus | None, gres: NodeGpus | None, given: Mapping[str, str], host: str) -> dict[str, str]:
    """Types of hosts by hostlist, for `topology.formats.read_graph`.

    slurm.conf (``nodes``) says which nodes have GPUs and how many, gres.conf what it leaves open. ``given`` types by hostlist go before
    both; ``host`` is the type of GPUs of which no file says one. Raises FormatError for nodes whose type is not known.
    """
    said = {node for hostlist in given for node in _expanded(hostlist)}
    alike: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for node, gpus in _together(nodes, gres):
        if node not in said and gpus:
            alike.setdefault(tuple(sorted(gpus.items())), []).append(node)
    source = (nodes or gres or NodeGpus("")).source
    by_type: dict[str, list[str]] = {}
    for kinds, members in alike.items():
        by_type.setdefault(_host_type(dict(kinds), host, members, source), []).extend(members)
    return {**given, **{(fold(members) if members != ["*"] else "*"): kind for kind, members in by_type.items()}}


def _together(nodes: NodeGpus | None, gres: NodeGpus | None) -> Iterator[tuple[str, Gpus]]:
    """(node, its GPUs), of all nodes that a file names."""
    if nodes is None:
        assert gres is not None, "one of the files is needed"
        yield from gres.by_node.items()
        if gres.any_node:
            yield "*", gres.any_node
        if not gres.by_node and not gres.any_node:
            raise FormatError("AutoDetect alone does not say which nodes have GPUs: give slurm.conf as well (--nodes)", gres.source, 1)
        return
    for node, gpus in nodes.by_node.items():
        more = gres.by_node.get(node, gres.any_node) if gres else Counter()
        total = sum(gpus.values())
        if set(gpus) == {""} and len(more) == 1 and sum(more.values()) in (0, total):
            yield node, Counter({next(iter(more)): total})
        else:
            yield node, gpus


def _host_type(gpus: Mapping[str, int], host: str, nodes: list[str], source: str) -> str:
    """The type in the catalog that has these GPUs; ``host`` where it fits. Raises FormatError."""
    said = " and ".join(f"{count or 'some'} GPUs{f' of type {kind}' if kind else ''}" for kind, count in gpus.items())
    listed = "all nodes" if nodes == ["*"] else fold(nodes[:2000])
    listed = listed if len(listed) <= 80 else listed[:77] + "..."
    known = [kind for kind in catalog.HOSTS.values() if len(gpus) == 1 and _is_model(next(iter(gpus)), kind.gpu.name)]
    usual = catalog.host(host)
    if gpus.keys() == {""}:
        known = [usual]
    fitting = [kind for kind in known if next(iter(gpus.values())) in (0, kind.gpus)]
    if usual in fitting:
        return host
    if fitting:
        return fitting[0].name
    near = f"; {', '.join(f'{kind.name} has {kind.gpus}' for kind in known)}" if known else f"; known: {', '.join(catalog.HOSTS)}"
    raise FormatError(
        f"no known host type matches {listed}, {said}{near}. Give it with --host '{listed}=TYPE', or leave these nodes out with TYPE none",
        source,
    )


def _is_model(slurm_type: str, gpu: str) -> bool:
    """Whether Slurm's type (``h100``, ``nvidia_h100_80gb_hbm3``, ``a100-sxm4-80gb``) is the GPU of that name in the catalog."""
    model = gpu.partition("-")[0].lower()
    return any(word == model or re.fullmatch(rf"{model}(sxm\d*|hbm\d*|nvl)", word) for word in re.split(r"[^a-z0-9]+", slurm_type.lower()))


def _gres(text: str, source: str, line: int) -> Gpus:
    """The GPUs of ``Gres=gpu:h100:8(S:0-1),nvme:1``."""
    found: Gpus = Counter()
    for item in re.sub(r"\([^)]*\)", "", text).split(","):
        kind, *rest = item.strip().split(":")
        if kind.lower() != "gpu":
            continue
        rest = [part for part in rest if part.lower() != "no_consume"]
        number = rest.pop() if rest and rest[-1][:1].isdigit() else "1"
        if not number.isdecimal() or len(rest) > 1 or int(number) > _MOST_GPUS:
            raise FormatError(f"Gres {item[:40]!r} is not of the form gpu:type:number, of at most {_MOST_GPUS}", source, line)
        if int(number):
            found[rest[0].lower() if rest else ""] += int(number)
    return found


def _count(values: Mapping[str, str], source: str, line: int, *, detects: bool) -> int:
    """GPUs of one line of gres.conf; 0 where Slurm finds them itself."""
    if "count" in values:
        if not re.fullmatch(r"\d{1,4}", values["count"]) or int(values["count"]) > _MOST_GPUS:
            raise FormatError(f"Count {values['count'][:40]!r} is not a number of at most {_MOST_GPUS}", source, line)
        return int(values["count"])
    if "file" in values:
        try:
            return len(expand(values["file"], _MOST_GPUS))
        except HostlistError as error:
            raise FormatError(f"File: {error}", source, line) from None
    return 0 if detects else 1


def _lines(path: Path, first: str, notes: list[str], depth: int = 0) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(file, line, pairs) of a file and of those that it includes; with ``first`` of the lines that begin with this key alone."""
    try:
        text = decode(read_whole(path, MOST_DESCRIPTION_BYTES), str(path))
    except UnreadableFile as error:
        raise FormatError(f"cannot be read: {error.strerror}", str(path)) from None
    for number, line in logical_lines(text):
        if include := re.match(r"\s*include\s+(\S+)", line, re.IGNORECASE):
            # Copied from /etc/slurm, the files lie beside each other.
            beside = [path.parent / include[1], path.parent / Path(include[1]).name]
            file = next((one for one in beside if one.is_file()), None)
            if file is None:
                notes.append(f"Left out: {include[1]}, which {path} includes but which does not exist.")
            elif depth >= _DEEPEST_INCLUDE:
                raise FormatError("files include each other too deeply", str(path), number)
            else:
                yield from _lines(file, first, notes, depth + 1)
        elif not first or re.match(rf"\s*{first}\s*=", line, re.IGNORECASE):
            values = pairs(line, str(path), number).values
            if values:
                yield str(path), number, values


def _expanded(hostlist: str) -> list[str]:
    try:
        return expand(hostlist) if hostlist != "*" else []
    except HostlistError as error:
        raise FormatError(f"not a hostlist: {error}", f"host type {hostlist}") from None
