"""``gigawatt run``: one emulation from its start to its end, as fast as it can."""

import contextlib
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from emulator.cli import options
from emulator.cli.errors import CommandError, Exit
from emulator.cli.signals import Stop

if TYPE_CHECKING:
    from pathlib import Path

    from emulator.report.outcome import Outcome


def run(
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
) -> None:
    """Emulate SCENARIO to its end and report."""
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
    )
    from emulator.cli import progress, sessions

    prepare(out)
    with Stop() as stop, closing(sessions.open_session(request)) as session:
        stop.gently(session.interrupt)
        with progress.shown(quiet=quiet) as observer, sessions.salvaging(session) as ending, sessions.what_is_built_stays():
            session.run_to_end(observer)
        outcome = session.outcome()
    conclude(outcome, out=out, json=json, failure=ending.failure)


def prepare(out: "Path | None") -> None:
    """See that the files can be written, before time is spent on what goes into them."""
    if out is None:
        return
    from emulator.report.files import OutputError, prepare

    try:
        prepare(out)
    except OutputError as error:
        raise CommandError(f"-o: {error}") from error


def conclude(outcome: "Outcome", *, out: "Path | None", json: bool, failure: Exception | None = None, repeated: bool = False) -> None:
    """Write the files, print the summary. Raises CommandError where the disk refuses or a signal has ended the run, and ``failure``.

    ``repeated``: what interrupted the session was long ago, and has not interrupted this command.
    """
    from emulator.cli.output import console, note
    from emulator.report.files import OutputError, write
    from emulator.report.summary import summary, to_json
    from emulator.report.terminal import summary_table

    unwritten: OutputError | None = None
    values = summary(outcome)
    if out is not None:
        try:
            write(out, outcome)
        except OutputError as error:
            unwritten = error
    with contextlib.suppress(OSError) if outcome.interrupted else contextlib.nullcontext():  # its terminal may have gone
        if json:
            print(to_json(values), end="")
        else:
            console().print(summary_table(values))
        sys.stdout.flush()
    if unwritten is not None:
        raise CommandError(str(unwritten), Exit.FAILED) from unwritten
    if out is not None:
        events = ", events.parquet" if outcome.events_table is not None else ""
        note(f"wrote {out}/summary.json, jobs.parquet, timeline.parquet, links.parquet{events}, report.html")
    if failure is not None:
        raise failure
    if outcome.interrupted and not repeated:
        raise CommandError("interrupted: the figures cover the part that ran", Exit.INTERRUPTED)
