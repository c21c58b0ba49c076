"""Closed forms at the head: power now, energy so far, and how many GPU seconds were held, free or broken."""

from dataclasses import dataclass, field


class Integral:
    """A whole number that changes at instants, and its integral over time: exact, in whatever order the changes come.

    With V the value now and M the sum of each change times its instant, the integral from 0 to t is V t - M.
    """

    __slots__ = ("_moment", "value")

    def __init__(self) -> None:
        self.value = 0
        self._moment = 0

    def change(self, at_ns: int, by: int) -> None:
        """The value is ``by`` more from ``at_ns`` on (less when negative)."""
        self.value += by
        self._moment += by * at_ns

    def until(self, at_ns: int) -> int:
        """The integral from 0 to ``at_ns``, in units of the value times nanoseconds."""
        return self.value * at_ns - self._moment


@dataclass
class Meter:
    """IT power is that of the hosts and that of the switches, of each site; every figure of power and energy at the head is arithmetic on
    these.
    """

    hosts: list[Integral] = field(default_factory=lambda: [Integral()])  # milliwatts by site
    switches: list[Integral] = field(default_factory=lambda: [Integral()])
    peak_milliwatts: int = 0  # of both together
    installed_gpus: Integral = field(default_factory=Integral)  # in service, broken ones included
    held_milli_gpus: Integral = field(default_factory=Integral)
    down_gpus: Integral = field(default_factory=Integral)  # on hosts that are broken
    idle_gpu_ns: int = 0
    fragmented_gpu_ns: int = 0
    active_micro_gpu_ns: int = 0  # SM activity so far, of runs and parts of runs that are accounted for
    active_micro_gpus: int = 0  # SM activity now, over all GPUs

    @property
    def power_milliwatts(self) -> int:
        """IT power now."""
        return self.hosts_milliwatts + self.switches_milliwatts

    @property
    def hosts_milliwatts(self) -> int:
        return sum([site.value for site in self.hosts])

    @property
    def switches_milliwatts(self) -> int:
        return sum([site.value for site in self.switches])

    def site_milliwatts(self, site: int) -> int:
        """IT power of a site now."""
        return self.hosts[site].value + self.switches[site].value

    def site_milliwatt_ns(self, site: int, at_ns: int) -> int:
        """IT energy of a site from 0 to ``at_ns``, in picojoules."""
        return self.hosts[site].until(at_ns) + self.switches[site].until(at_ns)

    @property
    def gpus(self) -> int:
        """In service now."""
        return self.installed_gpus.value

    def gpu_seconds(self, at_ns: int) -> float:
        """Integral of the GPUs in service from 0 to ``at_ns``."""
        return self.installed_gpus.until(at_ns) / 1e9

    def held_gpu_seconds(self, at_ns: int) -> float:
        """Integral of held GPUs from 0 to ``at_ns``."""
        return self.held_milli_gpus.until(at_ns) / 1e12

    def down_gpu_seconds(self, at_ns: int) -> float:
        """Integral of the GPUs on broken hosts from 0 to ``at_ns``."""
        return self.down_gpus.until(at_ns) / 1e9

    @property
    def active_gpu_seconds(self) -> float:
        """Integral of SM activity, up to where each running job was last accounted for."""
        return self.active_micro_gpu_ns / 1e15

    def hosts_joules(self, at_ns: int) -> float:
        """Energy of the hosts from 0 to ``at_ns``."""
        return sum([site.until(at_ns) for site in self.hosts]) / 1e12

    def switches_joules(self, at_ns: int) -> float:
        """Energy of the switches from 0 to ``at_ns``."""
        return sum([site.until(at_ns) for site in self.switches]) / 1e12

    def note_cycle(self, free_gpus: int, split_gpus: int, length_ns: int) -> None:
        """Note the free GPUs of the last ``length_ns``, ``split_gpus`` of them on hosts that also hold a job."""
        self.idle_gpu_ns += free_gpus * length_ns
        self.fragmented_gpu_ns += split_gpus * length_ns
        self.note_peak()

    def note_peak(self) -> None:
        """Note the power after everything at this instant; between two calls it must not have been higher."""
        self.peak_milliwatts = max(self.peak_milliwatts, self.power_milliwatts)
