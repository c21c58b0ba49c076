"""How much the power of a synchronous job swings with its steps, what smooths it, and a utility's limit on it. Closed forms.

All GPUs of a training job compute and wait together, so its power is a rectangular wave: ``high`` for the part ``duty`` of each step,
``low`` in the rest (Choukse et al., "Power Stabilization for AI Training Datacenters", arXiv 2508.14318, whose measured jobs have this
form). Its spectrum is that of a rectangular wave,

    |c_k|^2 = ((high - low) sin(pi k duty) / (pi k))^2 at k / step,    with the mean all together mean^2 + (high - low)^2 duty (1 - duty)

A utility's limit is a part of the energy of the spectrum between 0.1 and 20 Hz, 20 % in the paper's example. Assumed: the mean counts as
a part of the spectrum, since without it nothing that makes a swing smaller would change the ratio.
"""

from dataclasses import dataclass, replace

from emulator.draws.exact import sine_of_turns

#: The critical band in hertz, and the limit.
BAND_HERTZ, LIMIT_RATIO = (0.1, 20.0), 0.2
#: From the one power to the other: assumed, GPUs follow their load within milliseconds and a large job's hosts are apart by some of them.
TRANSITION_SECONDS = 0.1
_PI = 3.141592653589793


@dataclass(frozen=True)
class Swing:
    """``duty`` is the part of a step at ``high_watts``, between 0 and 1."""

    high_watts: float
    low_watts: float
    duty: float
    step_seconds: float

    @property
    def watts(self) -> float:
        """From low to high."""
        return self.high_watts - self.low_watts

    @property
    def mean_watts(self) -> float:
        return self.low_watts + self.watts * self.duty

    @property
    def ramp_watts_per_second(self) -> float:
        return self.watts / TRANSITION_SECONDS


@dataclass(frozen=True)
class Smoothing:
    """``floor_ratio``: GPUs that wait draw at least this part of what they draw computing (GB200: 20 to 90 %). ``gpu_joules``: stored
    in the power supplies for each GPU, which lower the peak by at most ``peak_ratio`` (GB300: 65 J, 30 %). ``battery_watts`` and
    ``battery_joules``: of a site.
    """

    floor_ratio: float = 0.0
    gpu_joules: float = 0.0
    peak_ratio: float = 0.3
    battery_watts: float = 0.0
    battery_joules: float = 0.0


def smoothed(swing: Swing, by: Smoothing, gpus: int) -> Swing:
    """What is left of a swing of ``gpus`` GPUs: first the floor, then the power supplies, then the battery.

    What stores energy takes power from the high part to the low one and leaves the mean: to take away d of the swing moves
    d duty (1 - duty) step joules in each step, lowers the peak by d (1 - duty) and raises the low by d duty.
    """
    left = replace(swing, low_watts=max(swing.low_watts, by.floor_ratio * swing.high_watts))
    least = min(left.duty, 1.0 - left.duty)
    if least <= 0.0:
        return left
    most = min(by.gpu_joules * gpus / _moved(left), by.peak_ratio * left.high_watts / (1.0 - left.duty))
    left = _levelled(left, most)
    return _levelled(left, min(by.battery_joules / _moved(left), by.battery_watts / max(left.duty, 1.0 - left.duty)))


def _moved(swing: Swing) -> float:
    """Joules in each step for each watt that is taken away."""
    return swing.duty * (1.0 - swing.duty) * swing.step_seconds


def _levelled(swing: Swing, most_watts: float) -> Swing:
    taken = min(swing.watts, most_watts)
    return replace(swing, high_watts=swing.high_watts - taken * (1.0 - swing.duty), low_watts=swing.low_watts + taken * swing.duty)


def band_ratio(swing: Swing, site_watts: float, band_hertz: tuple[float, float] = BAND_HERTZ) -> float:
    """The part of the spectrum's energy inside the band, of a site that draws ``site_watts`` in the mean with this swing in it."""
    whole = site_watts * site_watts + swing.watts * swing.watts * swing.duty * (1.0 - swing.duty)
    inside = 0.0
    for harmonic in range(1, int(band_hertz[1] * swing.step_seconds) + 1):
        if harmonic >= band_hertz[0] * swing.step_seconds:
            part = swing.watts * float(sine_of_turns(harmonic * swing.duty / 2.0)) / (_PI * harmonic)
            inside += 2.0 * part * part
    return inside / whole if whole else 0.0
