"""GPU types by name, and the plans of training for each."""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.engine.control import InvalidRequest
from emulator.v1 import job_pb2
from emulator.workload.gpu_models import matching, names
from emulator.workload.jobs import TrainingShape
from topology.catalog import HostType

#: From a training workload and a number of GPUs to its shape, and its step's seconds on an idle fabric. Raises InvalidRequest with the
#: field below the workload where the two do not go together.
Plan = Callable[[job_pb2.TrainingWorkload, int], tuple[TrainingShape, float]]


@dataclass(frozen=True)
class GpuTypes:
    """The cluster's host types, with a plan for each; ``main`` is the one that training is planned for where a job names none."""

    host_types: tuple[HostType, ...]
    plans: tuple[Plan, ...]
    main: int = 0

    def numbers(self, text: str, field: str) -> tuple[int, ...]:
        """The host types that ``text`` names, the preferred first; none for "". Raises InvalidRequest for a name of no type."""
        found: list[int] = []
        for name in text.split(",") if text else ():
            matches = matching(self.host_types, name.strip()) if name.strip() else ()
            if not matches:
                message = f"{field} names {name.strip()!r:.80}, which is no type of this cluster"
                raise InvalidRequest(message, field=field, allowed=", ".join(names(self.host_types)))
            found += matches
        return tuple(dict.fromkeys(found))
