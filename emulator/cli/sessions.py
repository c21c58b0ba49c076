"""Where the command line meets the emulation: opens a session from a request, and says what a session is to it."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from emulator.cli.errors import CommandError, Exit
from emulator.cli.options import Request, Setting
from emulator.engine.control import Control
from emulator.engine.shards import Readings, ShardRange
from emulator.engine.snapshot import Snapshot
from emulator.racks.served_pools import ServedPools
from emulator.report.outcome import Outcome
from emulator.report.progress import Progress
from topology.catalog import HostType
from topology.cluster import Cluster

if TYPE_CHECKING:
    from emulator.openai import Serving
    from emulator.scenario import Scenario

Observer = Callable[[Progress], None]

#: New objects from one look for garbage to the next, looks to one that goes further, and such to one at all objects.
COLLECTIONS = (20_000, 20, 20)


class Session(Control, Protocol):
    """One emulation, ready to run. ``run_to_end`` is batch; ``start``, ``wait`` and ``stop`` are live."""

    @property
    def host_type(self) -> HostType:
        """The cluster's, of several the one with the most GPUs: training jobs from the API that name none are planned for it."""
        ...

    @property
    def host_types(self) -> tuple[HostType, ...]:
        """All of them, by number."""
        ...

    @property
    def payload_ratio(self) -> float:
        """Of a NIC's line rate, what is left for payload."""
        ...

    @property
    def collective(self) -> str:
        """How jobs reduce their gradients that do not say: ring, tree, or auto."""
        ...

    @property
    def topology(self) -> Cluster: ...

    @property
    def telemetry_detail(self) -> str:
        """rack, pod or cluster: how fine the metrics of the local shards are."""
        ...

    @property
    def local_shards(self) -> tuple[ShardRange, ...]:
        """Shards that run in this process and so serve no metrics of their own."""
        ...

    @property
    def served_pools(self) -> ServedPools:
        """What the pools of services are called, for the metrics of the local shards."""
        ...

    def askable(self) -> "Serving | None":
        """Its services, to be asked request by request; None where there are none."""
        ...

    def attach_metrics(self, address: str, publish: Callable[[Snapshot, Readings], None]) -> None:
        """The head's /metrics is served at ``address`` (first of ``metrics_targets`` from now on): call ``publish`` at each publication."""
        ...

    def run_to_end(self, progress: Observer | None = None) -> Outcome:
        """Run to the scenario's end, or until its work is done; ``progress`` is called a few times per wall second."""
        ...

    def interrupt(self) -> None:
        """End at the next cycle boundary and keep what was emulated so far. Safe to call from a signal handler."""
        ...

    def start(self) -> None:
        """Let the emulated clock run, paced by the wall clock."""
        ...

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the emulation has ended by itself (True), or for ``seconds`` of wall time (False). Raises the error that ended it."""
        ...

    def stop(self) -> None:
        """End the emulation at the next cycle boundary. May be called at any time, and again."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was found in the directory of its journal."""
        ...

    @property
    def unkept(self) -> Exception | None:
        """Why the end of the session is not in its journal; None where it is, or there is none."""
        ...

    def progress(self) -> Progress: ...

    def outcome(self) -> Outcome:
        """What has been run, after ``run_to_end``, ``stop``, or ``wait`` returned True; or up to the error that they raised."""
        ...

    def close(self) -> None:
        """Release actors, files and, if this process started it, Ray. May be called again."""
        ...


@dataclass
class Ending:
    """``failure`` is what ended a session before its time."""

    failure: Exception | None = None


@contextmanager
def salvaging(session: Session) -> Iterator[Ending]:
    """An error of the emulation inside ends it; what it did up to there can still be had, and the error is kept for afterwards.

    Raised at once is an error after which there is nothing to be had.
    """
    ending = Ending()
    try:
        yield ending
    except Exception as error:  # noqa: BLE001 - whatever it was, what ran is to be saved
        failure = _told(error)
        try:
            session.outcome()
        except Exception:  # noqa: BLE001 - of two errors the first is the cause
            raise failure from error
        ending.failure = failure


def _told(error: Exception) -> Exception:
    """``error``; or a sentence, if a Ray cluster lost nodes that it could not replace or a policy of others failed: no bug in gigawatt."""
    from emulator.engine.shards import ShardsLost
    from emulator.scheduler.policy import PolicyError

    return CommandError(f"the emulation ended early: {error}", Exit.FAILED) if isinstance(error, ShardsLost | PolicyError) else error


@contextmanager
def what_is_built_stays() -> Iterator[None]:
    """The garbage collector leaves alone what is there at the start: a look at all of it takes 0.1 s, and it stays until the end anyway. At
    what comes it looks more rarely than it would.
    """
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def open_session(request: Request, resuming: Observer | None = None) -> Session:
    """The session that ``request`` describes. Where it goes on from a journal, ``resuming`` is told how far it is.

    Raises CommandError where the scenario, the trace, the journal or the place to run is not usable.
    """
    loaded = load_scenario(request.scenario, request.settings)
    from emulator.runtime import opening

    with usage_errors():
        return opening.open_session(
            loaded,
            to_end_of_work=request.to_end_of_work,
            endless=request.endless,
            address=request.address,
            state_dir=request.state_dir,
            spool_dir=request.out,
            events=request.events,
            resuming=resuming,
        )


def load_scenario(name: str, settings: Sequence[Setting]) -> "Scenario":
    """A preset or a YAML file with ``settings`` on top. Raises CommandError with the place, as it was typed, and what is allowed."""
    from emulator.scenario import ScenarioError, load

    try:
        return load(name, [setting.override for setting in settings])
    except ScenarioError as error:
        message = str(error)
        for setting in settings:
            message = message.replace(f"--set {setting.override}: ", f"{setting.typed}: ")
        raise CommandError(message) from error


@contextmanager
def usage_errors() -> Iterator[None]:
    """Errors that lie in what was asked for (bad values, unreadable files, a Ray cluster unfit for it) end the command with exit 2.

    Where no Ray or no policy outside answers, or our Ray does not start, it is 1.
    """
    from emulator.engine.errors import ControlError
    from emulator.runtime.ray_address import RayStartError, UnusableRay
    from emulator.scheduler.policy import PolicyUnreachable

    try:
        yield
    except UnusableRay as error:
        raise CommandError(str(error)) from error
    except (RayStartError, PolicyUnreachable) as error:
        raise CommandError(str(error), Exit.FAILED) from error
    except (ValueError, OSError, ControlError) as error:
        allowed = getattr(error, "allowed", "")
        message = str(error)
        raise CommandError(message + (f"; allowed: {allowed}" if allowed and allowed not in message else "")) from error
