"""Power as the API shows it, and what may be asked of it."""

from dataclasses import dataclass

#: That may be asked for as a cap.
MOST_WATTS = 1e15


@dataclass(frozen=True)
class PowerPlaceView:
    """A site, or the whole facility: power and cap at the meter; a cap of 0: none."""

    name: str
    power_watts: float
    cap_watts: float
    clock_ratio: float  # of the GPUs' full clock; of the facility the lowest


@dataclass(frozen=True)
class PowerView:
    """``places``: the facility, then each site."""

    places: tuple[PowerPlaceView, ...]
    pue_ratio: float
    paused_jobs: int
    capped_seconds: float  # so far


@dataclass(frozen=True)
class PowerCapRequest:
    """``watts`` at the meter, 0: lift what was asked for; of ``site``, "": the facility; for ``duration_seconds``, 0: until it is
    lifted.
    """

    watts: float
    site: str = ""
    duration_seconds: float = 0.0
