"""What others may ask of a running emulation: the interface that the gRPC service and the metrics use.

``emulator.runtime.session.Session`` implements it; calls are thread-safe and take effect at cycle boundaries. Times are emulated
seconds from the scenario's start, floats; ids are int64.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from emulator.engine.errors import ControlError
from emulator.engine.fault_control import FaultRequest, FaultView
from emulator.engine.hardware_control import ClusterView, HostState, HostView, LinkView, RackView
from emulator.engine.job_control import Explanation, JobEvent, JobState, JobView, Submission, Submitted
from emulator.engine.power_control import PowerCapRequest, PowerView
from emulator.engine.queue_control import QueueView
from emulator.engine.reservation_control import ReservationRequest, ReservationView
from emulator.engine.service_control import ServiceView
from emulator.engine.snapshot import ClockView, Snapshot

Told = TypeVar("Told")


class Watch(Protocol[Told]):
    """One reader's place in the changes of jobs: a snapshot, one event a job, then every change with the job as it was then.

    One thread at a time may use it. A watch that is not read holds nothing but its place.
    """

    @property
    def ended(self) -> bool:
        """Whether everything has been told: all jobs that were asked for have ended, or the emulation has."""
        ...

    @property
    def needs_turn(self) -> bool:
        """Whether the next ``take`` may wait for the emulation, as for a part of a snapshot."""
        ...

    def take(self, most: int) -> list[Told]:
        """Of the next ``most`` changes, or of the next jobs of the snapshot, those that are to be told; none may be among them.

        Raises WrongState when changes that were not read are no longer held, and at the end when an error has ended the emulation.
        """
        ...

    def wait(self, woken: Callable[[], None]) -> bool:
        """Have ``woken`` called once, from any thread, when there may be more; False where there may be now, and it is not called."""
        ...

    def close(self) -> None:
        """``woken`` is called no more."""
        ...


class Control(Protocol):
    """Reads answer from the last finished cycle; changes are journalled before the call returns."""

    def submit_all(self, submissions: Sequence[Submission]) -> list[Submitted | ControlError]:
        """Accept submissions now, in their order, each by itself; all that are accepted are in the journal by one write.

        Each gets what became of it, or why it was refused: QueueFull when none of its jobs finds room, InvalidRequest for a request_id
        that was used for another request, WrongState when the journal could not store it. Raises WrongState when the emulation has ended.
        """
        ...

    def cancel(self, job_id: int, request_id: str = "") -> JobView: ...

    def hold(self, job_id: int, request_id: str = "") -> JobView:
        """The job does not start until it is released; one on hold already stays so. Raises WrongState where it is not pending."""
        ...

    def release(self, job_id: int, request_id: str = "") -> JobView:
        """The reverse of ``hold``; one that is not on hold stays as it is. Raises WrongState where it is not pending."""
        ...

    def set_priority(self, job_id: int, priority: int, request_id: str = "") -> JobView:
        """The job has this priority, and that of its queue, from the next cycle on. Raises WrongState where it has ended."""
        ...

    def job(self, job_id: int) -> JobView: ...

    def job_named(self, name: str) -> JobView:
        """The one job that was submitted under ``name``. Raises NotFound; InvalidRequest with the ids of several, newest first."""
        ...

    def jobs(self, *, states: frozenset[JobState] = frozenset(), queue: str = "", after_id: int = -1, limit: int = 100) -> list[JobView]:
        """Jobs with an id above ``after_id``, by id: those that wait or run, and the last ``ENDED_KEPT`` that have ended."""
        ...

    def job_count(self, *, states: frozenset[JobState] = frozenset(), queue: str = "") -> int:
        """How many jobs ``jobs`` lists in all."""
        ...

    def explain(self, job_id: int) -> Explanation: ...

    def watch(self, form: Callable[[JobEvent], Told], *, job_ids: frozenset[int] = frozenset(), after_sequence: int = -1) -> Watch[Told]:
        """A watch of all jobs, or of those in ``job_ids``, that begins with a snapshot, or behind the change ``after_sequence``.

        ``form`` makes of an event what is told; of a change it is made once for all watches that give the same function. Raises NotFound,
        and WrongState when ``after_sequence`` is no longer held.
        """
        ...

    def queues(self) -> list[QueueView]: ...

    def cluster(self) -> ClusterView: ...

    def racks(self, *, after: int = -1, limit: int = 100) -> list[RackView]: ...

    def rack(self, name: str) -> RackView:
        """One rack, by name or number. Raises NotFound."""
        ...

    def hosts(
        self, *, after: int = -1, limit: int = 100, names: str = "", rack: str = "", states: frozenset[HostState] = frozenset()
    ) -> tuple[list[HostView], int]:
        """Hosts with a number above ``after``, and how many there are in all: those in the hostlist ``names``, in a rack (name or number),
        in one of ``states``, where these are given. Raises NotFound."""
        ...

    def host(self, name: str) -> HostView:
        """One host, by name or number. Raises NotFound."""
        ...

    def links(self, *, after: int = -1, limit: int = 100, tier: str = "", unhealthy: bool = False, busiest: bool = False) -> list[LinkView]:
        """Trunks with a number above ``after``; ``unhealthy``: only those that are not whole; ``busiest``: the fullest first, from place
        ``after`` + 1 in that order on."""
        ...

    def link_count(self, *, tier: str = "", unhealthy: bool = False) -> int:
        """How many trunks ``links`` lists in all."""
        ...

    def link(self, name: str) -> LinkView:
        """One trunk, by name or number. Raises NotFound."""
        ...

    def cordon(self, rack: int, *, cordoned: bool, request_id: str = "") -> RackView: ...

    def reservations(self) -> list[ReservationView]:
        """All reservations that ever were, in the order in which they came."""
        ...

    def reserve(self, asked: ReservationRequest, *, request_id: str = "") -> ReservationView:
        """Reserve hosts from the next cycle on, or later. Raises InvalidRequest."""
        ...

    def end_reservation(self, name: str, *, request_id: str = "") -> ReservationView:
        """The reservation is over at the next cycle. Raises NotFound, and WrongState where it is over already."""
        ...

    def inject_fault(self, fault: FaultRequest, *, request_id: str = "") -> str:
        """Break something for a while. Returns a sentence saying what was done."""
        ...

    def faults(self) -> list[FaultView]: ...

    def clear_fault(self, name: str, *, request_id: str = "") -> str:
        """End a fault by its number, or all of what is called so, at the next cycle. Raises NotFound. Returns a sentence as well."""
        ...

    def power(self) -> PowerView: ...

    def cap_power(self, asked: PowerCapRequest, *, request_id: str = "") -> str:
        """A place draws no more than this from the next cycle on. Returns a sentence saying what was done. Raises NotFound and
        WrongState.
        """
        ...

    def services(self) -> list[ServiceView]:
        """In the order of the scenario."""
        ...

    def service(self, name: str) -> ServiceView:
        """Raises NotFound."""
        ...

    def scale_service(self, name: str, replicas: int, *, request_id: str = "") -> str:
        """The service is to have so many replicas from the next cycle on. Returns a sentence saying what was done. Raises NotFound and
        InvalidRequest.
        """
        ...

    def clock(self) -> ClockView: ...

    def pause(self) -> ClockView: ...

    def resume(self) -> ClockView: ...

    def set_speed(self, speed: float) -> ClockView: ...

    def step(self, cycles: int) -> ClockView:
        """Run ``cycles`` cycles while paused. Raises WrongState if the clock is not paused."""
        ...

    def snapshot(self) -> Snapshot: ...

    def metrics_targets(self) -> tuple[str, ...]:
        """host:port of every /metrics, the head's first."""
        ...
