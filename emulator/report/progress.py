"""How far a run is, as the session reports it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """``until_seconds`` is None where the run ends when its work does. Reported a few times per wall second."""

    emulated_seconds: float
    until_seconds: float | None
    speed: float  # recent emulated seconds per wall second: report.speed
    submitted: int
    pending: int
    running: int
    ended: int
    gpus_busy: int
    gpus: int
