"""Which node of a file is which type of host, according to ``--host``, ``--gres`` and ``--nodes`` together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from emulator.cli.errors import CommandError, Exit, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_USUAL = "hgx-h100"


@dataclass(frozen=True)
class Hosts:
    """``usual`` is the type of hosts for which none is given; with ``by_hostlist``, nodes in none of its hostlists are left out."""

    usual: str
    by_hostlist: Mapping[str, str]
    notes: tuple[str, ...] = ()


def hosts_of(given: Sequence[str] | None, gres: Path | None, nodes: Path | None) -> Hosts:
    """Raises CommandError, with the option at fault."""
    from topology.formats.slurm_gpus import host_types, read_gres_conf, read_slurm_conf

    usual, by_hostlist = _parsed(given or ())
    if gres is None and nodes is None:
        if by_hostlist and usual:
            by_hostlist["*"] = usual
        return Hosts(usual or _first(by_hostlist), by_hostlist)
    said = _read("--nodes", nodes, read_slurm_conf) if nodes else None
    more = _read("--gres", gres, read_gres_conf) if gres else None
    from emulator.cli.sessions import usage_errors

    with usage_errors():
        by_hostlist = host_types(said, more, by_hostlist, usual or _USUAL)
    return Hosts(usual or _first(by_hostlist), by_hostlist, tuple(note for file in (said, more) if file for note in file.notes))


def _first(by_hostlist: Mapping[str, str]) -> str:
    return next((kind for kind in by_hostlist.values() if kind != "none"), _USUAL)


def _parsed(given: Sequence[str]) -> tuple[str, dict[str, str]]:
    """(the type that stands alone or "", types by hostlist)."""
    from topology import catalog

    usual, by_hostlist = "", dict[str, str]()
    for option in given:
        hostlist, equals, kind = option.rpartition("=")
        if kind != "none" or not equals:
            try:
                catalog.host(kind)
            except catalog.UnknownHardware as error:
                raise CommandError(f"--host: {error}") from error
        if equals and (not hostlist or "=" in hostlist):
            raise wrong("--host", option, "is not one hostlist=type", "'gq[001-013]=hgx-h100', and --host again for the next")
        if equals:
            if by_hostlist.setdefault(hostlist, kind) != kind:
                raise wrong("--host", option, f"contradicts {hostlist}={by_hostlist[hostlist]}", "one type for each node")
        elif usual and usual != kind:
            raise wrong("--host", option, f"contradicts {usual}", "only one type without a hostlist; the others as HOSTLIST=TYPE")
        else:
            usual = kind
    return usual, by_hostlist


def _read(option: str, file: Path, read: "Callable[[Path], _T]") -> _T:
    from emulator.cli.sessions import usage_errors

    if not file.is_file():
        raise CommandError(f"{option}: {file}: there is no such file", Exit.NOT_FOUND)
    with usage_errors():
        return read(file)
