"""The options of ``run`` and ``up``, and the request they add up to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from emulator.cli.errors import CommandError, wrong
from emulator.cli.values import actor_count, duration_ns, pairs

#: What is emulated, how, and what of it is kept.
ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A preset's name (gigawatt presets) or a YAML file.", show_default=False)
]
TraceOption = Annotated[
    Path | None, typer.Option("--trace", metavar="FILE", help="Jobs from a trace, plain or .gz, instead of the scenario's own.")
]
FormatOption = Annotated[str | None, typer.Option("--format", metavar="F", help="The trace's format: philly, openb or swf.")]
TraceOptions = Annotated[
    list[str] | None, typer.Option("--trace-option", metavar="KEY=VALUE", help="A filter of the trace's reader; may be repeated.")
]
PolicyOption = Annotated[str | None, typer.Option("--policy", metavar="P", help="fifo, sjf or easy.")]
PlacementOption = Annotated[str | None, typer.Option("--placement", metavar="P", help="topology or consolidate.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="End at this emulated time, e.g. 24h.")]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of every draw.")]
ActorsOption = Annotated[
    str, typer.Option("--actors", metavar="N|auto|inline", help="Ray actors in all; auto: min(CPUs, pods); inline: none, in this process.")
]
AddressOption = Annotated[str | None, typer.Option("--address", metavar="RAY", help="A running Ray cluster instead of one of its own.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A scenario value, e.g. clock.cycle=1s; may be repeated.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--output-dir", "-o", metavar="DIR", help="Write summary.json, jobs.parquet, timeline.parquet and report.html here."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and nothing else, on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]

#: Draws take 64 bits of seed.
_SEEDS = 2**64


@dataclass(frozen=True)
class Request:
    """A checked ``run`` or ``up``. ``settings`` are scenario values, the options' own (policy, placement, seed) not among them."""

    scenario: str
    settings: dict[str, str] = field(default_factory=dict)
    policy: str | None = None
    placement: str | None = None
    seed: int | None = None
    until_ns: int | None = None
    trace: Path | None = None
    trace_format: str | None = None
    trace_options: dict[str, str] = field(default_factory=dict)
    actors: int | str = "auto"
    address: str | None = None
    out: Path | None = None
    state_dir: Path | None = None  # up alone
    live_speed: float | None = None  # up alone: emulated seconds per wall second


def request(
    scenario: str,
    *,
    settings: list[str] | None,
    policy: str | None,
    placement: str | None,
    seed: int | None,
    until: str | None,
    trace: Path | None,
    trace_format: str | None,
    trace_options: list[str] | None,
    actors: str,
    address: str | None,
    out: Path | None,
    state_dir: Path | None = None,
    live_speed: float | None = None,
) -> Request:
    """Check what can be checked without reading the scenario. Raises CommandError with the option's name."""
    if trace is not None and not trace.is_file():
        raise CommandError(f"--trace: {trace} " + ("is a directory" if trace.is_dir() else "does not exist") + "; allowed: a readable file")
    if trace is None:
        for name, given in (("--format", trace_format), ("--trace-option", trace_options)):
            if given:
                raise CommandError(f"{name}: there is no trace for it; allowed: together with --trace FILE")
    elif trace_format is None:
        raise CommandError(f"--trace: the format of {trace} is not given; allowed: --format philly, openb or swf")
    if seed is not None and not 0 <= seed < _SEEDS:
        raise wrong("--seed", seed, "is out of range", f"0 to {_SEEDS - 1}")
    count = actor_count(actors)
    if address is not None and count == "inline":
        raise CommandError("--address: with --actors inline nothing runs on Ray; allowed: one of the two")
    return Request(
        scenario=scenario,
        settings=pairs("--set", settings or []),
        policy=policy,
        placement=placement,
        seed=seed,
        until_ns=None if until is None else duration_ns("--until", until),
        trace=trace,
        trace_format=trace_format,
        trace_options=pairs("--trace-option", trace_options or []),
        actors=count,
        address=address,
        out=out,
        state_dir=state_dir,
        live_speed=live_speed,
    )
