"""What may be asked of a session about its jobs and its hardware: each question is answered in one turn at the engine."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from emulator.engine import hardware, views
from emulator.engine.fault_control import FaultView
from emulator.engine.fault_requests import fault_views
from emulator.engine.hardware_control import ClusterView, HostState, HostView, LinkView, RackView
from emulator.engine.job_control import Explanation, JobState, JobView
from emulator.engine.power_control import PowerView
from emulator.engine.power_views import power_view
from emulator.engine.queue_control import QueueView
from emulator.engine.reservation_control import ReservationView
from emulator.engine.service_control import ServiceView
from emulator.engine.service_views import service_number, service_views
from emulator.runtime.assemble import Emulation
from emulator.runtime.facts import Facts
from emulator.runtime.inputs import Inputs

T = TypeVar("T")


class Reads(Facts, ABC):
    """The reads of ``Control``."""

    def __init__(self, emulation: Emulation, inputs: Inputs) -> None:
        super().__init__(emulation)
        self._inputs = inputs

    @abstractmethod
    def _call(self, function: Callable[[], T]) -> T:
        """Run ``function`` between two steps."""

    def job(self, job_id: int) -> JobView:
        return self._call(lambda: views.job_view(self._engine, self._inputs.slot(job_id)))

    def jobs(self, *, states: frozenset[JobState] = frozenset(), queue: str = "", after_id: int = -1, limit: int = 100) -> list[JobView]:
        return self._call(lambda: self._inputs.jobs(states, queue, after_id, limit))

    def job_named(self, name: str) -> JobView:
        return self._call(lambda: views.job_view(self._engine, self._inputs.slot_named(name)))

    def job_count(self, *, states: frozenset[JobState] = frozenset(), queue: str = "") -> int:
        return self._call(lambda: self._inputs.job_count(states, queue))

    def explain(self, job_id: int) -> Explanation:
        return self._call(lambda: views.explanation(self._engine, self._inputs.slot(job_id)))

    def queues(self) -> list[QueueView]:
        return self._call(lambda: views.queue_views(self._engine))

    def faults(self) -> list[FaultView]:
        return self._call(lambda: fault_views(self._engine.fault_book))

    def reservations(self) -> list[ReservationView]:
        return self._call(self._inputs.reserved.views)

    def cluster(self) -> ClusterView:
        return self._call(lambda: views.cluster_view(self._engine))

    def power(self) -> PowerView:
        return self._call(lambda: power_view(self._engine))

    def services(self) -> list[ServiceView]:
        return self._call(lambda: service_views(self._engine))

    def service(self, name: str) -> ServiceView:
        return self._call(lambda: service_views(self._engine)[service_number(self._engine, name)])

    def racks(self, *, after: int = -1, limit: int = 100) -> list[RackView]:
        return self._call(lambda: hardware.rack_views(self._engine, self._engine.read(), after, limit))

    def rack(self, name: str) -> RackView:
        return self._call(lambda: hardware.rack_view(self._engine, name))

    def hosts(
        self, *, after: int = -1, limit: int = 100, names: str = "", rack: str = "", states: frozenset[HostState] = frozenset()
    ) -> tuple[list[HostView], int]:
        return self._call(lambda: hardware.host_views(self._engine, after, limit, listed=names, rack=rack, states=states))

    def host(self, name: str) -> HostView:
        return self._call(lambda: hardware.host_view(self._engine, name))

    def links(self, *, after: int = -1, limit: int = 100, tier: str = "", unhealthy: bool = False, busiest: bool = False) -> list[LinkView]:
        return self._call(lambda: hardware.link_views(self._engine, after, limit, tier, unhealthy=unhealthy, busiest=busiest))

    def link_count(self, *, tier: str = "", unhealthy: bool = False) -> int:
        return self._call(lambda: hardware.link_count(self._engine, tier, unhealthy=unhealthy))

    def link(self, name: str) -> LinkView:
        return self._call(lambda: hardware.link_view(self._engine, name))
