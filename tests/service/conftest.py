"""An emulation of nothing but the Control surface: jobs in memory, states changed by the test, every rule of the Protocol kept."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Generic

import grpc
import numpy as np
import pytest

from emulator.engine.control import Told
from emulator.engine.errors import ControlError, InvalidRequest, NeverFits, NotFound, QueueFull, WrongState
from emulator.engine.fault_control import FaultRequest, FaultView
from emulator.engine.hardware_control import ClusterView, HostState, HostView, LinkView, RackView
from emulator.engine.job_control import Explanation, JobEvent, JobState, JobView, Submission, SubmitResult, Submitted
from emulator.engine.power_control import PowerCapRequest, PowerPlaceView, PowerView
from emulator.engine.queue_control import QueueView, QuotaView
from emulator.engine.reservation_control import ReservationRequest, ReservationView
from emulator.engine.service_control import ServiceView
from emulator.engine.snapshot import ClockView, Snapshot
from emulator.service.client import Client
from emulator.service.guard import Limits
from emulator.service.server import Server, serve
from emulator.workload.jobs import JobColumns, JobKind
from tests.service.plausible_services import services
from topology.catalog import HostType, host

ENDED = frozenset(JobState) - {JobState.PENDING, JobState.RUNNING}


class FakeControl:
    GPUS, RACKS, HOSTS_PER_RACK, LINKS = 100_000, 25, 50, 2_500

    def __init__(self, pending_limit: int = 200_000) -> None:
        self.pending_limit = pending_limit
        self.views: dict[int, JobView] = {}
        self.events: list[JobEvent] = []
        self.first_sequence = 0  # events before it are no longer held
        self.answers: dict[str, SubmitResult | JobView | RackView | str] = {}
        self.batches: list[JobColumns] = []
        self.steps = 0
        self.clock_view = ClockView(0.0, 10.0, 1.0, 1.0, 0.0, False, False)
        self.cordoned: set[int] = set()
        self.cap_watts = 0.0
        self.service_views = {view.name: view for view in services()}
        self.reserved: dict[str, ReservationView] = {}
        self.changed = threading.Condition(threading.RLock())
        self.next_id = 0
        self.gate: threading.Event | None = None  # when set, explain waits for it
        self.open_watches = 0
        self.submit_gate: threading.Event | None = None  # when set, submissions wait for it
        self.lots: list[int] = []  # submissions in each call of submit_all
        self.over: ControlError | None = None  # raised by every submission
        self.next_error: Exception | None = None
        self.woken: dict[int, Callable[[], None]] = {}  # of watches that wait, by their id()

    def submit_all(self, submissions: Sequence[Submission]) -> list[Submitted | ControlError]:
        if self.submit_gate is not None:
            self.submit_gate.wait()
        if self.over is not None:
            raise self.over
        self.lots.append(len(submissions))
        answers: list[Submitted | ControlError] = []
        for submission in submissions:
            try:
                result = self._submit(submission.jobs, submission.request_id)
            except ControlError as error:
                answers.append(error)
            else:
                answers.append(Submitted(result, self.views.get(max(result.job_ids[:1], default=-1))))
        return answers

    def _submit(self, jobs: JobColumns, request_id: str = "") -> SubmitResult:
        with self.changed:
            if self.next_error is not None:
                error, self.next_error = self.next_error, None
                raise error
            if request_id in self.answers:
                answer = self.answers[request_id]
                assert isinstance(answer, SubmitResult)
                return answer
            room = self.pending_limit - self.next_id
            if room <= 0:
                raise QueueFull(f"the queue holds {self.pending_limit} jobs", retry_seconds=2.5)
            errors: dict[int, ControlError] = {}
            ids = np.full(len(jobs), -1, dtype=np.int64)
            fits = jobs.gpus <= self.GPUS
            for index in np.flatnonzero(~fits).tolist():
                errors[index] = NeverFits(f"the cluster has {self.GPUS} GPUs", field="gpus", allowed=f"at most {self.GPUS}")
            good = np.flatnonzero(fits)
            for index in good[room:].tolist():
                errors[index] = QueueFull("the queue is full", retry_seconds=2.5)
            good = good[:room]
            ids[good] = np.arange(self.next_id, self.next_id + len(good))
            self.next_id += len(good)
            self.batches.append(jobs)
            if len(good) <= 1000:  # a bulk test looks at the columns, not at views
                for index in good.tolist():
                    self._add(int(ids[index]), jobs, index)
            result = SubmitResult(ids.tolist(), errors)
            if request_id:
                self.answers[request_id] = result
            return result

    def _add(self, job_id: int, jobs: JobColumns, index: int) -> None:
        self._publish(
            JobView(
                job_id=job_id,
                name=jobs.names[index] if jobs.names else "",
                queue=jobs.queues[jobs.queue[index]],
                tenant=jobs.tenants[jobs.tenant[index]],
                kind=JobKind(int(jobs.kind[index])).name.lower(),
                state=JobState.PENDING,
                reason="waits for the next cycle",
                gpus=int(jobs.gpus[index]),
                milli_gpus=int(jobs.milli_gpus[index]),
                priority=int(jobs.priority[index]),
                submit_seconds=self.clock_view.emulated_seconds,
                start_seconds=None,
                end_seconds=None,
                progress_ratio=0.0,
                preemptions=0,
                restarts=0,
                network_slowdown_ratio=1.0,
                placement_level="",
                hosts="",
            )
        )

    def _publish(self, view: JobView) -> None:
        with self.changed:
            self.views[view.job_id] = view
            self.events.append(JobEvent(len(self.events), self.clock_view.emulated_seconds, view))
            self.changed.notify_all()
            woken, self.woken = self.woken, {}
        for wake in woken.values():
            wake()

    def change(self, job_id: int, **changes: Any) -> None:
        """What a test does to a job."""
        self._publish(replace(self.views[job_id], **changes))

    def cancel(self, job_id: int, request_id: str = "") -> JobView:
        with self.changed:
            if request_id and request_id in self.answers:
                answer = self.answers[request_id]
                assert isinstance(answer, JobView)
                return answer
            if self.job(job_id).state in ENDED:
                raise WrongState(f"job {job_id} has ended", field="job_id", allowed="a pending or running job")
            self.change(job_id, state=JobState.CANCELLED, reason="cancelled", end_seconds=1.0)
            if request_id:
                self.answers[request_id] = self.views[job_id]
            return self.views[job_id]

    def _hold(self, job_id: int, request_id: str, reason: str) -> JobView:
        with self.changed:
            if request_id in self.answers:
                answer = self.answers[request_id]
                assert isinstance(answer, JobView)
                return answer
            if self.job(job_id).state != JobState.PENDING:
                raise WrongState(f"job {job_id} is {self.views[job_id].state}; allowed: a pending job", field="job_id")
            self.change(job_id, reason=reason)
            if request_id:
                self.answers[request_id] = self.views[job_id]
            return self.views[job_id]

    def hold(self, job_id: int, request_id: str = "") -> JobView:
        return self._hold(job_id, request_id, "on hold")

    def release(self, job_id: int, request_id: str = "") -> JobView:
        return self._hold(job_id, request_id, "waits for the next cycle")

    def set_priority(self, job_id: int, priority: int, request_id: str = "") -> JobView:
        with self.changed:
            if request_id in self.answers:
                answer = self.answers[request_id]
                assert isinstance(answer, JobView)
                return answer
            if self.job(job_id).state in ENDED:
                raise WrongState(f"job {job_id} has ended", field="job_id", allowed="a pending or running job")
            self.change(job_id, priority=priority)
            if request_id:
                self.answers[request_id] = self.views[job_id]
            return self.views[job_id]

    def job(self, job_id: int) -> JobView:
        try:
            return self.views[job_id]
        except KeyError:
            raise NotFound(f"there is no job {job_id}", field="job_id") from None

    def job_named(self, name: str) -> JobView:
        found = [view for view in self.views.values() if view.name == name]
        if not found:
            raise NotFound(f"no job called {name!r}", field="name")
        if len(found) > 1:
            raise InvalidRequest(
                f"{len(found)} jobs are called {name!r}", field="name", allowed=f"an id: {[view.job_id for view in found]}"
            )
        return found[0]

    def job_count(self, *, states: frozenset[JobState] = frozenset(), queue: str = "") -> int:
        return len(self.jobs(states=states, queue=queue, limit=10**9))

    def jobs(self, *, states: frozenset[JobState] = frozenset(), queue: str = "", after_id: int = -1, limit: int = 100) -> list[JobView]:
        with self.changed:
            return [
                view
                for job_id, view in sorted(self.views.items())
                if job_id > after_id and (not states or view.state in states) and queue in {"", view.queue}
            ][:limit]

    def explain(self, job_id: int) -> Explanation:
        view = self.job(job_id)
        if self.gate is not None:
            self.gate.wait(30)
        if view.state is not JobState.PENDING:
            return Explanation(job_id, view.state, "none", "it is not pending", {}, -1)
        return Explanation(job_id, view.state, "capacity", "8 of 16 GPUs are free", {"gpus_free": 8.0, "gpus": 16.0}, 0)

    def watch(
        self, form: Callable[[JobEvent], Told], *, job_ids: frozenset[int] = frozenset(), after_sequence: int = -1
    ) -> "FakeWatch[Told]":
        with self.changed:
            for job_id in job_ids:
                self.job(job_id)
            at = len(self.events)
            if after_sequence >= 0 and not self.first_sequence - 1 <= after_sequence < at:
                raise WrongState("events after this sequence are no longer held", field="after_sequence")
            snapshot = [JobEvent(at - 1, 0.0, view) for view in self.jobs(limit=10**9)] if after_sequence < 0 else []
            self.open_watches += 1
        return FakeWatch(self, form, job_ids, snapshot, at if after_sequence < 0 else after_sequence + 1)

    def queues(self) -> list[QueueView]:
        quotas = QuotaView("*", 8.0, 16.0, 8.0, 0.0, 2.5, 10.5, None), QuotaView("hgx-h100", 64.0, 16.0, 0.0, 8.0, 40.0, None, 0.0)
        research = QueueView("research", 1, 8, 2, 16, "lab", 1, quotas)
        return [research, *(QueueView(name, 1, 8, 2, 16) for name in ("default", "inference"))]

    def cluster(self) -> ClusterView:
        return ClusterView(
            "laptop",
            "H100",
            self.GPUS,
            8,
            16,
            24,
            12_500,
            self.RACKS,
            12_500,
            self.LINKS,
            1_568,
            1_568,
            784,
            1.5e8,
            2e8,
            ("memphis", "atlanta"),
        )

    def _rack(self, rack: int) -> RackView:
        return RackView(rack, f"r{rack:05d}", "memphis", 64, 8, 0, rack in self.cordoned, 40_000.0)

    def racks(self, *, after: int = -1, limit: int = 100) -> list[RackView]:
        return [self._rack(rack) for rack in range(after + 1, min(self.RACKS, after + 1 + limit))]

    def rack(self, name: str) -> RackView:
        racks = {text: rack for rack in range(self.RACKS) for text in (str(rack), f"r{rack:05d}")}
        if name not in racks:
            raise NotFound(f"there is no rack {name}", field="name", allowed=f"0 to {self.RACKS - 1}")
        return self._rack(racks[name])

    def _host(self, host: int) -> HostView:
        rack, place = divmod(host, self.HOSTS_PER_RACK)
        state = HostState.CORDONED if rack in self.cordoned else HostState.HEALTHY
        return HostView(
            host, f"r{rack:05d}-h{place:02d}", f"r{rack:05d}", "memphis", "hgx-h100", "H100", 8, 8, state, (10**9 + host,), 8400.0
        )

    def hosts(
        self, *, after: int = -1, limit: int = 100, names: str = "", rack: str = "", states: frozenset[HostState] = frozenset()
    ) -> tuple[list[HostView], int]:
        rows = [self._host(host) for host in range(self.RACKS * self.HOSTS_PER_RACK)]
        rows = [row for row in rows if (not states or row.state in states) and rack in {"", row.rack} and names in {"", row.name}]
        return [row for row in rows if row.host > after][:limit], len(rows)

    def host(self, name: str) -> HostView:
        for row in self.hosts(limit=10**9)[0]:
            if name in (row.name, str(row.host)):
                return row
        raise NotFound(f"there is no host {name}", field="name")

    def link_count(self, *, tier: str = "", unhealthy: bool = False) -> int:
        return len(self.links(limit=10**9, tier=tier, unhealthy=unhealthy))

    def link(self, name: str) -> LinkView:
        for row in self.links(limit=10**9):
            if name in (row.name, str(row.link)):
                return row
        raise NotFound(f"there is no trunk {name}", field="name")

    def links(self, *, after: int = -1, limit: int = 100, tier: str = "", unhealthy: bool = False, busiest: bool = False) -> list[LinkView]:
        """The higher its number the fuller a link is; every tenth has lost a part."""
        rows = [
            LinkView(
                link,
                f"l{link}",
                "host_leaf" if link % 2 == 0 else "leaf_spine",
                "a",
                "b",
                8,
                4e11,
                link / self.LINKS,
                1.0 - 0.5 * (link % 10 == 0),
            )
            for link in range(self.LINKS)
        ]
        rows = [row for row in rows if tier in {"", row.tier} and not (unhealthy and row.healthy_ratio == 1.0)]
        return rows[::-1][after + 1 :][:limit] if busiest else [row for row in rows if row.link > after][:limit]

    def cordon(self, rack: int, *, cordoned: bool, request_id: str = "") -> RackView:
        if rack >= self.RACKS:
            raise NotFound(f"there is no rack {rack}", field="rack", allowed=f"0 to {self.RACKS - 1}")
        if request_id and request_id in self.answers:
            answer = self.answers[request_id]
            assert isinstance(answer, RackView)
            return answer
        (self.cordoned.add if cordoned else self.cordoned.discard)(rack)
        if request_id:
            self.answers[request_id] = self._rack(rack)
        return self._rack(rack)

    def reservations(self) -> list[ReservationView]:
        return list(self.reserved.values())

    def reserve(self, asked: ReservationRequest, *, request_id: str = "") -> ReservationView:
        view = ReservationView(
            asked.name, ",".join(asked.hosts), max(1, asked.host_count), asked.maintenance, False, max(0.0, asked.start_seconds),
            max(0.0, asked.start_seconds) + asked.duration_seconds, max(1, asked.times), asked.queues, asked.tenants, asked.running, 0,
        )  # fmt: skip
        self.reserved[asked.name] = view
        return view

    def end_reservation(self, name: str, *, request_id: str = "") -> ReservationView:
        if name not in self.reserved:
            raise NotFound(f"no reservation {name!r}", field="name", allowed=", ".join(self.reserved))
        return replace(self.reserved[name], begin_seconds=-1.0, end_seconds=-1.0, windows_left=0)

    def inject_fault(self, fault: FaultRequest, *, request_id: str = "") -> str:
        if fault.name.isdecimal() and int(fault.name) >= self.LINKS:
            raise NotFound(f"there is no {fault.target} {fault.name}", field="number", allowed=f"0 to {self.LINKS - 1}")
        flaps = f", {fault.flap_seconds:g} s every {fault.every_seconds:g} s" if fault.flap_seconds else ""
        return f"{fault.target} {fault.name} is down for {fault.duration_seconds:g} s and keeps {fault.remaining_ratio:g}{flaps}"

    def faults(self) -> list[FaultView]:
        return [
            FaultView(number, "rack", f"r{number:05d}", "injected", 10.0 * number, None if number % 2 else 99.5, "8 hosts", 8, (number, 7))
            for number in range(1, 250)
        ]

    def clear_fault(self, name: str, *, request_id: str = "") -> str:
        if name != "7":
            raise NotFound(f"no fault {name}", field="name", allowed="7 (r00007)")
        return f"fault {name} is mended"

    def power(self) -> PowerView:
        return PowerView((PowerPlaceView("facility", 3e6, self.cap_watts, 1.0), PowerPlaceView("one", 3e6, 0.0, 1.0)), 1.2, 0, 0.0)

    def cap_power(self, asked: PowerCapRequest, *, request_id: str = "") -> str:
        if asked.site not in ("", "one"):
            raise NotFound(f"no site {asked.site}", field="site", allowed="one")
        self.cap_watts = asked.watts
        return f"{asked.site or 'all'} at most {asked.watts:g} W for {asked.duration_seconds:g} s"

    def services(self) -> list[ServiceView]:
        return list(self.service_views.values())

    def service(self, name: str) -> ServiceView:
        if name not in self.service_views:
            raise NotFound(f"there is no service {name!r:.80}", field="name", allowed=", ".join(self.service_views))
        return self.service_views[name]

    def scale_service(self, name: str, replicas: int, *, request_id: str = "") -> str:
        if request_id in self.answers:
            answer = self.answers[request_id]
            assert isinstance(answer, str)
            return answer
        view = self.service(name)
        if not view.least_replicas <= replicas <= view.most_replicas:
            raise InvalidRequest(
                f"{replicas} replicas of {name}", field="replicas", allowed=f"{view.least_replicas} to {view.most_replicas}"
            )
        self.service_views[name] = replace(view, wanted_replicas=replicas)
        told = f"{name} is to have {replicas} replicas from 10 s on"
        if request_id:
            self.answers[request_id] = told
        return told

    def clock(self) -> ClockView:
        return self.clock_view

    def pause(self) -> ClockView:
        self.clock_view = replace(self.clock_view, paused=True)
        return self.clock_view

    def resume(self) -> ClockView:
        self.clock_view = replace(self.clock_view, paused=False)
        return self.clock_view

    def set_speed(self, speed: float) -> ClockView:
        self.clock_view = replace(self.clock_view, speed=speed)
        return self.clock_view

    def step(self, cycles: int) -> ClockView:
        if not self.clock_view.paused:
            raise WrongState("the clock is running", allowed="pause it first")
        self.steps += cycles
        self.clock_view = replace(self.clock_view, emulated_seconds=self.steps * self.clock_view.cycle_seconds)
        return self.clock_view

    def snapshot(self) -> Snapshot:
        raise NotImplementedError

    def metrics_targets(self) -> tuple[str, ...]:
        return ()


class FakeWatch(Generic[Told]):
    """The snapshot in one go, then what came since."""

    def __init__(
        self, control: FakeControl, form: Callable[[JobEvent], Told], job_ids: frozenset[int], snapshot: list[JobEvent], at: int
    ) -> None:
        self._control, self._form, self._job_ids, self._snapshot, self._at = control, form, job_ids, snapshot, at
        self.needs_turn, self.ended = bool(snapshot), False

    def take(self, most: int) -> list[Told]:
        with self._control.changed:
            events, self._snapshot, self.needs_turn = self._snapshot, [], False
            if not events:
                events = self._control.events[self._at : self._at + most]
                self._at += len(events)
                over = self._job_ids and all(self._control.views[job_id].state in ENDED for job_id in self._job_ids)
                self.ended = bool(over) and not events
        return [self._form(event) for event in events if not self._job_ids or event.job.job_id in self._job_ids]

    def wait(self, woken: Callable[[], None]) -> bool:
        with self._control.changed:
            if self._at < len(self._control.events):
                return False
            self._control.woken[id(self)] = woken
            return True

    def close(self) -> None:
        with self._control.changed:
            self._control.woken.pop(id(self), None)
            self._control.open_watches -= 1
            self._control.changed.notify_all()


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


#: Small, so that a test can reach them.
LIMITS = Limits(calls=8, streams=4, watches=4, threads=4, idle_seconds=1.0)


@pytest.fixture
def server(control: FakeControl) -> Iterator[Server]:
    server = serve(control, "127.0.0.1:0", host_type=host("hgx-h100"), limits=LIMITS)
    yield server
    server.stop(0.0)


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def cluster_host() -> HostType:
    return host("hgx-h100")
