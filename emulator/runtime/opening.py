"""Opening sessions: new ones, those that go on from a journal, and the repetition of a recorded one."""

import time
from collections.abc import Callable
from pathlib import Path

from emulator.report.progress import Progress
from emulator.runtime.assemble import assemble
from emulator.runtime.pace import LIVE_HORIZON_NS
from emulator.runtime.place import Place
from emulator.runtime.ray_actor import installed_code
from emulator.runtime.session import Session
from emulator.scenario import Scenario
from emulator.scenario.files import as_json, files_of
from emulator.store.journal import Journal
from emulator.store.recorded import recorded


def open_session(
    scenario: Scenario,
    *,
    to_end_of_work: bool = False,
    endless: bool = False,
    address: str | None = None,
    state_dir: Path | None = None,
    spool_dir: Path | None = None,
    events: bool = False,
    resuming: Callable[[Progress], None] | None = None,
) -> Session:
    """A session of ``scenario``, ready to run or start.

    It ends at ``clock.until``, unless ``to_end_of_work`` (when no job is left that could still run) or ``endless`` (when it is stopped).
    A live session keeps its journal in ``state_dir``; where that holds one, it has gone on to where that one's clock may have been read,
    telling ``resuming`` a few times per wall second, and what ``resuming`` raises ends it. What is put by until the end is
    in ``spool_dir``, or in ``state_dir`` where that alone is given, else where temporary files are. With ``events`` every
    event is kept for the outcome. Raises ValueError (ScenarioError, TraceError, JournalError) for unusable input.
    """
    opened_at = time.monotonic()
    place = Place(scenario, address)
    until_ns = None if to_end_of_work or endless else scenario.clock.until
    if state_dir is None:
        return _assembled(scenario, place, None, until_ns, endless=endless, opened_at=opened_at, spool_dir=spool_dir, events=events)
    journal = Journal.keep(
        state_dir, recorded(as_json(scenario), files_of(scenario), until_ns=until_ns, endless=endless, code=installed_code())
    )
    try:
        spool_dir = spool_dir or state_dir
        session = _assembled(scenario, place, journal, until_ns, endless=endless, opened_at=opened_at, spool_dir=spool_dir, events=events)
    except BaseException:
        journal.close()
        raise
    try:
        session.repeat(journal, resuming)
    except BaseException:
        session.close()
        raise
    return session


def open_replay(
    journal: Journal,
    *,
    actors: int | str | None = None,
    address: str | None = None,
    spool_dir: Path | None = None,
    events: bool = False,
) -> Session:
    """A session that ``Session.replay`` can be asked of: the scenario of ``journal``, on ``actors`` where they are given.

    Raises ValueError (ScenarioError, TraceError, JournalError) where a file that it read is gone or has changed.
    """
    opened_at = time.monotonic()
    journal.check_files()
    written = journal.recorded
    scenario = Scenario.model_validate(written.scenario)
    if actors is not None:
        scenario = scenario.model_copy(update={"runtime": scenario.runtime.model_copy(update={"actors": actors})})
    place = Place(scenario, address)
    return _assembled(
        scenario, place, None, written.until_ns, endless=written.endless, opened_at=opened_at, spool_dir=spool_dir, events=events
    )


def _assembled(
    scenario: Scenario,
    place: Place,
    journal: Journal | None,
    until_ns: int | None,
    *,
    endless: bool,
    opened_at: float,
    spool_dir: Path | None,
    events: bool,
) -> Session:
    horizon_ns = LIVE_HORIZON_NS if until_ns is None else until_ns
    emulation = assemble(scenario, place.shards, until_ns=until_ns, horizon_ns=horizon_ns)
    return Session(
        emulation, journal=journal, endless=endless, actors=place.actors, opened_at=opened_at, spool_dir=spool_dir, events=events
    )
