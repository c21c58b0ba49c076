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
    active_micro_gpu_ns: int = 0  # SM activity so far, of runs and parts of runs that are accounted for
    active_micro_gpus: int = 0  # SM activity now, over all GPUs
    _held_milli_gpus: int = 0
    _held_moment: int = 0
    gpus: int = 0  # in service
    _gpus_moment: int = 0

    def change(self, at_ns: int, milliwatts: int) -> None:
        """The power changes by ``milliwatts`` at ``at_ns``; changes may come in any order."""
        self.power_milliwatts += milliwatts
        self._moment += milliwatts * at_ns

    def install(self, at_ns: int, milliwatts: int, gpus: int) -> None:
        """So many more GPUs are in service from ``at_ns`` on, on hosts that draw ``milliwatts`` when idle."""
        self.change(at_ns, milliwatts)
        self.gpus += gpus
        self._gpus_moment += gpus * at_ns

    def gpu_seconds(self, at_ns: int) -> float:
        """Integral of the GPUs in service from 0 to ``at_ns``."""
        return (self.gpus * at_ns - self._gpus_moment) / 1e9

    def hold(self, at_ns: int, milli_gpus: int) -> None:
        """So many more GPUs are held from ``at_ns`` on (fewer when negative)."""
        self._held_milli_gpus += milli_gpus
        self._held_moment += milli_gpus * at_ns

    def held_gpu_seconds(self, at_ns: int) -> float:
        """Integral of held GPUs from 0 to ``at_ns``."""
        return (self._held_milli_gpus * at_ns - self._held_moment) / 1e12

    @property
    def active_gpu_seconds(self) -> float:
        """Integral of SM activity, up to where each running job was last accounted for."""
        return self.active_micro_gpu_ns / 1e15

    def energy_joules(self, at_ns: int) -> float:
        """IT energy from 0 to ``at_ns``."""
        return (self.power_milliwatts * at_ns - self._moment) / 1e12

    def note_cycle(self, free_gpus: int, split_gpus: int, length_ns: int) -> None:
        """For ``length_ns`` up to now so many GPUs could have been given out, ``split_gpus`` of them on hosts that also hold a job."""
        self.idle_gpu_ns += free_gpus * length_ns
        self.fragmented_gpu_ns += split_gpus * length_ns
        self.note_peak()

    def note_peak(self) -> None:
        """Everything that happens at this instant has happened: between two calls the power must not have been higher."""
        self.peak_milliwatts = max(self.peak_milliwatts, self.power_milliwatts)
