"""The head's own closed forms: power now and energy so far, and integrals of how many GPUs were free."""

from dataclasses import dataclass


@dataclass
class Meter:
    """Exact integers: E(t) = P t - M, with P the power now in milliwatts and M the sum of each change times its instant."""

    power_milliwatts: int
    peak_milliwatts: int = 0
    _moment: int = 0
    idle_gpu_ns: int = 0
    fragmented_gpu_ns: int = 0
    active_gpu_seconds: float = 0.0
    held_gpu_seconds: float = 0.0  # of runs that ended

    def change(self, at_ns: int, milliwatts: int) -> None:
        """The power changes by ``milliwatts`` at ``at_ns``; changes may come in any order."""
        self.power_milliwatts += milliwatts
        self._moment += milliwatts * at_ns

    def energy_joules(self, at_ns: int) -> float:
        """IT energy from 0 to ``at_ns``."""
        return (self.power_milliwatts * at_ns - self._moment) / 1e12

    def note_cycle(self, free_gpus: int, split_gpus: int, length_ns: int) -> None:
        """For ``length_ns`` up to now so many GPUs could have been given out, ``split_gpus`` of them on hosts that also hold a job."""
        self.idle_gpu_ns += free_gpus * length_ns
        self.fragmented_gpu_ns += split_gpus * length_ns
        self.peak_milliwatts = max(self.peak_milliwatts, self.power_milliwatts)
