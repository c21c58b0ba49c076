"""One emulation, batch or live: an engine, the thread that owns it, and the surface (``engine.control``) that everyone else uses.

The engine is touched by one thread only. Whoever wants something of a live session posts a call, which runs between two cycles; reads
therefore see whole cycles, and what was accepted is in the journal and stamped with its cycle before the caller hears of it.
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from emulator.engine import views
from emulator.engine.control import (
    ClockView,
    ClusterView,
    Explanation,
    JobEvent,
    JobState,
    JobView,
    LinkView,
    QueueView,
    RackView,
    Snapshot,
    SubmitResult,
    WrongState,
)
from emulator.engine.loop import Loop
from emulator.engine.shards import Readings, ShardRange
from emulator.report.collect import Collector
from emulator.report.outcome import Outcome
from emulator.report.progress import Progress
from emulator.runtime.assemble import Emulation, assemble
from emulator.runtime.inputs import Inputs
from emulator.runtime.place import Place
from emulator.runtime.watch import Watchers
from emulator.scenario import Scenario
from emulator.scheduler.table import NEVER
from emulator.store.journal import Journal
from emulator.workload.jobs import SECOND, JobColumns
from topology.catalog import HostType
from topology.cluster import Cluster

T = TypeVar("T")

#: How far work is generated for a session without an end: ten years.
LIVE_HORIZON_NS = 10 * 365 * 86_400 * SECOND
#: Wall seconds between two reports of progress, and between two publications of a live session's metrics.
PROGRESS_SECONDS = 0.2
PUBLISH_SECONDS = 1.0


class Session:
    """``run_to_end`` is batch and runs in the calling thread; ``start``, ``wait``, ``stop`` are live. A ``Control``."""

    def __init__(self, emulation: Emulation, *, journal: Journal | None, endless: bool, actors: int, opened_at: float) -> None:
        self._engine = emulation.engine
        self._collector = Collector(emulation, actors=actors, opened_at=opened_at)
        self._detail = emulation.scenario.telemetry.detail
        self._loop = Loop(self._engine, self._sample, endless=endless)
        self._journal = journal
        self._inputs = Inputs(emulation, journal)
        self._watchers = Watchers(self._engine)
        self._calls: queue.SimpleQueue[tuple[Future[object], Callable[[], object]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self._outcome: Outcome | None = None
        self._closed = False
        # Pacing: at wall time _anchor_wall the emulated clock stood at _anchor_ns.
        self._speed = emulation.scenario.clock.speed
        self._paused = False
        self._anchor_wall, self._anchor_ns = time.monotonic(), 0
        self._metrics_address = ""
        self._publish: Callable[[Snapshot, Readings], None] | None = None
        self._next_publish = 0.0
        self._snapshot: Snapshot | None = None

    # -- batch ----------------------------------------------------------------------------------------------------------------------

    def run_to_end(self, progress: Callable[[Progress], None] | None = None) -> Outcome:
        """Run to the scenario's end, or until its work is done; ``progress`` is called a few times per wall second."""
        due = time.monotonic()
        while not self._loop.finished:
            self._loop.step()
            if progress is not None and (now := time.monotonic()) >= due:
                due = now + PROGRESS_SECONDS
                progress(self._collector.progress())
        return self.outcome()

    # -- live: the owner's thread ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let the emulated clock run, paced by the wall clock."""
        if self._thread is None:
            self._engine.on_change = self._watchers.note
            self._anchor_wall = time.monotonic()
            self._thread = threading.Thread(target=self._own, name="engine", daemon=True)
            self._thread.start()

    def _own(self) -> None:
        try:
            while not self._stopping and not self._loop.finished:
                self._turn()
            if self._stopping:
                self._loop.finish_now()
            self._publish_now()
        except BaseException as error:  # the thread's end is everyone's: told by wait() and by every call
            self._failure = error
        self._ended.set()
        self._watchers.wake()
        while self._thread is not None:
            self._answer(self._calls.get())

    def _turn(self) -> None:
        """Answer calls until the next step is due, then make it."""
        while not self._calls.empty():
            self._answer(self._calls.get())
        now = time.monotonic()
        if self._publish is not None and now >= self._next_publish:
            self._publish_now()
        target = NEVER if self._paused else self._loop.next_ns()
        wait = self._wall_of(target) - now
        if self._publish is not None:
            wait = min(wait, self._next_publish - now)
        if wait > 0:
            try:
                self._answer(self._calls.get(timeout=min(wait, PUBLISH_SECONDS)))
            except queue.Empty:
                return
        elif target != NEVER and self._wall_of(target) <= now:
            self._loop.step()
            self._watchers.wake()

    def _answer(self, call: tuple[Future[object], Callable[[], object]] | None) -> None:
        if call is None:
            self._thread = None
            return
        future, function = call
        try:
            future.set_result(function())
        except BaseException as error:  # goes to the caller
            future.set_exception(error)

    def _wall_of(self, emulated_ns: int) -> float:
        """The wall time at which the paced clock reads ``emulated_ns``."""
        if emulated_ns == NEVER:
            return math.inf
        return self._anchor_wall + (emulated_ns - self._anchor_ns) / SECOND / self._speed

    def _paced_ns(self) -> int:
        """What the emulated clock reads now; never behind the last cycle."""
        engine = self._engine
        if self._paused or math.isinf(self._speed) or self._loop.finished or self._thread is None:
            return engine.now_ns
        paced = self._anchor_ns + int((time.monotonic() - self._anchor_wall) * self._speed * SECOND)
        next_ns = self._loop.next_ns()
        return max(engine.now_ns, min(paced, next_ns - 1) if next_ns != NEVER else paced)

    def _stamp_ns(self) -> int:
        """The cycle in which an input that is accepted now acts: the first that has not been run."""
        return self._engine.boundary(max(self._paced_ns(), self._engine.now_ns) + 1)

    def _anchor(self) -> None:
        now_ns = self._paced_ns()
        self._anchor_wall, self._anchor_ns = time.monotonic(), now_ns

    def _call(self, function: Callable[[], T]) -> T:
        """Run ``function`` in the owner's thread between two cycles, or here when nothing owns the engine yet or any more."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return function()
        future: Future[object] = Future()
        self._calls.put((future, function))
        return future.result()  # type: ignore[return-value]

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the emulation has ended by itself (True), or so many wall seconds (False). Raises what ended it otherwise."""
        ended = self._ended.wait(timeout_seconds)
        if self._failure is not None:
            raise self._failure
        return ended

    def stop(self) -> None:
        """End the emulation at the next cycle boundary."""
        self._stopping = True
        if self._thread is not None:
            self._call(lambda: None)
            self._ended.wait()

    def close(self) -> None:
        """Let go of the thread, the shards and the journal. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._stopping = True
        thread = self._thread
        if thread is not None:
            self._calls.put(None)
            thread.join(timeout=60)
        self._engine.shards.close()
        if self._journal is not None:
            self._journal.close()

    def progress(self) -> Progress:
        return self._collector.progress()

    def outcome(self) -> Outcome:
        """What has been run, after ``run_to_end``, ``stop`` or the end of ``wait``."""
        if self._outcome is None:
            self._outcome = self._call(lambda: self._collector.outcome(interrupted=self._interrupted()))
        return self._outcome

    def _interrupted(self) -> bool:
        until = self._engine.settings.until_ns
        return self._stopping and until is not None and self._engine.now_ns < until

    # -- publication ----------------------------------------------------------------------------------------------------------------

    @property
    def host_type(self) -> HostType:
        return self._engine.cluster.host_type

    @property
    def lane_bytes_per_second(self) -> float:
        return self._engine.network.full_bytes_per_second

    @property
    def topology(self) -> Cluster:
        return self._engine.cluster

    @property
    def telemetry_detail(self) -> str:
        return self._detail

    @property
    def local_shards(self) -> tuple[ShardRange, ...]:
        """Shards that run in this process and so serve no metrics of their own."""
        shards = self._engine.shards
        return () if shards.metrics_addresses() else shards.ranges

    def attach_metrics(self, address: str, publish: Callable[[Snapshot, Readings], None]) -> None:
        """The head's /metrics is served at ``address``: ``publish`` is called at each publication from now on."""

        def attach() -> None:
            self._metrics_address, self._publish = address, publish
            self._publish_now()

        self._call(attach)

    def _sample(self) -> None:
        self._snapshot = self._collector.sample(self._clock())

    def _publish_now(self) -> None:
        self._next_publish = time.monotonic() + PUBLISH_SECONDS
        if not self._loop.finished:
            idle = self._paced_ns() // self._engine.settings.cycle_ns * self._engine.settings.cycle_ns
            if self._engine.now_ns < idle < self._engine.next_cycle_ns():
                self._engine.idle_to(idle)
        self._snapshot, readings = self._collector.publish(self._clock())
        if self._publish is not None:
            self._publish(self._snapshot, readings)

    def snapshot(self) -> Snapshot:
        """The last publication, or sample where nothing is published."""
        return self._call(lambda: self._snapshot or self._collector.publish(self._clock())[0])

    def metrics_targets(self) -> tuple[str, ...]:
        head = (self._metrics_address,) if self._metrics_address else ()
        return (*head, *self._engine.shards.metrics_addresses())

    # -- jobs -----------------------------------------------------------------------------------------------------------------------

    def submit(self, jobs: JobColumns, request_id: str = "") -> SubmitResult:
        """Accept a batch: journalled and known when this returns, in the queue from the next cycle on."""
        return self._call(lambda: self._inputs.submit(jobs, self._stamp_ns(), request_id))

    def cancel(self, job_id: int, request_id: str = "") -> JobView:
        return self._call(lambda: self._inputs.cancel(job_id, self._stamp_ns(), request_id))

    def job(self, job_id: int) -> JobView:
        return self._call(lambda: views.job_view(self._engine, self._inputs.slot(job_id)))

    def jobs(self, *, states: frozenset[JobState] = frozenset(), queue: str = "", after_id: int = -1, limit: int = 100) -> list[JobView]:
        return self._call(lambda: self._inputs.jobs(states, queue, after_id, limit))

    def explain(self, job_id: int) -> Explanation:
        return self._call(lambda: views.explanation(self._engine, self._inputs.slot(job_id)))

    def watch(self, *, job_ids: frozenset[int] = frozenset(), after_sequence: int = -1) -> Iterator[JobEvent | None]:
        slots = self._call(lambda: frozenset(self._inputs.slot(job_id) for job_id in job_ids))
        return self._watchers.follow(slots, after_sequence, self._call, self._ended)

    def queues(self) -> list[QueueView]:
        return self._call(lambda: views.queue_views(self._engine))

    # -- cluster --------------------------------------------------------------------------------------------------------------------

    def cluster(self) -> ClusterView:
        return self._call(lambda: views.cluster_view(self._engine, self._collector.power_cap_watts))

    def racks(self, *, after: int = -1, limit: int = 100) -> list[RackView]:
        return self._call(lambda: views.rack_views(self._engine, self._engine.read(), after, limit))

    def links(self, *, after: int = -1, limit: int = 100, tier: str = "") -> list[LinkView]:
        return self._call(lambda: views.link_views(self._engine, after, limit, tier))

    def cordon(self, rack: int, *, cordoned: bool, request_id: str = "") -> RackView:
        return self._call(lambda: self._inputs.cordon(rack, self._stamp_ns(), cordoned=cordoned, request_id=request_id))

    def inject_fault(self, *, target: str, number: int, duration_seconds: float, remaining_ratio: float = 0.0, request_id: str = "") -> str:
        return self._call(
            lambda: self._inputs.inject_fault(target, number, duration_seconds, remaining_ratio, self._stamp_ns(), request_id)
        )

    # -- clock ----------------------------------------------------------------------------------------------------------------------

    def clock(self) -> ClockView:
        return self._call(self._clock)

    def _clock(self) -> ClockView:
        paced = self._paced_ns()
        lag = 0.0
        if not (self._paused or math.isinf(self._speed) or self._loop.finished or self._thread is None):
            asked = self._anchor_ns + (time.monotonic() - self._anchor_wall) * self._speed * SECOND
            lag = max(0.0, (asked - paced) / SECOND)
        return ClockView(
            emulated_seconds=paced / SECOND,
            cycle_seconds=self._engine.settings.cycle_ns / SECOND,
            speed=self._speed,
            achieved_speed=self._collector.achieved_speed(paced),
            lag_seconds=lag,
            paused=self._paused,
            finished=self._loop.finished,
        )

    def pause(self) -> ClockView:
        def pause() -> ClockView:
            self._anchor()
            self._paused = True
            return self._clock()

        return self._call(pause)

    def resume(self) -> ClockView:
        def resume() -> ClockView:
            if self._paused:
                self._paused = False
                self._anchor_wall, self._anchor_ns = time.monotonic(), max(self._anchor_ns, self._engine.now_ns)
            return self._clock()

        return self._call(resume)

    def set_speed(self, speed: float) -> ClockView:
        def set_speed() -> ClockView:
            self._anchor()
            self._speed = speed
            return self._clock()

        return self._call(set_speed)

    def step(self, cycles: int) -> ClockView:
        def step() -> ClockView:
            if not self._paused:
                raise WrongState("the clock runs; allowed: Pause it first, then Step")
            target = self._engine.now_ns + cycles * self._engine.settings.cycle_ns
            while not self._loop.finished and self._loop.next_ns() <= target:
                self._loop.step()
            if not self._loop.finished and self._engine.now_ns < target:
                self._engine.idle_to(target)
            self._anchor_ns = self._engine.now_ns
            self._watchers.wake()
            return self._clock()

        return self._call(step)


def open_session(
    scenario: Scenario,
    *,
    to_end_of_work: bool = False,
    endless: bool = False,
    address: str | None = None,
    state_dir: Path | None = None,
) -> Session:
    """A session of ``scenario``, ready to run or start.

    It ends at ``clock.until``, unless ``to_end_of_work`` (when no job is left that could still run) or ``endless`` (when it is stopped).
    Raises ValueError (ScenarioError, TraceError, JournalError) for unusable input.
    """
    opened_at = time.monotonic()
    journal = Journal(state_dir, scenario=scenario.name) if state_dir is not None else None
    place = Place(scenario, address)
    until_ns = None if to_end_of_work or endless else scenario.clock.until
    horizon_ns = LIVE_HORIZON_NS if until_ns is None else until_ns
    emulation = assemble(scenario, place.shards, until_ns=until_ns, horizon_ns=horizon_ns)
    return Session(emulation, journal=journal, endless=endless, actors=place.actors, opened_at=opened_at)
