"""Inputs of a live emulation besides the scenario, as the engine acts on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from emulator.engine.link_health import Cut
from emulator.racks.faults import INJECTED, Scope
from emulator.scheduler.calendar import HostReservation


@dataclass(frozen=True)
class Submit:
    """Submit jobs that have been added to the scheduler."""

    slots: Sequence[int]


@dataclass(frozen=True)
class Cancel:
    """A job is taken out of the queue, or stopped where it runs; nothing happens to one that has ended by then."""

    job_id: int


@dataclass(frozen=True)
class Hold:
    """A pending job is put on hold, or taken off it; nothing happens to one that is no longer pending by then."""

    job_id: int
    held: bool


@dataclass(frozen=True)
class SetPriority:
    """A pending or running job gets another priority, to which its queue's is added; nothing happens to one that has ended by then."""

    job_id: int
    priority: int


@dataclass(frozen=True)
class Cordon:
    """Stop (or go on) placing jobs on hosts ``first_host`` up to ``end_host``."""

    first_host: int
    end_host: int
    cordoned: bool


@dataclass(frozen=True)
class BreakHosts:
    """Hosts ``first_host`` up to ``end_host`` fail, for ``repair_ns``: ``scope`` says what of each.

    ``target`` and ``name`` are those of the unit whose fault it is ("": of the hosts), ``cause`` is a place in CAUSES, and ``gpu`` the GPU
    where that is the scope (-1: one that is drawn). ``withdraw``: they are given to nobody first, and fail when all their jobs are gone.
    """

    first_host: int
    end_host: int
    repair_ns: int
    target: str = ""
    name: str = ""
    cause: int = INJECTED
    scope: Scope = Scope.HOST
    gpu: int = -1
    withdraw: bool = False
    crew: bool = False  # a crew has to come for the repair, which is then so much work


@dataclass(frozen=True)
class SlowDown:
    """Hosts ``first_host`` up to ``end_host`` have ``ratio`` of their speed, for ``duration_ns``; the rest as in ``BreakHosts``."""

    first_host: int
    end_host: int
    duration_ns: int
    ratio: float
    target: str
    name: str
    cause: int = INJECTED


@dataclass(frozen=True)
class CutLinks:
    """A fault of the fabric for ``duration_ns``: what ``cuts`` says, all the time or, if it flaps, for ``flap_ns`` every ``every_ns``."""

    cuts: tuple[Cut, ...]
    duration_ns: int
    flap_ns: int = 0
    every_ns: int = 0
    target: str = field(default="link", kw_only=True)
    name: str = field(default="", kw_only=True)
    cause: int = field(default=INJECTED, kw_only=True)


@dataclass(frozen=True)
class ClearFaults:
    """The faults of these numbers end now; nothing happens to one that is over by then."""

    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Reserve:
    """Hosts are reserved from now on as this says; where that is in the past already, from the present cycle on."""

    reservation: HostReservation


@dataclass(frozen=True)
class EndReservation:
    """The reservation of this name is over. Jobs that run in it run on."""

    name: str


@dataclass(frozen=True)
class CapPower:
    """From now on a place (a site, or ``power_settings.FACILITY``) draws at most so much at the meter; None: what was asked before is
    lifted.
    """

    place: int
    milliwatts: int | None
    duration_ns: int | None  # None: until it is lifted


@dataclass(frozen=True)
class ScaleService:
    """The service of this number is to have so many replicas."""

    service: int
    replicas: int


@dataclass(frozen=True)
class Ask:
    """A request comes to a service, whose progress somebody follows under this number. Higher ``priority`` goes first."""

    service: int
    number: int
    arrival_ns: int
    prompt_tokens: int
    output_tokens: int
    priority: int = 0


@dataclass(frozen=True)
class GoAway:
    """The client of that request goes away; nothing happens to one that has ended."""

    number: int
    at_ns: int


def scale_link(link: int, remaining_ratio: float, duration_ns: int) -> CutLinks:
    """A fault leaves a link ``remaining_ratio`` of its healthy capacity for ``duration_ns``; of several at once the worst counts."""
    return CutLinks((Cut(link, (), remaining_ratio),), duration_ns)


Command = (
    Submit
    | Cancel
    | Hold
    | SetPriority
    | Cordon
    | BreakHosts
    | SlowDown
    | CutLinks
    | ClearFaults
    | Reserve
    | EndReservation
    | CapPower
    | ScaleService
    | Ask
    | GoAway
)
