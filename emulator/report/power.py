"""The section ``power`` of the summary: caps and what they cost, sites, requests to draw less, and swings.

- ``capped_seconds``: while a clock was lowered or a job paused; ``over_cap_seconds``: while more was drawn than allowed with all jobs
  paused.
- ``slowdown_ratio``: the time that work took over what it would have taken at the full clock, of all jobs, by GPU time; pauses are
  ``paused`` of ``gpu_seconds``. ``lowest_clock_ratio``: of the full clock.
- ``joules_per_token``: of the training jobs that trained on a known number of tokens, their energy over the tokens of steps that lasted:
  starts, waits and lost work included, without PUE and switches. None where there are none.
- ``pue_ratio``: facility energy over IT energy. ``sites``: the energy, water and carbon of each, in whole numbers at the head; they add
  up to the whole exactly. Carbon is 0 where the scenario has no series of it.
- ``rows``: None where rows have no caps. How many have one, how many were ever ``slowed``, and the few that came nearest to theirs:
  the most that they drew at the end of a cycle (0 where no row could have broken its cap), and their lowest clock.
- ``heat``: None where it is not modelled. The hottest that a GPU was that computed all the time (None: none ran), and for how long heat
  bounded a clock anywhere.
- ``batteries``: None where they do not act. What all took and gave at the meters, and the least that one held, of its whole energy.
- ``events``: what was asked for (``reduce_ratio`` or ``to_watts``), what was drawn when it began (``before_watts``), the cap that
  followed, the most that was drawn at the end of a cycle during it and whether that held, ``saved_joules``: at the meter, against drawing
  ``before_watts`` all the time, and ``lost_gpu_seconds``: the part of GPU time that work took longer or stood still during it, at all
  sites.
- ``swings``: by site, the largest of one training job with its steps, and what ``power.smoothing`` leaves of it: ``band_ratio`` is the
  part of the spectrum's energy between 0.1 and 20 Hz, of the site's power at the mean of the run; ``together_watts`` is the most if all
  jobs went in step.
"""

from collections.abc import Mapping
from math import fsum
from typing import Any

import numpy as np

from emulator.engine.batteries import Batteries
from emulator.engine.demand_response import Response, told_place
from emulator.engine.engine import Engine
from emulator.engine.facility_meter import Used, total
from emulator.engine.hot_zones import HotZones
from emulator.engine.power_settings import FACILITY, UNCAPPED, OverCap
from emulator.engine.rows import Rows
from emulator.power.clocks import CLOCK_RATIO, FULL
from emulator.power.series import NEVER
from emulator.power.swings import LIMIT_RATIO, Smoothing, Swing, band_ratio, smoothed
from emulator.report.outcome import JobTable
from emulator.workload.jobs import SECOND

#: Rows that the summary names.
ROWS_TOLD = 10


def power_summary(
    engine: Engine, jobs: JobTable, gpu_seconds: Mapping[str, float], over_cap: OverCap, smoothing: Smoothing
) -> dict[str, Any]:
    """After the engine's ``finish``."""
    power, names, now_ns = engine.power, engine.cluster.site_names, engine.now_ns
    used = power.facility.all(now_ns)
    work = sum([gpu_seconds[phase] for phase in ("productive", "network_wait", "redone")])
    together = total(used)
    cap = power.caps.get(FACILITY)
    return {
        "cap_watts": None if cap is None else cap / 1000,
        "over_cap": str(over_cap),
        "capped_seconds": power.acting.until(now_ns) / SECOND,
        "over_cap_seconds": power.over.until(now_ns) / SECOND,
        "slowdown_ratio": (work + gpu_seconds["power_wait"]) / work if work else None,
        "lowest_clock_ratio": CLOCK_RATIO[power.lowest_clock],
        "joules_per_token": joules_per_token(jobs),
        "pue_ratio": together.facility / (together.it * 1_000_000) if together.it else None,
        "carbon_grams": together.carbon_grams,
        "sites": {name: _site(one) for name, one in zip(names, used, strict=True)},
        "rows": None if power.rows is None else _rows(power.rows),
        "heat": None if power.heat is None else _heat(power.heat, now_ns),
        "batteries": None if power.batteries is None else _batteries(power.batteries),
        "events": [_event(response, names) for response in power.response.responses],
        "swings": {name: _swings(engine, site, smoothing) for site, name in enumerate(names)},
    }


