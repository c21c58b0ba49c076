"""``gigawatt topology export``, ``import`` and ``check``: clusters to and from files, and what is odd about them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emulator.cli import options
from emulator.cli.errors import CommandError, Exit, wrong
from emulator.cli.host_types import Hosts, hosts_of
from emulator.cli.output import Format, FormatOption, note, show_rows
from emulator.cli.values import path as path_of

if TYPE_CHECKING:
    import networkx as nx

_FileFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="F",
        help="node-link, graphml, slurm-tree, slurm-block, slurm-yaml or topograph. Default: recognised by its text.",
    ),
]
_Host = Annotated[
    list[str] | None,
    typer.Option(
        "--host",
        metavar="TYPE|HOSTLIST=TYPE",
        help="Type of the hosts if the file does not say it (default: hgx-h100), or of the hosts in a hostlist: "
        "'gq[001-013]=hgx-h100'. May be repeated. Nodes in no hostlist get the TYPE given without a hostlist; if there is none, they "
        "are left out. TYPE none leaves nodes out as well.",
        show_default=False,
    ),
]
_Gres = Annotated[
    Path | None,
    typer.Option(
        "--gres",
        parser=path_of,
        metavar="FILE",
        help="Slurm's gres.conf, which says which nodes have GPUs of which type; other nodes are left out.",
    ),
]
_Nodes = Annotated[
    Path | None,
    typer.Option(
        "--nodes", parser=path_of, metavar="FILE", help="Slurm's slurm.conf, which says the same in its lines NodeName=... Gres=gpu:h100:8."
    ),
]
_Islands = Annotated[
    str | None,
    typer.Option(
        "--islands",
        metavar="apart|joined",
        help="Switch trees without a common top. apart: no job runs on two of them (default for Slurm's files). joined: by an assumed "
        "tier above them (default for other files).",
    ),
]
_Switch = Annotated[str, typer.Option("--switch", metavar="TYPE", help="Type of the switches, if the file does not say it.")]
_RackHosts = Annotated[
    int | None,
    typer.Option("--hosts-per-rack", metavar="N", help="Hosts in a rack, if the file does not say it. Default: 8, or one NVLink domain."),
]


def export(
    scenario: options.ScenarioArgument,
    settings: options.SetOption = None,
    file_format: Annotated[
        str, typer.Option("--format", metavar="F", help="node-link, graphml, slurm-tree, slurm-block, ...")
    ] = "node-link",
    out: Annotated[
        Path | None, typer.Option("--output", "-o", parser=path_of, metavar="FILE", help="Write here instead of to stdout.")
    ] = None,
) -> None:
    """Write the cluster of SCENARIO to a file that Slurm, topograph or networkx reads; stderr says what the format cannot hold."""
    from emulator.cli.sessions import load_scenario, usage_errors
    from emulator.scenario.build import build_graph
    from topology.compile import compile_cluster
    from topology.formats import lost, write_graph

    _known_format(file_format)
    loaded = load_scenario(scenario, options.set_options(settings))
    with usage_errors():
        graph = build_graph(loaded)
        cluster = compile_cluster(graph)
    for sentence in lost(cluster, file_format):
        note(f"warning: {file_format} does not hold: {sentence}")
    _write(out, write_graph(graph, cluster, file_format))


def import_(
    file: Annotated[
        Path, typer.Argument(parser=path_of, metavar="FILE", help="A description of a cluster, in one of the formats.", show_default=False)
    ],
    file_format: _FileFormat = None,
    host: _Host = None,
    gres: _Gres = None,
    nodes: _Nodes = None,
    switch: _Switch = "sn5600",
    hosts_per_rack: _RackHosts = None,
    islands: _Islands = None,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", parser=path_of, metavar="SCENARIO.yaml", help="Write here instead of to stdout.")
    ] = None,
) -> None:
    """Write a scenario of the cluster in FILE, for run, up and topology show. FILE stays where it is: the scenario refers to it."""
    import yaml

    from emulator.cli.sessions import usage_errors
    from topology.compile import compile_cluster
    from topology.formats import detect, read_bytes

    hosts = hosts_of(host, gres, nodes)
    graph = _graph(file, file_format, hosts, switch, hosts_per_rack, islands)
    with usage_errors():
        cluster = compile_cluster(graph)
    if out is not None and out.exists() and out.samefile(file):
        raise wrong("-o", str(out), "is the file that is read", "another one")
    where = os.path.relpath(file.resolve(), out.resolve().parent) if out is not None else str(file)
    section: dict[str, Any] = {"builder": "file", "path": where, "format": file_format or detect(read_bytes(file)), "host": hosts.usual}
    section |= {"host_types": hosts.by_hostlist} if hosts.by_hostlist else {}
    section |= {"switch": switch}
    if hosts_per_rack is not None or len(cluster.host_types) == 1:
        section["hosts_per_rack"] = hosts_per_rack or int(graph.graph["hosts_per_rack"])
    section |= {"islands": islands} if islands else {}
    scenario = {"name": file.stem or "cluster", "description": f"The cluster of {file.name}", "seed": 1, "cluster": section}
    _write(out, yaml.safe_dump(scenario, sort_keys=False, allow_unicode=True, width=140))
    counts = cluster.counts
    note(f"{file}: {counts.hosts} hosts, {counts.gpus} GPUs, leaf units: {len(cluster.level('leaf'))}, pods: {len(cluster.level('pod'))}")
    for sentence in (*hosts.notes, *cluster.assumptions):
        note(sentence)


def check(
    subject: Annotated[
        str, typer.Argument(metavar="SCENARIO|FILE", help="A preset, a scenario, or a file of a format.", show_default=False)
    ],
    settings: options.SetOption = None,
    file_format: _FileFormat = None,
    host: _Host = None,
    gres: _Gres = None,
    nodes: _Nodes = None,
    switch: _Switch = "sn5600",
    hosts_per_rack: _RackHosts = None,
    islands: _Islands = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Say what is odd about a cluster. Exit code 0, also with notes; 1 if the cluster cannot be built or cannot run."""
    from emulator.cli.sessions import load_scenario, usage_errors
    from emulator.scenario.build import build_graph
    from topology.check import check as odd

    if _is_description(subject, file_format):
        graph = _graph(Path(subject), file_format, hosts_of(host, gres, nodes), switch, hosts_per_rack, islands)
    else:
        loaded = load_scenario(subject, options.set_options(settings))
        with usage_errors():
            graph = build_graph(loaded)
    findings = odd(graph)
    if findings or output is not Format.TABLE:
        rows = [{"kind": "error" if finding.error else "note", "about": finding.about, "finding": finding.text} for finding in findings]
        show_rows(rows, {"kind": "KIND", "about": "ABOUT", "finding": "FINDING"}, output)
    else:
        note(f"{subject}: nothing is odd")
    if errors := sum(finding.error for finding in findings):
        raise CommandError(f"{subject}: {errors} error{'s' if errors > 1 else ''}", Exit.FAILED)


