"""GPU types by name, and the plans of training for each."""

from collections.abc import Callable
from dataclasses import dataclass

from emulator.engine.errors import InvalidRequest
from emulator.v1 import job_pb2
from emulator.workload.gpu_models import matching, names
from emulator.workload.jobs import TrainingShape, TypeAndPace
from topology.catalog import HostType

#: From a training workload and a number of GPUs to its shape, and its step's seconds on an idle fabric. Raises InvalidRequest with the
#: field below the workload where the two do not go together.
Plan = Callable[[job_pb2.TrainingWorkload, int], tuple[TrainingShape, float]]

#: The slowest pace; the fastest is its inverse.
_SLOWEST = 1e-3


@dataclass(frozen=True)
class GpuTypes:
    """The cluster's host types, with a plan for each; ``main`` is the one that training is planned for where a job names none."""

    host_types: tuple[HostType, ...]
    plans: tuple[Plan, ...]
    main: int = 0

    def named(self, text: str, field: str) -> tuple[TypeAndPace, ...]:
        """The host types that ``text`` names, the preferred first, with the pace of a job there; none for "".

        A pace may be given (``GB200=2.5,H100=1``). Otherwise it is taken that the job multiplies matrices: a type is as much faster than
        the first one as its GPUs' measured bf16 ceiling is higher. Raises InvalidRequest for a name of no type and for a wrong pace.
        """
        found: dict[int, float] = {}
        first: float | None = None
        for word in text.split(",") if text else ():
            name, given, pace = word.strip().partition("=")
            matches = matching(self.host_types, name.strip()) if name.strip() else ()
            if not matches:
                message = f"{field} names {name.strip()!r:.80}, which is no type of this cluster"
                raise InvalidRequest(message, field=field, allowed=", ".join(names(self.host_types)))
            for number in matches:
                flops = self.host_types[number].gpu.achievable_flops
                first = first or flops
                found.setdefault(number, _pace(pace, field) if given else flops / first)
        return tuple(found.items())


def _pace(text: str, field: str) -> float:
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not _SLOWEST <= pace <= 1 / _SLOWEST:
        raise InvalidRequest(
            f"{field} gives a pace of {text!r:.40}", field=field, allowed=f"a number from {_SLOWEST:g} to {1 / _SLOWEST:g}"
        )
    return pace
