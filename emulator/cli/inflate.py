"""``gigawatt inflate``: how full a cluster gets with each placement, before nothing fits any more."""

import json as json_of
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.errors import CommandError, wrong
from emulator.cli.output import Format, console, show_rows
from emulator.cli.values import path

if TYPE_CHECKING:
    from emulator.experiments.inflate import Experiment
    from emulator.scheduler.scoring import Scorer

NodesOption = Annotated[
    Path, typer.Option("--nodes", parser=path, metavar="FILE", help="The hosts, a CSV of openb, plain or compressed.", show_default=False)
]
PodsOption = Annotated[
    Path,
    typer.Option("--pods", parser=path, metavar="FILE", help="What arrives, a pod list of openb, plain or compressed.", show_default=False),
]
PoliciesOption = Annotated[
    str | None,
    typer.Option("--policies", metavar="P,...", help="Placements that score hosts (docs/policies.md), by commas. Default: all of them."),
]
SeedsOption = Annotated[int, typer.Option("--seeds", metavar="N", min=1, max=10_000, help="Repeat with the seeds 1 to N.")]
ArrivedOption = Annotated[
    float, typer.Option("--arrived", metavar="PERCENT", min=1, max=10_000, help="How many of the cluster's GPUs are asked for in all.")
]


def inflate(
    *,
    nodes: NodesOption,
    pods: PodsOption,
    policies: PoliciesOption = None,
    seeds: SeedsOption = 10,
    arrived: ArrivedOption = 130.0,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else, on stdout.")] = False,
) -> None:
    """Fill a cluster with pods that never end, by each placement, and tell how much of its GPUs they hold."""
    scorers = _scorers(policies)
    experiment = _experiment(nodes, pods)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from emulator.experiments.inflate import inflate

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console(sys.stderr), transient=True, disable=not sys.stderr.isatty()) as shown:
        bar = shown.add_task("", total=len(scorers) * seeds)
        results = inflate(experiment, scorers, seeds, arrived, lambda name, _: shown.update(bar, advance=1, description=name))
    if json:
        found = {name: {"mean_percent": one.mean_percent, "seed_percent": list(one.seed_percent)} for name, one in results.items()}
        print(json_of.dumps(found, indent=2))
        return
    rows = [
        {"policy": name, "mean": f"{one.mean_percent:.2f}", "least": f"{min(one.seed_percent):.2f}", "most": f"{max(one.seed_percent):.2f}"}
        for name, one in results.items()
    ]
    show_rows(rows, {"policy": "POLICY", "mean": "ALLOCATED %", "least": "LEAST", "most": "MOST"}, Format.TABLE)


def _scorers(policies: str | None) -> "dict[str, Scorer]":
    """The scorers of the placements named, in that order."""
    from emulator.scenario.policies import UnusablePolicy, find_placement
    from emulator.scheduler.placements import PLACEMENTS

    allowed = [name for name, placement in PLACEMENTS.items() if placement.scorer is not None]
    names = allowed if policies is None else [name.strip() for name in policies.split(",")]
    if not all(names):
        raise wrong("--policies", policies, "has an empty name", f"names by commas: {', '.join(allowed)}")
    found = {}
    for name in names:
        try:
            scorer = find_placement(name, {}).scorer
        except UnusablePolicy as error:
            raise CommandError(f"--policies: {error}") from error
        if scorer is None:
            raise wrong("--policies", name, "does not score single hosts", ", ".join(allowed))
        if name in found:
            raise wrong("--policies", name, "is there twice", "every name once")
        found[name] = scorer
    return found


def _experiment(nodes: Path, pods: Path) -> "Experiment":
    from emulator.experiments.inflate import prepare
    from emulator.workload.readers import TraceError, open_nodes, open_pods

    try:
        hosts = open_nodes(nodes)
    except TraceError as error:
        raise CommandError(f"--nodes: {error}") from error
    try:
        asked = open_pods(pods)
    except TraceError as error:
        raise CommandError(f"--pods: {error}") from error
    try:
        return prepare(hosts, asked)
    except ValueError as error:
        raise CommandError(f"{nodes}, {pods}: {error}") from error