def _known_format(name: str) -> None:
    from topology.formats import FORMATS

    if name not in FORMATS:
        raise wrong("--format", name, "is not a format", ", ".join(FORMATS))


def _is_description(subject: str, file_format: str | None) -> bool:
    """Whether ``subject`` is a file in one of the formats (rather than a scenario)."""
    from emulator.scenario import presets
    from topology.formats import detect, read_bytes

    path = Path(subject)
    if subject in [name for name, _ in presets()]:
        return False
    if not path.exists() and ("/" in subject or path.suffix):
        raise CommandError(f"{subject}: there is no such file", Exit.NOT_FOUND)
    if file_format is not None:
        return True
    try:
        return path.is_file() and detect(read_bytes(path)) is not None
    except (OSError, ValueError):
        return False


def _graph(file: Path, file_format: str | None, hosts: Hosts, switch: str, hosts_per_rack: int | None, islands: str | None) -> "nx.Graph":
    """The graph in ``file``. Raises CommandError."""
    from emulator.cli.sessions import usage_errors
    from topology import catalog
    from topology.formats import read_graph
    from topology.formats.defaults import ISLANDS

    if file_format is not None:
        _known_format(file_format)
    try:
        catalog.switch(switch)
    except catalog.UnknownHardware as error:
        raise CommandError(f"--switch: {error}") from error
    if islands is not None and islands not in ISLANDS:
        raise wrong("--islands", islands, "is not possible", ", ".join(ISLANDS))
    if hosts_per_rack is not None and hosts_per_rack < 1:
        raise wrong("--hosts-per-rack", hosts_per_rack, "is not a number of hosts", "1 or more")
    if not file.exists():
        raise CommandError(f"{file}: there is no such file", Exit.NOT_FOUND)
    with usage_errors():
        return read_graph(
            file,
            file_format,
            host=hosts.usual,
            host_types=hosts.by_hostlist,
            switch=switch,
            hosts_per_rack=hosts_per_rack,
            islands=islands,
        )


def _write(out: Path | None, text: str) -> None:
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise CommandError(f"-o: {out} cannot be written: {error.strerror}", Exit.FAILED) from error
    note(f"wrote {out}")
