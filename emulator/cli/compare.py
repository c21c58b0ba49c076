"""``gigawatt compare``: policies and placements side by side, over seeds or windows of a trace."""

import contextlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emulator.cli import options
from emulator.cli.errors import CommandError, Exit, wrong
from emulator.cli.run import prepare
from emulator.cli.signals import Stop
from emulator.cli.values import actor_count, duration_ns, pairs

if TYPE_CHECKING:
    from emulator.experiments.compare.cells import Cell, Group
    from emulator.experiments.compare.comparison import Comparison

#: Replicates unless asked for another number: few, but enough for an interval.
DEFAULT_SEEDS = 5
_MOST_SEEDS = 1000

ScenariosArgument = Annotated[
    list[str], typer.Argument(metavar="SCENARIO...", help="Presets (gigawatt presets) or YAML files.", show_default=False)
]
PoliciesOption = Annotated[
    str, typer.Option("--policies", metavar="P,P...", help="Policies, as --policy of `gigawatt run` takes them; the first is the baseline.")
]
PolicyOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--policy-option", metavar="[P.]KEY=VALUE", help="An option of all policies, or of one: saf.py:plan.patience=2; may be repeated."
    ),
]
PlacementsOption = Annotated[
    str | None, typer.Option("--placements", metavar="P,P...", help="Placements, each with every policy. Default: the scenario's own.")
]
PlacementOptions = Annotated[
    list[str] | None,
    typer.Option("--placement-option", metavar="[P.]KEY=VALUE", help="An option of all placements, or of one; may be repeated."),
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seeds", metavar="N|S,S...", help=f"Number of seeds, from the scenario's on, or their list. Default: {DEFAULT_SEEDS}."),
]
WindowsOption = Annotated[
    str | None,
    typer.Option(
        "--windows",
        metavar="TIME",
        help="Of a trace: cut it, from its option `from` to `until`, into windows of so long, instead of seeds.",
    ),
]
ActorsOption = Annotated[
    str | None,
    typer.Option(
        "--actors", metavar="N|auto|inline", help="Runs at a time, each a task of Ray. auto: one a CPU. inline: one by one, without Ray."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--output-dir", "-o", parser=options.path_of, metavar="DIR", help="Write compare.json, .html, .md, Parquet files and pictures here."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print runs and metrics as JSON, and nothing else, on stdout.")]


