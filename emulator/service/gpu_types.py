"""GPU types by name, and the plans of training for each."""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.engine.control import InvalidRequest
from emulator.v1 import job_pb2
from emulator.workload.gpu_models import matching, names
from emulator.workload.jobs import ANY_TYPE, TrainingShape
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

    def number(self, name: str, field: str) -> int:
        """The host type called ``name``; ANY_TYPE for "". Raises InvalidRequest where that is none, or several."""
        if not name:
            return ANY_TYPE
        found = matching(self.host_types, name)
        if len(found) != 1:
            which = "no type of this cluster" if not found else f"any of {', '.join(self.host_types[one].name for one in found)}"
            raise InvalidRequest(f"{field} is {name!r:.80}, which is {which}", field=field, allowed=", ".join(names(self.host_types)))
        return found[0]
