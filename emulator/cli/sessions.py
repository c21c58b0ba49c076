"""Where the command line meets the emulation: opens a session from a request, and says what a session is to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from emulator.cli.errors import CommandError
from emulator.cli.options import Request
from emulator.engine.control import Control, Snapshot
from emulator.report.outcome import Outcome
from emulator.report.progress import Progress
from topology.catalog import HostType

Observer = Callable[[Progress], None]


class Session(Control, Protocol):
    """One emulation, ready to run. ``run_to_end`` is batch; ``start``, ``wait`` and ``stop`` are live."""

    @property
    def host_type(self) -> HostType:
        """The cluster's: training jobs from the API are planned for its GPUs and NICs."""
        ...

    def attach_metrics(self, address: str, publish: Callable[[Snapshot], None]) -> None:
        """The head's /metrics is served at ``address`` (first of ``metrics_targets`` from now on): call ``publish`` at each publication."""
        ...

    def run_to_end(self, progress: Observer | None = None) -> Outcome:
        """Run to the scenario's end, or until its work is done; ``progress`` is called a few times per wall second."""
        ...

    def start(self) -> None:
        """Let the emulated clock run, paced by the wall clock."""
        ...

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the emulation has ended by itself (True), or so many wall seconds (False). Raises what ended it otherwise."""
        ...

    def stop(self) -> None:
        """End the emulation at the next cycle boundary. May be called at any time, and again."""
        ...

    def progress(self) -> Progress: ...

    def outcome(self) -> Outcome:
        """What has been run, after ``stop`` or after ``wait`` returned True."""
        ...

    def close(self) -> None:
        """Let go of actors, files and, where it was started here, Ray. May be called again."""
        ...


def open_session(request: Request) -> Session:
    """The session that ``request`` describes. Raises CommandError where the scenario, the trace or the place to run is not usable."""
    from emulator.runtime import session  # type: ignore[attr-defined,unused-ignore]

    with usage_errors():
        opened = session.open_session(
            scenario(request),
            trace=request.trace,
            trace_format=request.trace_format,
            trace_options=request.trace_options,
            until_ns=request.until_ns,
            actors=request.actors,
            address=request.address,
            state_dir=request.state_dir,
            speed=request.live_speed,
        )
    return cast("Session", opened)


def scenario(request: Request) -> object:
    """The loaded scenario with the request's settings on top."""
    settings = dict(request.settings)
    for key, value in (("scheduler.policy", request.policy), ("scheduler.placement", request.placement), ("seed", request.seed)):
        if value is not None:
            settings[key] = str(value)
    return load_scenario(request.scenario, settings)


def load_scenario(name: str, settings: dict[str, str]) -> object:
    """A preset or a YAML file, with ``settings`` (dotted keys) on top. Raises CommandError with the place and what is allowed."""
    from emulator.scenario import load  # type: ignore[attr-defined,unused-ignore]

    with usage_errors():
        return load(name, settings)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Errors that lie in what was asked for (bad values, unreadable files) end the command with exit 2."""
    try:
        yield
    except (ValueError, OSError, LookupError) as error:
        raise CommandError(str(error)) from error
