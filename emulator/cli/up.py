"""``gigawatt up``: the emulation live, with the gRPC API and metrics, until it ends or is ended."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from emulator.cli import options
from emulator.cli.errors import CommandError, Exit
from emulator.cli.output import note
from emulator.cli.ports import API_PORT, LOOPBACK, METRICS_PORT, check_free
from emulator.cli.run import conclude, prepare
from emulator.cli.signals import Stop
from emulator.cli.values import duration_ns
from emulator.cli.values import path as path_of

#: Wall seconds between looks at how far it is, and at whether Ctrl-C was pressed.
_GLANCE_SECONDS = 0.5
#: Of emulated time.
CLIENTS_CYCLE = "10ms"


def up(
    scenario: options.ScenarioArgument,
    *,
    trace: options.TraceOption = None,
    trace_format: options.FormatOption = None,
    trace_option: options.TraceOptions = None,
    policy: options.PolicyOption = None,
    policy_option: options.PolicyOptions = None,
    placement: options.PlacementOption = None,
    placement_option: options.PlacementOptions = None,
    until: options.UntilOption = None,
    seed: options.SeedOption = None,
    actors: options.ActorsOption = None,
    address: options.AddressOption = None,
    settings: options.SetOption = None,
    out: options.OutOption = None,
    events: options.EventsOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
    speed: Annotated[str | None, typer.Option("--speed", metavar="X|max", help="Emulated seconds per wall second.")] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", parser=path_of, metavar="DIR", help="Directory for the journal; if it holds one already, go on from it."),
    ] = None,
    wall_time: Annotated[str | None, typer.Option("--for", metavar="TIME", help="End after this much wall time, e.g. 60s.")] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets other machines in, without authentication.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option("--port", envvar="GIGAWATT_UP_PORT", help="Port of the gRPC API; 0: any free one.")] = API_PORT,
    metrics_port: Annotated[
        int, typer.Option("--metrics-port", envvar="GIGAWATT_UP_METRICS_PORT", help="Port of the head's /metrics and /sd; 0: any free one.")
    ] = METRICS_PORT,
    openai: Annotated[
        int | None,
        typer.Option(
            "--openai",
            metavar="PORT",
            help="Serve services to OpenAI's clients on this port of loopback (0: any free one); at speed 1, in cycles of 10 ms.",
        ),
    ] = None,
) -> None:
    """Run SCENARIO live: jobs come in over gRPC too, Prometheus can watch. Ctrl-C ends it with a summary.

    With --state DIR it survives a crash: the same command goes on where it was.
    """
    if openai is not None:
        settings, speed = _for_clients(settings), speed or "1"
    request = options.request(
        scenario,
        settings=settings,
        policy=policy,
        policy_options=policy_option,
        placement=placement,
        placement_options=placement_option,
        seed=seed,
        until=until,
        trace=trace,
        trace_format=trace_format,
        trace_options=trace_option,
        actors=actors,
        address=address,
        out=out,
        events=events,
        live=True,
        state_dir=state,
        speed=speed,
    )
    limit_seconds = math.inf if wall_time is None else duration_ns("--for", wall_time) / 1e9
    check_free("--port", host, port)
    check_free("--metrics-port", host, metrics_port)
    if openai is not None:
        check_free("--openai", LOOPBACK, openai)
    prepare(out)
    from emulator.cli import live, progress, sessions

    if not quiet:
        note(f"starting {scenario} ...")
    with Stop() as stop, ExitStack() as stack:
        with progress.resuming(quiet=quiet) as resuming:
            session = sessions.open_session(request, resuming)
        stack.callback(session.close)
        stop.gently(session.interrupt)
        for sentence in session.notes:
            note(sentence)
        served = stack.enter_context(live.served(session, host=host, port=port, metrics_port=metrics_port, openai_port=openai))
        live.announce(served, to_stderr=json)
        with progress.shown(quiet=quiet) as observer, sessions.salvaging(session) as ending:
            live.follow(session, stop, limit_seconds=limit_seconds, glance_seconds=_GLANCE_SECONDS, observer=observer)
        outcome = session.outcome()
    failure = ending.failure
    if failure is None and session.unkept is not None:
        failure = CommandError(f"the end is not in the journal, the inputs are: {session.unkept}", Exit.FAILED)
    conclude(outcome, out=out, json=json, failure=failure)


def _for_clients(settings: list[str] | None) -> list[str]:
    """Cycles as short as clients can tell, unless somebody asks for others: news of requests comes at their ends."""
    given = settings or []
    return given if any(one.startswith("clock.cycle=") for one in given) else [*given, f"clock.cycle={CLIENTS_CYCLE}"]