def compare(
    scenarios: ScenariosArgument,
    *,
    policies: PoliciesOption,
    policy_option: PolicyOptions = None,
    placements: PlacementsOption = None,
    placement_option: PlacementOptions = None,
    seeds: SeedsOption = None,
    windows: WindowsOption = None,
    until: options.UntilOption = None,
    trace: options.TraceOption = None,
    trace_format: options.FormatOption = None,
    trace_option: options.TraceOptions = None,
    settings: options.SetOption = None,
    actors: ActorsOption = None,
    address: options.AddressOption = None,
    out: OutOption = None,
    json: JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Emulate every SCENARIO with every policy, several times each, and compare."""
    at_once = actor_count(actors or "auto")
    request: dict[str, Any] = {
        "settings": settings,
        "until": until,
        "trace": trace,
        "trace_format": trace_format,
        "trace_options": trace_option,
        "address": address,
        "actors": "inline" if at_once == "inline" else None,
        "seed": None,
        "out": out,
    }
    named = _names("--policies", policies)
    policy_options = _own_options("--policy-option", named, policy_option or [])
    placed = _names("--placements", placements) or [""]
    placement_options = _own_options("--placement-option", placed, placement_option or [])
    groups = _groups(scenarios, policy_options, placement_options, request)
    cells = _cells(groups, seeds, windows)
    prepare(out)
    from emulator.cli import progress
    from emulator.cli.sessions import usage_errors
    from emulator.experiments.compare.comparison import Comparison
    from emulator.experiments.compare.run_all import Runs

    runs = Runs(cells, at_once=at_once, address=address)
    ended = {}
    with Stop() as stop, progress.counting("runs", len(cells), quiet=quiet) as counted, usage_errors():
        stop.gently(runs.stop)
        for place, run in runs:
            ended[place] = run
            counted(len(ended))
    _conclude(Comparison(cells, ended, interrupted=runs.stopped and len(ended) < len(cells)), out=out, json=json)


def _names(place: str, text: str | None) -> list[str]:
    """``a,b,c`` as a list of different names; empty for None."""
    if text is None:
        return []
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise wrong(place, text, "has an empty name", "names with commas between them")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise wrong(place, text, f"has {twice[0]} twice", "different names")
    return names


def _own_options(option: str, names: list[str], given: list[str]) -> dict[str, list[str]]:
    """The options of each policy or placement: those of all, and over them those with its name before them."""
    common, own = list[str](), {name: list[str]() for name in names}
    for key, value in pairs(option, given).items():
        name, _, plain = key.rpartition(".")
        if name and name not in own:
            allowed = ", ".join(["KEY", *(f"{known}.KEY" for known in names if known)])
            raise wrong(option, f"{key}={value}", f"is an option of {name}, which is not compared", allowed)
        (own[name] if name else common).append(f"{plain}={value}")
    return {name: common + own[name] for name in names}


def _groups(
    scenarios: list[str], policies: dict[str, list[str]], placements: dict[str, list[str]], request: dict[str, Any]
) -> "list[Group]":
    """Every scenario with every placement ("": its own) and policy, each with its options, checked."""
    from emulator.cli.sessions import load_scenario, usage_errors
    from emulator.experiments.compare.cells import Group, Variant
    from emulator.scenario.policies import find, find_placement

    if twice := [name for name in dict.fromkeys(scenarios) if scenarios.count(name) > 1]:
        raise CommandError(f"SCENARIO: {twice[0]} is given twice; allowed: different ones")
    found = []
    for scenario in scenarios:
        for placement, placement_options in placements.items():
            for policy, policy_options in policies.items():
                asked = options.request(
                    scenario,
                    policy=policy,
                    policy_options=policy_options,
                    placement=placement or None,
                    placement_options=placement_options,
                    **request,
                )
                loaded = load_scenario(scenario, asked.settings)
                scheduler = loaded.scheduler
                with usage_errors():
                    find(policy, scheduler.policy_options, loaded.seed)
                    find_placement(scheduler.placement, scheduler.placement_options, loaded.seed)
                found.append(Group(scenario, Variant(policy, scheduler.placement), loaded, asked.to_end_of_work))
    if len({group.scenario.name for group in found}) == len(scenarios):
        return [replace(group, label=group.scenario.name) for group in found]
    return found  # two files whose scenarios have the same name: what was typed tells them apart


def _cells(groups: "list[Group]", seeds: str | None, windows: str | None) -> "list[Cell]":
    """All runs. Raises CommandError where replicates would be no replicates."""
    from emulator.cli.output import note
    from emulator.experiments.compare.cells import cells, cut

    traced = [group.scenario.workload.kind == "trace" for group in groups]
    if windows is None:
        wanted = _seeds(seeds) if seeds is not None else 1 if any(traced) else DEFAULT_SEEDS
        if any(traced) and wanted != 1:
            note(
                "a trace is the same for every seed, so its intervals say what faults and random choices do, not what other work would; "
                "--windows 7d cuts it into replicates"
            )
        return cells(groups, wanted)
    if seeds is not None:
        raise CommandError("--seeds: with --windows every run has a window of its own; allowed: one of the two (--set seed=N for one seed)")
    if not all(traced):
        raise CommandError("--windows: the work is not from a trace; allowed: with --trace FILE, or --seeds")
    length_ns = duration_ns("--windows", windows)
    try:
        cuts = [cut(group.scenario.workload.options, length_ns) for group in groups]
    except ValueError as error:
        raise CommandError(f"--windows: {error}") from error
    if any(other != cuts[0] for other in cuts):
        raise CommandError("--windows: the scenarios' traces have other options from and until; allowed: the same in all")
    return cells(groups, 1, cuts[0])


def _seeds(text: str) -> int | list[int]:
    """``5`` is a number of seeds, ``5,`` and ``1,5,9`` are lists of them."""
    if re.fullmatch(r"\d{1,4}", text) and 1 <= int(text) <= _MOST_SEEDS:
        return int(text)
    words = [word.strip() for word in text.removesuffix(",").split(",")]
    numbers = [int(word) for word in words if re.fullmatch(r"\d{1,19}", word) and int(word) < 2**63]
    if "," not in text or len(numbers) != len(words) or len(set(numbers)) != len(numbers) or len(numbers) > _MOST_SEEDS:
        raise wrong(
            "--seeds", text, "names no seeds", f"a number of seeds from 1 to {_MOST_SEEDS}, or different seeds with commas between them"
        )
    return numbers


def _conclude(comparison: "Comparison", *, out: "Path | None", json: bool) -> None:
    """Write the files, print the tables. Raises CommandError where a run failed, the disk refuses or a signal has ended the command."""
    from emulator.cli.output import note
    from emulator.report.files import OutputError
    from emulator.report.summary import to_json

    for cell, failed in comparison.failed:
        note(f"failed: {cell}: {failed.error}")
    if out is not None:
        from emulator.experiments.compare.files import write

        try:
            note(f"wrote {out}/{', '.join(reversed(write(out, comparison)))}")
        except OutputError as error:
            raise CommandError(str(error), Exit.FAILED) from error
    with contextlib.suppress(OSError) if comparison.interrupted else contextlib.nullcontext():  # its terminal may have gone
        if json:
            print(to_json(comparison.as_dict()), end="")
        else:
            _show(comparison)
        sys.stdout.flush()
    ran, asked = len(comparison.runs), len(comparison.runs) + len(comparison.failed)
    if comparison.interrupted:
        raise CommandError(f"interrupted: the figures cover the {ran} runs that ended", Exit.INTERRUPTED)
    if comparison.failed:
        raise CommandError(f"{len(comparison.failed)} of {asked} runs failed", Exit.FAILED)


def _show(comparison: "Comparison") -> None:
    """The tables on stdout."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from emulator.cli.output import console
    from emulator.experiments.compare.tables import notes, parts, tables

    target, gap = console(), 3
    for scenario in comparison.scenarios:
        for table in (part for whole in tables(comparison, scenario) for part in parts(whole, target.width, gap)):
            shown = Table(title=Text(table.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
            for place, (heading, width) in enumerate(zip(table.headings, table.widths, strict=True)):
                shown.add_column(heading, justify="left" if place < table.names else "right", width=width)
            for row in table.rows:
                shown.add_row(*(Text(cell, style="bold" if cell.endswith(" *") else "") for cell in row))
            target.print(shown)
            target.print()
    for sentence in notes(comparison):
        target.print(Text(sentence, style="dim"))
