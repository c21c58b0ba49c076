"""Reserved hosts in the section ``scheduler``. The words are those of Slurm (scontrol(1), reservations)."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emulator.engine.bounds import CLOCK_END_NS
from emulator.scenario.cluster import MOST_HOSTS
from emulator.scenario.queues import Name
from emulator.scenario.section import Int, Section, as_int, as_tuple
from emulator.scenario.units import Duration, format_duration
from emulator.scheduler.calendar import MOST_TIMES

#: Reservations of a scenario.
MOST_RESERVATIONS = 100


def _as_hosts(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else as_int(value)


class ReservationSettings(Section):
    """Hosts kept from ``start`` on for ``duration``; with ``every``, ``times`` times."""

    name: Name
    #: So many hosts, or which: ``all``, or names of racks and pods and hostlists.
    hosts: Annotated[
        Annotated[Int, Field(ge=1, le=MOST_HOSTS)] | Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)],
        BeforeValidator(_as_hosts),
    ]
    gpu_type: Name | None = None  # of so many hosts
    start: Annotated[Duration, Field(ge=0, le=CLOCK_END_NS)]
    duration: Annotated[Duration, Field(gt=0, le=CLOCK_END_NS)]
    every: Annotated[Duration, Field(gt=0, le=CLOCK_END_NS)] | None = None
    times: Annotated[Int, Field(ge=1, le=MOST_TIMES)] | None = None
    maintenance: bool = False  # nobody may use the hosts
    queues: Annotated[tuple[Name, ...], BeforeValidator(as_tuple)] = ()  # whose jobs may use them; none named: all
    tenants: Annotated[tuple[Name, ...], BeforeValidator(as_tuple)] = ()
    running: Literal["drain", "requeue", "kill"] = "drain"  # what becomes of jobs that still run on them at the start

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.every is None) != (self.times is None):
            raise ValueError("every and times go together: how often, and how many times in all")
        if self.every is not None and self.every < self.duration:
            raise ValueError(f"every is {format_duration(self.every)}, less than the duration of {format_duration(self.duration)}")
        if self.start + self.duration + (self.every or 0) * ((self.times or 1) - 1) > 2 * CLOCK_END_NS:
            raise ValueError("the last of the times is more than two centuries away")
        if self.maintenance and (self.queues or self.tenants):
            raise ValueError("maintenance is for nobody: it takes no queues and tenants")
        if self.gpu_type is not None and not isinstance(self.hosts, int):
            raise ValueError("gpu_type goes with a number of hosts; hosts that are named have their type")
        return self
