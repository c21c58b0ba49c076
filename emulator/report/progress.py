"""How far a run is: what the session tells whoever watches it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """``until_seconds`` is None where the run ends when its work does. Reported a few times per wall second."""

    emulated_seconds: float
    until_seconds: float | None
    wall_seconds: float
    submitted: int
    pending: int
    running: int
    ended: int
    gpus_busy: int
    gpus: int

    @property
    def speed(self) -> float:
        """Emulated seconds per wall second so far."""
        return self.emulated_seconds / self.wall_seconds if self.wall_seconds > 0 else 0.0
