"""The options of ``run`` and ``up``, and the request they add up to."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from emulator.cli.errors import CommandError, wrong
from emulator.cli.values import actor_count, duration_ns, pairs
from emulator.cli.values import path as path_of
from emulator.cli.values import speed as speed_of

#: What is emulated, how, and what of it is kept.
ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A preset's name (gigawatt presets) or a YAML file.", show_default=False)
]
TraceOption = Annotated[
    Path | None,
    typer.Option("--trace", parser=path_of, metavar="FILE", help="Jobs from a trace, plain or compressed, instead of the scenario's own."),
]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="F", help="The trace's format: csv, philly, helios, sacct, openb or swf.")
]
TraceOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--trace-option", metavar="KEY=VALUE", help="An option of the trace's reader: a filter, or which column is which; may be repeated."
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="P",
        help="By name (docs/policy-reference.md), a function in a file: FILE.py:FUNCTION, or a program: grpc://HOST:PORT.",
    ),
]
PolicyOptions = Annotated[
    list[str] | None, typer.Option("--policy-option", metavar="KEY=VALUE", help="An option of the policy; may be repeated.")
]
PlacementOption = Annotated[
    str | None,
    typer.Option(
        "--placement", metavar="P", help="By name (docs/policies.md), or a function in a file: FILE.py:FUNCTION. Default: topology."
    ),
]
PlacementOptions = Annotated[
    list[str] | None, typer.Option("--placement-option", metavar="KEY=VALUE", help="An option of the placement; may be repeated.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="End at this emulated time, e.g. 24h.")]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of all random draws.")]
ActorsOption = Annotated[
    str | None,
    typer.Option(
        "--actors",
        metavar="N|auto|inline",
        help="Number of Ray actors. auto: min(2, CPUs, pods), or one per node of a given Ray cluster. inline: none, all in this process.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="RAY",
        help="Ray cluster to join: host:port of its head; auto: the one on this machine; local: start one. Default: RAY_ADDRESS, or local.",
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A scenario value, e.g. clock.cycle=1s; may be repeated.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--output-dir",
        "-o",
        parser=path_of,
        metavar="DIR",
        help="Write summary.json, report.html and jobs, timeline and links.parquet here.",
    ),
]
EventsOption = Annotated[bool, typer.Option("--events", help="With -o: write events.parquet too, a row for everything that happened.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and nothing else, on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]


@dataclass(frozen=True)
class Setting:
    """One scenario value from the command line: what was typed, and the ``a.b=value`` (in YAML) that it means."""

    typed: str
    override: str


@dataclass(frozen=True)
class Request:
    """A checked ``run`` or ``up``: a scenario with settings on top, and what is not the scenario's business."""

    scenario: str
    settings: tuple[Setting, ...] = ()
    to_end_of_work: bool = False  # run, a trace and no end given: until its last job has ended
    endless: bool = False  # up and no end given: until it is stopped
    address: str | None = None
    out: Path | None = None
    state_dir: Path | None = None  # up alone
    events: bool = False


def request(
    scenario: str,
    *,
    settings: list[str] | None,
    policy: str | None,
    policy_options: list[str] | None,
    placement: str | None,
    placement_options: list[str] | None,
    seed: int | None,
    until: str | None,
    trace: Path | None,
    trace_format: str | None,
    trace_options: list[str] | None,
    actors: str | None,
    address: str | None,
    out: Path | None,
    events: bool = False,
    live: bool = False,
    state_dir: Path | None = None,
    speed: str | None = None,
) -> Request:
    """Check what can be checked without reading the scenario. Raises CommandError with the option's name.

    Options go before ``--set`` of the same value.
    """
    check_events(out, events=events)
    given = set_options(settings)
    open_end = until is None and not any(setting.override.startswith("clock.until=") for setting in given)
    if until is not None:
        duration_ns("--until", until)
    if speed is not None:
        speed_of("--speed", speed)
    if address is not None and actors == "inline":
        raise CommandError("--address: with --actors inline nothing runs on Ray; allowed: one of the two")
    if address is not None:
        _check_address(address)
    for option, key, value in (
        ("--policy", "scheduler.policy", policy),
        ("--placement", "scheduler.placement", placement),
        ("--seed", "seed", seed),
        ("--until", "clock.until", until),
        ("--actors", "runtime.actors", None if actors is None else actor_count(actors)),
        ("--speed", "clock.speed", speed),
    ):
        if value is not None:
            given.append(Setting(f"{option} {value}", f"{key}={value}"))
    for option, key, values in (
        ("--policy-option", "scheduler.policy_options", policy_options),
        ("--placement-option", "scheduler.placement_options", placement_options),
    ):
        given += [Setting(f"{option} {name}={value}", f"{key}.{name}={value}") for name, value in pairs(option, values or []).items()]
    given += _trace_settings(trace, trace_format, pairs("--trace-option", trace_options or []))
    to_end_of_work = open_end and not live and trace is not None
    return Request(scenario, tuple(given), to_end_of_work, open_end and live, address, out, state_dir, events)


def check_events(out: Path | None, *, events: bool) -> None:
    """Raises CommandError where events are asked for and there is no place for them."""
    if events and out is None:
        raise CommandError("--events: there is no directory for them; allowed: together with -o DIR")


def _check_address(address: str) -> None:
    from emulator.runtime.ray_address import AUTO, LOCAL, UnusableRay, split_address

    try:
        if address not in (AUTO, LOCAL):
            split_address(address)
    except UnusableRay as error:
        raise CommandError(f"--address: {error}") from error


def set_options(settings: list[str] | None) -> list[Setting]:
    """``--set`` as typed, checked to be pairs."""
    return [Setting(f"--set {key}={value}", f"{key}={value}") for key, value in pairs("--set", settings or []).items()]


def _trace_settings(trace: Path | None, trace_format: str | None, trace_options: dict[str, str]) -> list[Setting]:
    if trace is None:
        for name, given in (("--format", trace_format), ("--trace-option", trace_options)):
            if given:
                raise CommandError(f"{name}: it needs a trace; allowed: together with --trace FILE")
        return []
    if not trace.is_file():
        problem = "is a directory" if trace.is_dir() else "is a pipe or a device" if trace.exists() else "does not exist"
        raise CommandError(f"--trace: {trace} {problem}; allowed: a readable file")
    from emulator.workload.readers import FORMATS

    formats = ", ".join(FORMATS)
    if trace_format is None:
        raise CommandError(f"--trace: the format of {trace} is not given; allowed: --format {formats}")
    if trace_format not in FORMATS:
        raise wrong("--format", trace_format, "is not a trace format", formats)
    return [
        Setting(f"--trace {trace}", "workload.kind=trace"),
        # JSON is YAML: whatever the path holds, it stays a string.
        Setting(f"--trace {trace}", f"workload.path={json.dumps(str(trace.resolve()))}"),
        Setting(f"--format {trace_format}", f"workload.format={trace_format}"),
        *(Setting(f"--trace-option {key}={value}", f"workload.options.{key}={value}") for key, value in trace_options.items()),
    ]
