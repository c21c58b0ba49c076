"""The Python client of ``emulator.v1``: what Control offers, over gRPC, as the same plain records.

Every call raises ClientError, whose text is for people and whose ``exit_code`` is what a command should end with.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from emulator.engine.errors import InvalidRequest
from emulator.engine.fault_control import FaultView
from emulator.engine.hardware_control import ClusterView, HostState, HostView, LinkView, RackView
from emulator.engine.job_control import Explanation, JobEvent, JobState, JobView
from emulator.engine.power_control import PowerCapRequest, PowerView
from emulator.engine.queue_control import QueueView
from emulator.engine.reservation_control import ReservationRequest, ReservationView
from emulator.engine.service_control import ServiceView
from emulator.engine.snapshot import ClockView
from emulator.service import DEFAULT_ADDRESS, views
from emulator.service.errors import NEVER_FITS, seconds_message
from emulator.service.power_servicer import power_view
from emulator.service.service_servicer import service_view
from emulator.service.spec import MAX_SECONDS, JobSpec, Refusal, Submitted, batches_of, spec_message
from emulator.v1 import clock_service_pb2 as clock_pb
from emulator.v1 import cluster_service_pb2 as cluster_pb
from emulator.v1 import job_service_pb2 as job_pb
from emulator.v1 import power_service_pb2 as power_pb
from emulator.v1 import queue_service_pb2 as queue_pb
from emulator.v1 import reservation_service_pb2 as reservation_pb
from emulator.v1 import service_service_pb2 as service_pb
from emulator.v1.clock_service_pb2_grpc import ClockServiceStub
from emulator.v1.cluster_service_pb2_grpc import ClusterServiceStub
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from emulator.v1.power_service_pb2_grpc import PowerServiceStub
from emulator.v1.queue_service_pb2_grpc import QueueServiceStub
from emulator.v1.reservation_service_pb2_grpc import ReservationServiceStub
from emulator.v1.service_service_pb2_grpc import ServiceServiceStub
from emulator.workload.jobs import JobColumns

Request = TypeVar("Request", bound=Message)
Row = TypeVar("Row")

#: Exit codes of `gigawatt` (a contract): 2 usage, 3 not found, 4 infeasible, 5 deadline, 130 interrupted, 1 everything else.
EXIT_CODES = {"INVALID_ARGUMENT": 2, "NOT_FOUND": 3, "DEADLINE_EXCEEDED": 5}
_TARGETS = {name.removeprefix("FAULT_TARGET_").lower(): number for name, number in cluster_pb.FaultTarget.items() if number}


class ClientError(Exception):
    """A call that failed. ``code`` is the canonical code's name, ``reason`` that of ErrorInfo; ``field`` and ``allowed`` may be empty."""

    def __init__(self, text: str, *, code: str, reason: str = "", field: str = "", allowed: str = "", retry_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.code, self.reason, self.field, self.allowed, self.retry_seconds = code, reason, field, allowed, retry_seconds

    @property
    def exit_code(self) -> int:
        return 4 if self.reason == NEVER_FITS else EXIT_CODES.get(self.code, 1)


class Listing(Generic[Row]):
    """Rows as they come, page after page; ``total`` is how many there are in all, known once the first row was asked for."""

    def __init__(self, pages: Iterator[tuple[Iterable[Row], int]]) -> None:
        self.total = 0
        self._rows = self._flat(pages)

    def _flat(self, pages: Iterator[tuple[Iterable[Row], int]]) -> Iterator[Row]:
        for rows, total in pages:
            self.total = total
            yield from rows

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        return next(self._rows)


class Client:
    """A connection to a running emulation at ``address`` (host:port). ``timeout_seconds`` bounds every call but
    watches and bulk submission.

    Mutations carry a request_id of their own unless one is given: a call repeated with the same one is not done twice.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, timeout_seconds: float = 10.0) -> None:
        self.address, self.timeout_seconds = address, timeout_seconds
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.max_receive_message_length", 64 * 2**20),  # the ids of a long bulk submission
                ("grpc.enable_http_proxy", 0),  # an emulation on loopback is not behind the proxy that the environment names
                ("grpc.initial_reconnect_backoff_ms", 100),  # who repeats a call is heard soon after the head is there again
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        self._jobs = _stub(JobServiceStub, self._channel)
        self._queues = _stub(QueueServiceStub, self._channel)
        self._reservations = _stub(ReservationServiceStub, self._channel)
        self._power = _stub(PowerServiceStub, self._channel)
        self._services = _stub(ServiceServiceStub, self._channel)
        self._cluster = _stub(ClusterServiceStub, self._channel)
        self._clock = _stub(ClockServiceStub, self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and every watch on it."""
        self._channel.close()

    def submit(self, spec: JobSpec, request_id: str = "") -> JobView:
        """Submit one job (of a service: its replicas) and return it (the first); raises where any of them was refused."""
        try:
            message = spec_message(spec)
        except InvalidRequest as error:
            raise ClientError(
                f"{error}; allowed: {error.allowed}", code="INVALID_ARGUMENT", field=error.field, allowed=error.allowed
            ) from None
        response = self._call(self._jobs.SubmitJob, _request(job_pb.SubmitJobRequest, spec=message, request_id=_given(request_id)))
        for refused in response.errors:
            accepted = f"{len(response.job_ids)} replicas were accepted, the others not: {refused.message}"
            raise ClientError(accepted, code=code_name(refused.code), field=refused.field, allowed=refused.allowed)
        return views.job_view(response.job)

    def submit_many(
        self, jobs: Iterable[JobColumns], *, request_id: str = "", batch_jobs: int = 10_000, timeout_seconds: float | None = None
    ) -> Submitted:
        """Submit all of ``jobs``, batch after batch, over one stream. Refused jobs are in the answer; they do not raise.

        ``job_id``, ``submit_ns`` of the columns mean nothing here. A training job goes as its step (``shapes``) with its duration.
        """
        stem = _given(request_id)
        broken: list[Exception] = []

        def requests() -> Iterator[job_pb.SubmitJobsRequest]:
            try:
                for number, batch in enumerate(batches_of(jobs, batch_jobs)):
                    yield job_pb.SubmitJobsRequest(batch=batch, request_id=f"{stem}-{number}")
            except Exception as error:  # the stream would swallow it
                broken.append(error)
                raise

        try:
            response = self._call(self._jobs.SubmitJobs, requests(), timeout_seconds=timeout_seconds, bounded=False)
        except ClientError:
            if broken:
                raise broken[0] from None
            raise
        refusals = tuple(
            Refusal(
                error.index,
                error.count,
                code_name(error.code),
                error.message,
                error.field,
                error.allowed,
                error.retry_delay.ToNanoseconds() / 1e9,
            )
            for error in response.errors
        )
        return Submitted(np.array(response.job_ids, dtype=np.int64), response.accepted, response.refused, refusals)

    def job(self, job_id: int) -> JobView:
        return views.job_view(self._call(self._jobs.GetJob, _request(job_pb.GetJobRequest, job_id=job_id)).job)

    def job_named(self, name: str) -> JobView:
        """The one job that was submitted under ``name``. Raises ClientError where there is none, or where several are called so."""
        return views.job_view(self._call(self._jobs.GetJob, _request(job_pb.GetJobRequest, name=name)).job)

    def jobs(self, *, states: Iterable[JobState] = (), queue: str = "", limit: int | None = None) -> Listing[JobView]:
        """Jobs by id, page after page; at most ``limit`` where one is given."""
        request = _request(job_pb.ListJobsRequest, states=[views.STATE_NUMBER[state] for state in states], queue=queue)
        return self._pages(self._jobs.ListJobs, request, "jobs", views.job_view, limit)

    def cancel(self, job_id: int, request_id: str = "") -> JobView:
        request = _request(job_pb.CancelJobRequest, job_id=job_id, request_id=_given(request_id))
        return views.job_view(self._call(self._jobs.CancelJob, request).job)

    def hold(self, job_id: int, request_id: str = "") -> JobView:
        request = _request(job_pb.HoldJobRequest, job_id=job_id, request_id=_given(request_id))
        return views.job_view(self._call(self._jobs.HoldJob, request).job)

    def release(self, job_id: int, request_id: str = "") -> JobView:
        request = _request(job_pb.ReleaseJobRequest, job_id=job_id, request_id=_given(request_id))
        return views.job_view(self._call(self._jobs.ReleaseJob, request).job)

    def set_priority(self, job_id: int, priority: int, request_id: str = "") -> JobView:
        request = _request(job_pb.SetJobPriorityRequest, job_id=job_id, priority=priority, request_id=_given(request_id))
        return views.job_view(self._call(self._jobs.SetJobPriority, request).job)

    def explain(self, job_id: int) -> Explanation:
        return views.explanation_view(self._call(self._jobs.ExplainJob, _request(job_pb.ExplainJobRequest, job_id=job_id)))

    def watch(
        self, *, job_ids: Iterable[int] = (), after_sequence: int | None = None, timeout_seconds: float | None = None
    ) -> Iterator[JobEvent]:
        """Each job as it stands, then every change, with the job as it was then.

        Ends when all of ``job_ids`` (if any) have ended, or the emulation has. Raises ClientError where it broke off before: of the code
        UNAVAILABLE where the connection did. With ``after_sequence``, the last one seen, a new watch goes on there, also after the
        emulation was resumed. Closing the iterator ends the watch.
        """
        request = _request(job_pb.WatchJobsRequest, job_ids=job_ids, after_sequence=after_sequence)
        stream = self._jobs.WatchJobs(request, timeout=timeout_seconds)
        begun = False
        try:
            for response in stream:
                begun = True
                yield from map(views.event_view, response.events)
        except grpc.RpcError as error:
            if begun and error.code().name in ("UNAVAILABLE", "CANCELLED"):
                broke = (
                    f"the connection to {self.address} broke before the watch was over: the emulation was killed, or the way to it is cut"
                )
                raise ClientError(broke, code="UNAVAILABLE") from None
            raise self._error(error) from None
        finally:
            stream.cancel()

    def queues(self) -> list[QueueView]:
        return list(self._pages(self._queues.ListQueues, queue_pb.ListQueuesRequest(), "queues", views.queue_view, None))

    def queue(self, name: str) -> QueueView:
        return views.queue_view(self._call(self._queues.GetQueue, _request(queue_pb.GetQueueRequest, name=name)).queue)

    def cluster(self) -> ClusterView:
        return views.cluster_view(self._call(self._cluster.GetCluster, cluster_pb.GetClusterRequest()).cluster)

    def racks(self, *, limit: int | None = None) -> Listing[RackView]:
        """Racks by number; at most ``limit`` where one is given."""
        return self._pages(self._cluster.ListRacks, cluster_pb.ListRacksRequest(), "racks", _as(RackView), limit)

    def rack(self, name: str) -> RackView:
        """One rack, by name or number."""
        return views.view_of(self._call(self._cluster.GetRack, _request(cluster_pb.GetRackRequest, name=name)).rack, RackView)

    def hosts(self, *, names: str = "", rack: str = "", states: Iterable[HostState] = (), limit: int | None = None) -> Listing[HostView]:
        """Hosts by number, at most ``limit`` where one is given: those of the hostlist ``names``, of a rack (name or number), in one of
        ``states``, where these are given."""
        numbers = [views.HOST_STATE_NUMBER[state] for state in states]
        request = _request(cluster_pb.ListHostsRequest, names=names, rack=rack, states=numbers)
        return self._pages(self._cluster.ListHosts, request, "hosts", views.host_view, limit)

    def host(self, name: str) -> HostView:
        """One host, by name or number."""
        return views.host_view(self._call(self._cluster.GetHost, _request(cluster_pb.GetHostRequest, name=name)).host)

    def links(self, *, tier: str = "", unhealthy: bool = False, busiest: bool = False, limit: int | None = None) -> Listing[LinkView]:
        """Trunks by number, of ``tier`` where one is given; at most ``limit`` where one is given.

        ``unhealthy``: only those that have not all of their capacity; ``busiest``: the fullest first.
        """
        request = _request(cluster_pb.ListLinksRequest, tier=tier, unhealthy=unhealthy, busiest=busiest)
        return self._pages(self._cluster.ListLinks, request, "links", _as(LinkView), limit)

    def link(self, name: str) -> LinkView:
        """One trunk, by name or number."""
        return views.view_of(self._call(self._cluster.GetLink, _request(cluster_pb.GetLinkRequest, name=name)).link, LinkView)

    def cordon(self, rack: int | str, *, cordoned: bool = True, request_id: str = "") -> RackView:
        """Keep new jobs off a rack (number or name), or let them back on."""
        which = {"name": rack} if isinstance(rack, str) else {"rack": rack}
        request = _request(cluster_pb.CordonRackRequest, cordoned=cordoned, request_id=_given(request_id), **which)
        return views.view_of(self._call(self._cluster.CordonRack, request).rack, RackView)

    def reservations(self) -> list[ReservationView]:
        """All reservations that ever were, in the order in which they came."""
        request = reservation_pb.ListReservationsRequest()
        return list(self._pages(self._reservations.ListReservations, request, "reservations", views.reservation_view, None))

    def reserve(self, asked: ReservationRequest, request_id: str = "") -> ReservationView:
        """Reserve hosts from the next cycle on, or later."""
        if asked.running not in views.RUNNING_NUMBER:
            allowed = ", ".join(views.RUNNING_NUMBER)
            raise ClientError(f"running is {asked.running!r}; allowed: {allowed}", code="INVALID_ARGUMENT", field="running")
        request = _request(
            reservation_pb.CreateReservationRequest,
            name=asked.name,
            hosts=asked.hosts,
            host_count=asked.host_count,
            gpu_type=asked.gpu_type,
            times=asked.times,
            maintenance=asked.maintenance,
            queues=asked.queues,
            tenants=asked.tenants,
            running=views.RUNNING_NUMBER[asked.running],
            request_id=_given(request_id),
        )
        times = (("start", asked.start_seconds), ("duration", asked.duration_seconds), ("every", asked.every_seconds))
        for field, seconds in times:
            if not seconds < MAX_SECONDS or (seconds < 0 and field != "start"):
                allowed = f"0 or more, less than {MAX_SECONDS:g}"
                raise ClientError(f"{field} is {seconds:g} s; allowed: {allowed}", code="INVALID_ARGUMENT", field=field)
            if seconds >= 0:
                getattr(request, field).FromNanoseconds(round(seconds * 1e9))
        return views.reservation_view(self._call(self._reservations.CreateReservation, request).reservation)

    def end_reservation(self, name: str, request_id: str = "") -> ReservationView:
        """End a reservation at the next cycle; jobs that run in it run on."""
        request = _request(reservation_pb.DeleteReservationRequest, name=name, request_id=_given(request_id))
        return views.reservation_view(self._call(self._reservations.DeleteReservation, request).reservation)

    def power(self) -> PowerView:
        """What the facility and its sites draw and may draw."""
        return power_view(self._call(self._power.GetPower, power_pb.GetPowerRequest()).power)

    def cap_power(self, asked: PowerCapRequest, request_id: str = "") -> str:
        """Have the facility or a site draw at most so much from the next cycle on. Returns a sentence that says what was done."""
        if not 0 <= asked.duration_seconds < MAX_SECONDS:
            text = f"duration is {asked.duration_seconds:g} s; allowed: 0 or more, less than {MAX_SECONDS:g}"
            raise ClientError(text, code="INVALID_ARGUMENT", field="duration")
        request = _request(
            power_pb.SetPowerCapRequest,
            watts=asked.watts,
            site=asked.site,
            duration=seconds_message(asked.duration_seconds),
            request_id=_given(request_id),
        )
        done: str = self._call(self._power.SetPowerCap, request).text
        return done

    def services(self) -> list[ServiceView]:
        """All services, by name."""
        return list(self._pages(self._services.ListServices, service_pb.ListServicesRequest(), "services", service_view, None))

    def service(self, name: str) -> ServiceView:
        """One service."""
        return service_view(self._call(self._services.GetService, _request(service_pb.GetServiceRequest, name=name)).service)

    def scale_service(self, name: str, replicas: int, request_id: str = "") -> str:
        """The service is to have so many replicas from the next cycle on. Returns a sentence that says what was done."""
        request = _request(service_pb.ScaleServiceRequest, name=name, replicas=replicas, request_id=_given(request_id))
        done: str = self._call(self._services.ScaleService, request).text
        return done

    def inject_fault(
        self,
        *,
        target: str,
        duration_seconds: float,
        number: int = 0,
        name: str = "",
        remaining_ratio: float = 0.0,
        flap_seconds: float = 0.0,
        every_seconds: float = 0.0,
        cause: str = "",
        request_id: str = "",
    ) -> str:
        """Break a process, GPU, host, unit of hosts or part of the fabric (the API's ``FaultTarget``, in small letters), by number or name.

        What flaps is down for ``flap_seconds`` every ``every_seconds``. Returns a sentence that says what was done.
        """
        if target not in _TARGETS:
            raise ClientError(f"target is {target!r}; allowed: {', '.join(_TARGETS)}", code="INVALID_ARGUMENT", field="target")
        if not 0 < duration_seconds < MAX_SECONDS:
            raise ClientError(f"duration_seconds is {duration_seconds:g}; allowed: more than 0", code="INVALID_ARGUMENT", field="duration")
        for field, seconds in (("flap_seconds", flap_seconds), ("every_seconds", every_seconds)):
            if not 0 <= seconds < MAX_SECONDS:
                raise ClientError(f"{field} is {seconds:g}; allowed: 0 or more", code="INVALID_ARGUMENT", field=field)
        request = _request(
            cluster_pb.InjectFaultRequest,
            target=_TARGETS[target],
            number=number,
            duration=seconds_message(duration_seconds),
            remaining_ratio=remaining_ratio,
            name=name,
            flap=seconds_message(flap_seconds),
            every=seconds_message(every_seconds),
            cause=cause,
            request_id=_given(request_id),
        )
        text: str = self._call(self._cluster.InjectFault, request).text
        return text

    def faults(self, *, limit: int | None = None) -> Listing[FaultView]:
        """What is broken now, the oldest first; at most ``limit`` where one is given."""
        return self._pages(self._cluster.ListFaults, cluster_pb.ListFaultsRequest(), "faults", views.fault_view, limit)

    def clear_fault(self, name: str, request_id: str = "") -> str:
        """Mend what is broken, by the number of the fault or the name of the part. Returns a sentence that says what was done."""
        request = _request(cluster_pb.ClearFaultRequest, name=name, request_id=_given(request_id))
        text: str = self._call(self._cluster.ClearFault, request).text
        return text

    def clock(self) -> ClockView:
        return self._clock_view(self._clock.GetClock, clock_pb.GetClockRequest())

    def pause(self, request_id: str = "") -> ClockView:
        return self._clock_view(self._clock.Pause, _request(clock_pb.PauseRequest, request_id=_given(request_id)))

    def resume(self, request_id: str = "") -> ClockView:
        return self._clock_view(self._clock.Resume, _request(clock_pb.ResumeRequest, request_id=_given(request_id)))

    def set_speed(self, speed: float, request_id: str = "") -> ClockView:
        """``speed`` in emulated seconds per wall second; inf: as fast as it can."""
        return self._clock_view(self._clock.SetSpeed, _request(clock_pb.SetSpeedRequest, speed=speed, request_id=_given(request_id)))

    def step(self, cycles: int = 1, request_id: str = "") -> ClockView:
        return self._clock_view(self._clock.Step, _request(clock_pb.StepRequest, cycles=cycles, request_id=_given(request_id)))

    def _clock_view(self, method: Any, request: Any) -> ClockView:
        return views.view_of(self._call(method, request).clock, ClockView)

    def _pages(self, method: Any, request: Any, rows: str, view: Callable[[Any], Row], limit: int | None) -> Listing[Row]:
        """Rows of all pages; ``request`` is the first page's, and is changed from page to page."""

        def pages() -> Iterator[tuple[Iterable[Row], int]]:
            left = limit
            while left is None or left > 0:
                request.page_size = 1000 if left is None else min(1000, left)
                response = self._call(method, request)
                found = getattr(response, rows)
                yield map(view, found), response.total_size
                if not response.next_page_token:
                    return
                request.page_token = response.next_page_token
                left = None if left is None else left - len(found)

        return Listing(pages())

    def _call(self, method: Callable[..., Any], request: Any, *, timeout_seconds: float | None = None, bounded: bool = True) -> Any:
        try:
            return method(request, timeout=self.timeout_seconds if bounded else timeout_seconds)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def _error(self, error: Any) -> ClientError:
        code: str = error.code().name
        if code == "UNAVAILABLE":
            return ClientError(f"nothing answers at {self.address}: is `gigawatt up` running?", code=code)
        if code == "DEADLINE_EXCEEDED":
            return ClientError(f"{self.address} gave no answer in time", code=code)
        known: dict[str, Any] = {}
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                known |= {"reason": info.reason, "field": info.metadata.get("field", ""), "allowed": info.metadata.get("allowed", "")}
            elif detail.Unpack(retry):
                known["retry_seconds"] = retry.retry_delay.ToNanoseconds() / 1e9
        text = error.details() or code
        if known.get("allowed"):
            text += f"; allowed: {known['allowed']}"
        if known.get("retry_seconds"):
            text += f"; try again in {known['retry_seconds']:g} s"
        return ClientError(text, code=code, **known)


def _request(kind: type[Request], **fields: object) -> Request:
    """A request with ``fields``. Raises ClientError for values that it cannot hold."""
    try:
        return kind(**fields)
    except (TypeError, ValueError, OverflowError) as error:
        raise ClientError(f"{', '.join(fields)}: {error}", code="INVALID_ARGUMENT") from None


def _as(view: type[views.View]) -> Callable[[Any], views.View]:
    return lambda message: views.view_of(message, view)


def _stub(stub: Any, channel: grpc.Channel) -> Any:
    return stub(channel)


def code_name(number: int) -> str:
    """The canonical code's name, e.g. NOT_FOUND for 5."""
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), "UNKNOWN")


def _given(request_id: str) -> str:
    return request_id or secrets.token_hex(8)
