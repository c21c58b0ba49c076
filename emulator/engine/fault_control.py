"""Faults as the API shows them, and what may be asked of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultRequest:
    """``target`` is one of `engine.fault_requests.OF_HOSTS` or a part of the fabric (`engine.fault_targets`), ``name`` a name or a number.

    What is part of the fabric keeps ``remaining_ratio`` of its capacity; or it flaps: down for ``flap_seconds`` every ``every_seconds``.
    """

    target: str
    name: str
    duration_seconds: float
    remaining_ratio: float = 0.0
    flap_seconds: float = 0.0
    every_seconds: float = 0.0
    cause: str = ""  # a name in `racks.faults.CAUSES`; "": injected


@dataclass(frozen=True)
class FaultView:
    """Something that is broken now."""

    fault_id: int
    target: str
    name: str
    cause: str
    since_seconds: float
    until_seconds: float | None  # None: not known yet
    takes: str  # what it takes down, in words
    host_count: int  # hosts that it has down, or withdrawn
    job_ids: tuple[int, ...]  # that it stopped
