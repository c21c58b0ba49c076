"""Live sessions over a small cluster, with the real engine thread."""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.control import Watch
from emulator.engine.job_control import JobEvent
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario
from emulator.scenario.load import load

#: Eight hosts in two racks; no faults, no work of its own; the clock is paused by whoever wants to be sure of the instant.
QUIET = """
name: quiet
cluster: {host: hgx-h100, hosts: 8, hosts_per_rack: 4, switch: qm9700}
clock: {cycle: 10s, until: 1h, speed: max}
workload: {kind: none}
faults: {enabled: false}
jobs: {restart_overhead: 60s}
runtime: {actors: inline}
"""

#: The same with a day's worth of small jobs, and hosts that fail.
BUSY = """
name: busy
cluster: {host: hgx-h100, hosts: 32, hosts_per_rack: 4, switch: qm9700, oversubscription: {leaf: 3}}
clock: {cycle: 10s, until: 6h, speed: max}
workload: {kind: generated, generated: {load: 1.1}}
faults: {host_rate_per_1000_node_days: 3000}
runtime: {actors: inline}
"""


def as_it_is(event: JobEvent) -> JobEvent:
    """The form of a watch that wants events as they are."""
    return event


def events_of(made: Session, *, job_ids: Iterable[int] = (), after_sequence: int = -1, most: int = 64) -> Iterator[JobEvent]:
    """What a watch that is open now tells until it has ended, waiting where there is nothing yet."""
    return _told(made.watch(as_it_is, job_ids=frozenset(job_ids), after_sequence=after_sequence), most)


def _told(watch: Watch[JobEvent], most: int) -> Iterator[JobEvent]:
    try:
        while True:
            told = watch.take(most)
            yield from told
            if watch.ended:
                return
            woken = threading.Event()
            if not told and watch.wait(woken.set):
                assert woken.wait(60)
    finally:
        watch.close()


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[..., Scenario]:
    """Scenarios by text, with settings on top."""

    def make(text: str = QUIET, *settings: str) -> Scenario:
        path = tmp_path / "scenario.yaml"
        path.write_text(text)
        return load(str(path), list(settings))

    return make


@pytest.fixture
def session(scenario: Callable[..., Scenario]) -> Iterator[Callable[..., Session]]:
    """Opens sessions, and closes them all; no thread of the engine may be left."""
    opened: list[Session] = []

    def make(text: str = QUIET, *settings: str, **options: Any) -> Session:
        opened.append(open_session(scenario(text, *settings), **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "engine"]


@pytest.fixture
def paused(session: Callable[..., Session]) -> Callable[..., Session]:
    """A started session whose clock is paused before the first cycle."""

    def make(*settings: str, **options: Any) -> Session:
        made = session(QUIET, *settings, **options)
        made.pause()
        made.start()
        return made

    return make
