"""Inputs of a live emulation besides the scenario, as the engine acts on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.engine.link_health import Cut
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
    """Hosts ``first_host`` up to ``end_host`` fail, for ``repair_ns``."""

    first_host: int
    end_host: int
    repair_ns: int


@dataclass(frozen=True)
class CutLinks:
    """A fault of the fabric for ``duration_ns``: what ``cuts`` says, all the time or, if it flaps, for ``flap_ns`` every ``every_ns``."""

    cuts: tuple[Cut, ...]
    duration_ns: int
    flap_ns: int = 0
    every_ns: int = 0


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


def scale_link(link: int, remaining_ratio: float, duration_ns: int) -> CutLinks:
    """A fault leaves a link ``remaining_ratio`` of its healthy capacity for ``duration_ns``; of several at once the worst counts."""
    return CutLinks((Cut(link, (), remaining_ratio),), duration_ns)


Command = Submit | Cancel | Hold | SetPriority | Cordon | BreakHosts | CutLinks | Reserve | EndReservation | CapPower
