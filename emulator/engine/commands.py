"""Inputs of a live emulation besides the scenario, as the engine acts on them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Submit:
    """Jobs that the scheduler knows already are submitted."""

    slots: range


@dataclass(frozen=True)
class Cancel:
    slot: int


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
class ScaleLink:
    """A fault leaves a link ``remaining_ratio`` of its healthy capacity for ``duration_ns``; of several at once the worst counts."""

    link: int
    remaining_ratio: float
    duration_ns: int


@dataclass(frozen=True)
class MendLink:
    """Fault ``number`` of a link is over."""

    link: int
    number: int


Command = Submit | Cancel | Cordon | BreakHosts | ScaleLink | MendLink
