"""What may be changed through a session: each input is accepted in one turn at the engine, and stamped with the cycle in which it acts."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from emulator.engine.errors import ControlError
from emulator.engine.fault_control import FaultRequest
from emulator.engine.hardware_control import RackView
from emulator.engine.job_control import JobView, Submission, SubmitResult, Submitted
from emulator.engine.power_control import PowerCapRequest
from emulator.engine.reservation_control import ReservationRequest, ReservationView
from emulator.openai.serving import Serving
from emulator.runtime.clients import Clients
from emulator.runtime.reads import Reads
from emulator.workload.jobs import JobColumns

T = TypeVar("T")


class Writes(Reads):
    """The inputs of ``Control``, and the requests of clients of services."""

    _clients: Clients | None = None

    @abstractmethod
    def _change(self, function: Callable[[], T]) -> T:
        """As ``_call``, for inputs that act in a later cycle. Raises WrongState if there will be none."""

    @abstractmethod
    def _stamp_ns(self) -> int:
        """The cycle in which an input that is accepted now acts."""

    @abstractmethod
    def asked_speed(self) -> float:
        """Emulated seconds per wall second, as asked for; inf: as fast as it can."""

    def askable(self) -> Serving | None:
        """Its services, to be asked request by request; None where there are none."""
        if self._clients is None and self._engine.services is not None:
            self._clients = Clients(self._engine, self)
        return self._clients

    @abstractmethod
    def _paced_ns(self) -> int:
        """What the emulated clock reads now."""

    def submit(self, jobs: JobColumns, request_id: str = "") -> SubmitResult:
        """``submit_all`` of one batch; raises why it was refused."""
        (answer,) = self.submit_all([Submission(jobs, request_id)])
        if isinstance(answer, ControlError):
            raise answer
        return answer.result

    def submit_all(self, submissions: Sequence[Submission]) -> list[Submitted | ControlError]:
        return self._change(lambda: self._inputs.submit(submissions, self._stamp_ns()))

    def cancel(self, job_id: int, request_id: str = "") -> JobView:
        return self._change(lambda: self._inputs.cancel(job_id, self._stamp_ns(), request_id))

    def hold(self, job_id: int, request_id: str = "") -> JobView:
        return self._change(lambda: self._inputs.hold(job_id, self._stamp_ns(), request_id, held=True))

    def release(self, job_id: int, request_id: str = "") -> JobView:
        return self._change(lambda: self._inputs.hold(job_id, self._stamp_ns(), request_id, held=False))

    def set_priority(self, job_id: int, priority: int, request_id: str = "") -> JobView:
        return self._change(lambda: self._inputs.set_priority(job_id, priority, self._stamp_ns(), request_id))

    def cordon(self, rack: int, *, cordoned: bool, request_id: str = "") -> RackView:
        return self._change(lambda: self._inputs.cordon(rack, self._stamp_ns(), cordoned=cordoned, request_id=request_id))

    def reserve(self, asked: ReservationRequest, *, request_id: str = "") -> ReservationView:
        return self._change(lambda: self._inputs.reserved.reserve(asked, self._stamp_ns(), request_id))

    def end_reservation(self, name: str, *, request_id: str = "") -> ReservationView:
        return self._change(lambda: self._inputs.reserved.end(name, self._stamp_ns(), request_id))

    def inject_fault(self, fault: FaultRequest, *, request_id: str = "") -> str:
        return self._change(lambda: self._inputs.faults.inject(fault, self._stamp_ns(), request_id))

    def clear_fault(self, name: str, *, request_id: str = "") -> str:
        return self._change(lambda: self._inputs.faults.clear(name, self._stamp_ns(), request_id))

    def scale_service(self, name: str, replicas: int, *, request_id: str = "") -> str:
        return self._change(lambda: self._inputs.scale_service(name, replicas, self._stamp_ns(), request_id))

    def ask_service(self, name: str, prompt_tokens: int, output_tokens: int, priority: int = 0) -> int:
        """A request comes to a service now, by the emulated clock. Returns the number under which its progress is told (``askable``).

        Of requests that wait, those of higher ``priority`` go first.
        """

        def ask() -> int:
            at_ns = self._paced_ns()
            stamp_ns = max(self._stamp_ns(), self._engine.boundary(at_ns + 1))
            return self._inputs.ask_service(name, prompt_tokens, output_tokens, priority, at_ns, stamp_ns)

        return self._change(ask)

    def leave_service(self, number: int) -> None:
        """The client of that request goes away."""

        def leave() -> None:
            at_ns = self._paced_ns()
            self._inputs.leave_service(number, at_ns, max(self._stamp_ns(), self._engine.boundary(at_ns + 1)))

        self._change(leave)

    def cap_power(self, asked: PowerCapRequest, *, request_id: str = "") -> str:
        return self._change(lambda: self._inputs.cap_power(asked, self._stamp_ns(), request_id))
