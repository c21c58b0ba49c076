"""One emulation, batch or live: an engine, the thread that owns it, and the surface (``engine.control``) that everyone else uses.

The engine is touched by one thread at a time, in turns: a step of the loop is one, every call of a live session is one. Reads therefore
see whole cycles, and what was accepted is in the journal and stamped with its cycle before the caller hears of it. A call runs in the
thread that makes it, so that none is left without an answer when the engine's thread ends.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from emulator.engine.bounds import CLOCK_END_NS, MOST_STEP_CYCLES, SPEED_RULE, is_speed
from emulator.engine.commands import Command
from emulator.engine.errors import InvalidRequest, WrongState
from emulator.engine.job_control import JobEvent
from emulator.engine.loop import Loop
from emulator.engine.shards import Readings
from emulator.engine.snapshot import ClockView, Snapshot
from emulator.report.collect import Collector
from emulator.report.outcome import Outcome
from emulator.report.progress import Progress
from emulator.runtime.assemble import Emulation
from emulator.runtime.inputs import Inputs
from emulator.runtime.pace import Pace
from emulator.runtime.reach import Reach
from emulator.runtime.repeat import repeat
from emulator.runtime.turns import Turns
from emulator.runtime.watch import Watch, Watchers
from emulator.runtime.writes import Writes
from emulator.store.errors import JournalError
from emulator.store.journal import END, STOP, Journal
from emulator.workload.jobs import SECOND

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Wall seconds between two reports of progress, and between two publications of a live session's metrics.
PROGRESS_SECONDS = 0.2
PUBLISH_SECONDS = 1.0
#: Wall seconds that ``close`` waits for the engine's thread, which may be in the middle of a message to its actors.
CLOSE_SECONDS = 60.0


class Session(Writes):
    """``run_to_end`` is batch and runs in the calling thread; ``start``, ``wait``, ``stop`` are live. A ``Control``.

    Calls are thread-safe at any time. After the end only reads are answered; after ``close``, or when an error has ended the emulation,
    every call raises WrongState, which says so.
    """

    def __init__(
        self,
        emulation: Emulation,
        *,
        journal: Journal | None,
        endless: bool,
        actors: int,
        opened_at: float,
        spool_dir: Path | None = None,
        events: bool = False,
    ) -> None:
        super().__init__(emulation, Inputs(emulation, journal))
        self._collector = Collector(
            emulation.engine, emulation.scenario, emulation.sources, actors=actors, opened_at=opened_at, folder=spool_dir, events=events
        )
        self._engine.ends.retire = self._collector.retire
        self._emulation = emulation
        self._loop = Loop(self._engine, self._sample, endless=endless)
        self._endless = endless
        self._journal = journal
        self._engine.intake.on_command_failed = _log_failed
        self._reach = Reach(journal, cycle_ns=self._engine.settings.cycle_ns, until_ns=self._engine.settings.until_ns)
        self._turns = Turns()  # whoever has the turn may touch the engine and everything below
        self._nudge = threading.Event()  # tells the engine's thread that something other than time has changed
        self._ended = threading.Event()
        self._watchers = Watchers(self._engine, self._turns, self._ended)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        self._closed = False
        self._interrupted = self._cut_short = False
        self._outcome: Outcome | None = None
        self._unkept: JournalError | None = None
        self._pace = Pace(emulation.scenario.clock.speed)
        self._stepped = threading.Event()  # no step is under way
        self._metrics_address = ""
        self._publish: Callable[[Snapshot, Readings], None] | None = None
        self._next_publish = 0.0

    # -- batch ----------------------------------------------------------------------------------------------------------------------

    def run_to_end(self, progress: Callable[[Progress], None] | None = None) -> Outcome:
        """Run to the scenario's end, or until its work is done; ``progress`` is called a few times per wall second.

        Raises WrongState for a session without an end, and for a live one.
        """
        if self._endless or self._thread is not None or self._closed:
            raise WrongState("only a session that has an end and was neither started nor closed can be run to its end")
        due = time.monotonic()
        try:
            while not self._loop.finished:
                with self._turns:
                    if self._stopping:
                        self._finish()
                        break
                    self._loop.step()
                self._collector.mark_speed(self._engine.now_ns)
                if progress is not None and (now := time.monotonic()) >= due:
                    due = now + PROGRESS_SECONDS
                    progress(self._collector.progress())
        except Exception as error:
            self._failure = error
            raise
        finally:
            self._ended.set()
        return self.outcome()

    def interrupt(self) -> None:
        """A signal asks for the end. Takes no lock, so that a handler of signals may call it."""
        self._interrupted = self._stopping = True
        self._emulation.interrupt()

    # -- from a journal --------------------------------------------------------------------------------------------------------------

    def repeat(self, journal: Journal, progress: Callable[[Progress], None] | None = None) -> None:
        """Do again what ``journal`` holds, up to where its clock may have been read. Before the start; raises what ``progress`` raises."""
        reached_ns, due = journal.reached_ns, time.monotonic()
        if journal is self._journal:
            self._listen()  # a watch goes on where it was: changes keep their numbers

        def told() -> None:
            nonlocal due
            self._collector.mark_speed(self._engine.now_ns)
            if progress is not None and (now := time.monotonic()) >= due:
                due = now + PROGRESS_SECONDS
                progress(replace(self._collector.progress(), until_seconds=reached_ns / SECOND))

        repeat(self._loop, self._inputs, journal.inputs(), reached_ns, told)
        self._idle_to(reached_ns)
        self._pace.anchor(max(reached_ns, self._engine.now_ns))

    def replay(self, journal: Journal, progress: Callable[[Progress], None] | None = None) -> Outcome:
        """Do all of ``journal`` again, and end where the session ended or, where it broke off, where its clock may have been read."""
        self.repeat(journal, progress)
        if not self._loop.finished:
            self._cut_short = True
            self._loop.finish_now()
        self._ended.set()
        return self.outcome()

    # -- live: the engine's thread --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let the emulated clock run, paced by the wall clock. May be called again."""
        with self._turns:
            self._check_open()
            if self._thread is None and not self._ended.is_set():
                self._listen()
                self._pace.start()
                self._thread = threading.Thread(target=self._own, name="engine", daemon=True)
                self._thread.start()

    def _listen(self) -> None:
        """Changes are told to watches, and to who keeps events."""
        watchers, events = self._watchers, self._collector.events

        def note(slot: int, at_ns: int) -> None:
            assert events is not None, "both are told"
            events.note(slot, at_ns)
            watchers.note(slot, at_ns)

        self._engine.chronicle.on_change = watchers.note if events is None else note

    def _own(self) -> None:
        try:
            while (wait_seconds := self._own_turn()) is not None:
                if wait_seconds > 0:
                    self._nudge.wait(wait_seconds)
        finally:
            self._ended.set()
            self._stepped.set()
            self._watchers.wake()

    def _own_turn(self) -> float | None:
        """One turn of the engine's thread; returns the wall seconds until the next, or None if there is none.

        An error ends the thread, and is everyone's: told by wait() and by every call. It is noted before the turn is given
        back, so that no call sees the engine as the error left it.
        """
        with self._turns:
            try:
                self._nudge.clear()
                if self._stopping or self._loop.finished:
                    self._finish()
                    return None
                return self._turn()
            except BaseException as error:  # noqa: BLE001 - see above
                self._failure = error
                return None

    def _turn(self) -> float:
        """Publish, or make the next step of the loop, where they are due; returns the wall seconds until one of them is."""
        now = time.monotonic()
        self._collector.mark_speed(self._paced_ns())
        if self._publish is not None and now >= self._next_publish:
            self._publish_now()
        step_ns = self._loop.next_ns()
        step_wall = self._pace.wall_of(step_ns)
        if step_wall <= now:
            self._reach.cover(step_ns, self._pace)
            self._loop.step()
            self._watchers.wake()
            return 0.0
        mark_seconds = self._reach.cover_idle(self._pace.asked_ns(self._engine.now_ns), self._pace)
        if self._pace.step_to_ns >= 0:
            self._idle_to(self._pace.step_to_ns)
            self._pace.anchor_ns, self._pace.step_to_ns = self._pace.step_to_ns, -1
            self._stepped.set()
        publish_wall = math.inf if self._publish is None else self._next_publish
        return min(step_wall - now, publish_wall - now, mark_seconds, PUBLISH_SECONDS)

    def _finish(self) -> None:
        """The end, be it the emulation's own or one that was asked for; the journal has its place then."""
        if not self._loop.finished:
            self._cut_short = True
            self._idle_to(self._paced_ns())
            self._loop.finish_now()
        self._note_end()
        self._pace.step_to_ns = -1
        self._publish_now()

    def _note_end(self) -> None:
        """Into the journal, with the digest. Where that cannot be written, nothing is taken from what was run."""
        if self._journal is not None:
            self._outcome = self._collect()
            try:
                self._journal.finish(self._engine.now_ns, STOP if self._cut_short else END, self._outcome.digest)
            except JournalError as error:
                self._unkept = error

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was found in the directory of its journal."""
        return () if self._journal is None else self._journal.notes

    @property
    def unkept(self) -> JournalError | None:
        """Why the end of the session is not in its journal; None where it is, or there is none."""
        return self._unkept

    def _idle_to(self, at_ns: int) -> None:
        """Move the engine's clock to the last cycle boundary up to ``at_ns``, as far as nothing is due there."""
        engine, cycle_ns = self._engine, self._engine.settings.cycle_ns
        boundary_ns = min(at_ns, self._loop.next_ns() - 1) // cycle_ns * cycle_ns
        if not self._loop.finished and engine.now_ns < boundary_ns:
            engine.idle_to(boundary_ns)

    def _paced_ns(self) -> int:
        """What the emulated clock reads now: never behind the engine, and never at what is due but has not been run."""
        engine = self._engine
        if self._loop.finished or self._thread is None:
            return engine.now_ns
        asked = self._pace.asked_ns(engine.now_ns)
        return max(engine.now_ns, min(asked, self._loop.next_ns() - 1, self._reach.ns))

    def asked_speed(self) -> float:
        return self._pace.speed

    def _stamp_ns(self) -> int:
        """The cycle in which an input that is accepted now acts: the first that the clock has not passed, behind no earlier input."""
        return max(self._engine.open_cycle_ns(), self._engine.boundary(self._paced_ns()), self._inputs.last_stamp_ns)

    # -- calls ----------------------------------------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], T]) -> T:
        """Run ``function`` between two steps."""
        with self._turns:
            self._check_open()
            return function()

    def _change(self, function: Callable[[], T]) -> T:
        def change() -> T:
            if self._loop.finished or self._stopping:
                raise WrongState("the emulation has ended; allowed: only calls that read")
            stamp_ns = self._inputs.last_stamp_ns
            result = function()
            if self._inputs.last_stamp_ns != stamp_ns:  # or the engine's thread knows that something is due in that cycle
                self._nudge.set()
            return result

        return self._call(change)

    def _check_open(self) -> None:
        self._check_failure()
        if self._closed:
            raise WrongState("the session is closed, so it answers no more calls")

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise WrongState(f"the emulation has ended with an error: {type(self._failure).__name__}: {self._failure}") from self._failure

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the emulation has ended by itself (True), or for ``seconds`` of wall time (False). Raises the error that ended it."""
        if self._thread is None and timeout_seconds is None and not self._ended.is_set():
            raise WrongState("the session has not been started, so waiting for its end would never end")
        ended = self._ended.wait(timeout_seconds)
        if self._failure is not None:
            raise self._failure
        return ended

    def stop(self) -> None:
        """End the emulation at the cycle boundary that its clock has reached. May be called at any time, and again."""
        self._stopping = True
        self._nudge.set()
        with self._turns:
            started = self._thread is not None
            if not started and not self._ended.is_set() and not self._closed:
                self._finish()
                self._ended.set()
        if started:
            self._ended.wait()

    def close(self) -> None:
        """Let go of the thread, the shards and the journal. May be called again."""
        self._stopping = True
        self._nudge.set()
        thread = self._thread
        if thread is not None:
            thread.join(CLOSE_SECONDS)
        had_turn = self._turns.take(CLOSE_SECONDS)
        try:
            if self._closed:
                return
            self._closed = True
            self._ended.set()
            self._watchers.wake()
            self._emulation.close()
            if had_turn:
                self._collector.close()
            if self._journal is not None:
                self._journal.close()
        finally:
            if had_turn:
                self._turns.give()

    def progress(self) -> Progress:
        with self._turns:
            return self._collector.progress()

    def outcome(self) -> Outcome:
        """What has been run, after ``run_to_end``, ``stop`` or the end of ``wait``; or up to the error that they raised."""
        if self._outcome is None:
            with self._turns:
                if self._closed:
                    raise WrongState("the session is closed, so it answers no more calls")
                self._outcome = self._collect()
        return self._outcome

    def _collect(self) -> Outcome:
        cut_short = self._cut_short and not self._endless
        return self._collector.outcome(interrupted=self._interrupted or cut_short or self._failure is not None)

    # -- publication ----------------------------------------------------------------------------------------------------------------

    def attach_metrics(self, address: str, publish: Callable[[Snapshot, Readings], None]) -> None:
        """The head's /metrics is served at ``address``: ``publish`` is called at each publication from now on."""

        def attach() -> None:
            self._metrics_address, self._publish = address, publish
            self._publish_now()

        self._call(attach)

    def _sample(self) -> None:
        self._collector.sample(self._clock())

    def _publish_now(self) -> None:
        self._next_publish = time.monotonic() + PUBLISH_SECONDS
        self._idle_to(self._paced_ns())
        snapshot, readings = self._collector.publish(self._clock())
        if self._publish is not None:
            self._publish(snapshot, readings)

    def snapshot(self) -> Snapshot:
        """The numbers as of the last cycle."""
        return self._call(lambda: self._collector.snapshot(self._clock()))

    def metrics_targets(self) -> tuple[str, ...]:
        head = (self._metrics_address,) if self._metrics_address else ()
        return (*head, *self._engine.shards.metrics_addresses())

    # -- watches --------------------------------------------------------------------------------------------------------------------

    def watch(self, form: Callable[[JobEvent], T], *, job_ids: frozenset[int] = frozenset(), after_sequence: int = -1) -> Watch[T]:
        def begin() -> Watch[T]:
            for job_id in job_ids:
                self._inputs.slot(job_id)
            return Watch(self._watchers, form, job_ids=job_ids, after_sequence=after_sequence, check=self._check_failure)

        return self._call(begin)

    # -- clock ----------------------------------------------------------------------------------------------------------------------

    def clock(self) -> ClockView:
        return self._call(self._clock)

    def _clock(self) -> ClockView:
        paced = self._paced_ns()
        running = self._thread is not None and not self._pace.paused and not self._loop.finished
        lag = (self._pace.asked_ns(self._engine.now_ns) - paced) / SECOND if running else 0.0
        return ClockView(
            emulated_seconds=paced / SECOND,
            cycle_seconds=self._engine.settings.cycle_ns / SECOND,
            speed=self._pace.speed,
            achieved_speed=self._collector.achieved_speed(paced),
            lag_seconds=max(0.0, lag),
            paused=self._pace.paused,
            finished=self._loop.finished,
        )

    def pause(self) -> ClockView:
        def pause() -> ClockView:
            self._pace.anchor(self._paced_ns())
            self._pace.paused = True
            return self._clock()

        return self._call(pause)

    def resume(self) -> ClockView:
        def resume() -> ClockView:
            self._pace.anchor(self._paced_ns())
            self._pace.paused, self._pace.step_to_ns = False, -1
            self._stepped.set()
            self._nudge.set()
            return self._clock()

        return self._call(resume)

    def set_speed(self, speed: float) -> ClockView:
        """Raises InvalidRequest for what is no speed."""

        def set_speed() -> ClockView:
            if not is_speed(speed):
                raise InvalidRequest(f"speed is {speed}", field="speed", allowed=f"{SPEED_RULE}; inf: as fast as it can")
            self._pace.anchor(self._paced_ns())
            self._pace.speed = speed
            self._nudge.set()
            return self._clock()

        return self._call(set_speed)

    def step(self, cycles: int) -> ClockView:
        """Run ``cycles`` cycles while paused, and wait for them. Raises WrongState if the clock is running or was never started."""

        def begin() -> None:
            if not self._pace.paused or self._thread is None:
                raise WrongState("the clock is running, or was never started; allowed: Pause first, then Step")
            if not 0 < cycles <= MOST_STEP_CYCLES:
                raise InvalidRequest(f"cycles is {cycles}", field="cycles", allowed=f"1 to {MOST_STEP_CYCLES:,}")
            cycle_ns = self._engine.settings.cycle_ns
            under_way_ns = self._pace.step_to_ns
            first_ns = self._stamp_ns() if under_way_ns < 0 else under_way_ns + cycle_ns
            self._pace.step_to_ns = min(first_ns + (cycles - 1) * cycle_ns, CLOCK_END_NS)
            self._stepped.clear()
            self._nudge.set()

        self._change(begin)
        self._stepped.wait()
        return self.clock()


def _log_failed(command: Command, at_ns: int, error: Exception) -> None:
    log.error("an input failed at %g s and did nothing more (a fault of gigawatt): %.200r", at_ns / SECOND, command, exc_info=error)
