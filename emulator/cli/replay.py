"""``gigawatt replay``: a recorded session again, as fast as it can, to the same result."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli import options
from emulator.cli.errors import CommandError, Exit
from emulator.cli.output import note
from emulator.cli.run import conclude, prepare
from emulator.cli.signals import Stop
from emulator.cli.values import actor_count

if TYPE_CHECKING:
    from emulator.store.journal import Journal


def replay(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="What `gigawatt up --state DIR` has kept.", show_default=False)],
    *,
    actors: options.ActorsOption = None,
    address: options.AddressOption = None,
    out: options.OutOption = None,
    events: options.EventsOption = False,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Repeat the session in DIR, which stays as it is, and check that its digest comes out again."""
    chosen = None if actors is None else actor_count(actors)
    if address is not None and chosen == "inline":
        raise CommandError("--address: with --actors inline nothing runs on Ray; allowed: one of the two")
    options.check_events(out, events=events)
    prepare(out)
    from emulator.cli import progress
    from emulator.cli.sessions import usage_errors
    from emulator.runtime.opening import open_replay
    from emulator.store.journal import Journal

    with usage_errors():
        journal = Journal.copy(directory)
    with closing(journal), Stop():
        for sentence in journal.notes:
            note(sentence)
        with usage_errors():
            session = open_replay(journal, actors=chosen, address=address, spool_dir=out, events=events)
        with closing(session), progress.shown(quiet=quiet) as observer, usage_errors():
            outcome = session.replay(journal, observer)
        digest = _digest(journal)
    failure = None
    if digest is None:
        note("the session was not ended, so there is no digest to compare with")
    elif digest != outcome.digest:
        failure = CommandError(f"{directory}: the digest is {outcome.digest} and was {digest}: {_why(journal)}", Exit.FAILED)
    conclude(outcome, out=out, json=json, failure=failure, repeated=True)


def _digest(journal: "Journal") -> str | None:
    """That of the session's end; None where it broke off."""
    from emulator.store.journal import END, STOP

    last = journal.last()
    ended = last is not None and (last.kind == END or (last.kind == STOP and last.stamp_ns == journal.reached_ns))
    return str(last.payload["digest"]) if last is not None and ended else None


def _why(journal: "Journal") -> str:
    from emulator.runtime.ray_actor import installed_code

    other = journal.recorded.other_program(*installed_code())
    return other if other is not None else "this is a fault of gigawatt"