def joules_per_token(jobs: JobTable) -> float | None:
    """Of the training jobs whose tokens are known; None where there are none."""
    known = jobs.tokens > 0.0
    return fsum(jobs.energy_joules[known].tolist()) / fsum(jobs.tokens[known].tolist()) if known.any() else None


def _batteries(batteries: Batteries) -> dict[str, float]:
    return {
        "charged_joules": batteries.charged / 1e12,
        "discharged_joules": batteries.discharged / 1e12,
        "least_stored_ratio": batteries.least_stored / batteries.full,
    }


def _heat(heat: HotZones, now_ns: int) -> dict[str, Any]:
    return {"hottest_celsius": heat.hottest_celsius, "throttled_seconds": heat.throttling.until(now_ns) / SECOND}


def _rows(rows: Rows) -> dict[str, Any]:
    capped = np.flatnonzero(rows.caps < UNCAPPED)
    nearest = capped[np.argsort(-rows.most_milliwatts[capped] / rows.caps[capped], kind="stable")]
    return {
        "level": rows.level,
        "capped": len(capped),
        "slowed": int((rows.lowest_clock[capped] > FULL).sum()),
        "nearest": {
            rows.names[row]: {
                "cap_watts": int(rows.caps[row]) / 1000,
                "most_watts": int(rows.most_milliwatts[row]) / 1000,
                "lowest_clock_ratio": CLOCK_RATIO[int(rows.lowest_clock[row])],
            }
            for row in nearest[:ROWS_TOLD].tolist()
        },
    }


def _site(used: Used) -> dict[str, float]:
    return {
        "it_energy_joules": used.it / 1e12,
        "facility_energy_joules": used.facility_joules,
        "water_litres": used.water_litres,
        "carbon_grams": used.carbon_grams,
    }


def _event(response: Response, names: tuple[str, ...]) -> dict[str, Any]:
    asked = response.asked
    drawn_joules = response.energy / 1e18
    return {
        "place": told_place(asked.place, names),
        "begin_seconds": response.begin_ns / SECOND,
        "end_seconds": response.end_ns / SECOND if response.end_ns < NEVER else None,
        "reduce_ratio": asked.part,
        "to_watts": None if asked.to_milliwatts is None else asked.to_milliwatts / 1000,
        "before_watts": response.before_milliwatts / 1000,
        "cap_watts": response.cap_milliwatts / 1000,
        "most_watts": response.most_milliwatts / 1000,
        "met": response.most_milliwatts <= response.cap_milliwatts,
        "saved_joules": response.before_milliwatts * (response.end_ns - response.begin_ns) / 1e12 - drawn_joules,
        "lost_gpu_seconds": response.lost / 1e12,
    }


def _swings(engine: Engine, site: int, smoothing: Smoothing) -> dict[str, Any] | None:
    """None where no training job swung."""
    found, now_ns = engine.runs.swings.largest[site], max(1, engine.now_ns)
    if found is None:
        return None
    mean_watts = engine.meter.site_milliwatt_ns(site, now_ns) / now_ns / 1000
    left = smoothed(found.swing, smoothing, found.gpus)
    return {
        "job_id": found.job_id,
        "step_seconds": found.swing.step_seconds,
        "computing_ratio": found.swing.duty,
        "plain": _swing(found.swing, mean_watts),
        "smoothed": _swing(left, mean_watts),
        "together_watts": engine.runs.swings.most[site] / 1000,
    }


def _swing(swing: Swing, site_watts: float) -> dict[str, Any]:
    ratio = band_ratio(swing, site_watts)
    return {
        "watts": swing.watts,
        "ramp_watts_per_second": swing.ramp_watts_per_second,
        "band_ratio": ratio,
        "within_limit": ratio <= LIMIT_RATIO,
    }
