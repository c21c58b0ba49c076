"""Caps on power that are asked for while an emulation runs: seen at once, journalled, repeated by a replay, told in files."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import InvalidRequest, NotFound, WrongState
from emulator.engine.power_control import PowerCapRequest
from emulator.engine.power_settings import FACILITY
from emulator.power.clocks import CLOCK_RATIO, SLOWDOWN
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario, load
from emulator.workload.jobs import SECOND, job_columns
from tests.session.conftest import BUSY
from tests.session.test_journal import inputs_of


def test_a_cap_is_seen_and_lifted(paused: Callable[..., Session]) -> None:
    made = paused()
    facility, site = made.power().places
    assert (facility.name, facility.cap_watts, facility.clock_ratio) == ("facility", 0.0, 1.0)
    assert facility.power_watts == pytest.approx(site.power_watts)
    assert made.cap_power(PowerCapRequest(50e3, site.name, 60.0)) == f"{site.name} draws at most 50,000 W from 0 s on for 60 s"
    made.step(1)
    assert [place.cap_watts for place in made.power().places] == [0.0, 50e3]
    made.cap_power(PowerCapRequest(0.0, site.name))
    made.step(1)
    assert [place.cap_watts for place in made.power().places] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        (PowerCapRequest(1e6, "mars"), NotFound, "there is no site 'mars'"),
        (PowerCapRequest(-1.0), InvalidRequest, "watts is -1"),
        (PowerCapRequest(float("nan")), InvalidRequest, "watts is nan"),
        (PowerCapRequest(1e6, "", -5.0), InvalidRequest, "duration is -5"),
        (PowerCapRequest(1e6, "", 1e12), InvalidRequest, "duration is"),
    ],
)
def test_what_is_no_cap(paused: Callable[..., Session], asked: PowerCapRequest, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        paused().cap_power(asked)


def test_caps_that_do_not_act_are_not_taken(paused: Callable[..., Session]) -> None:
    with pytest.raises(WrongState, match="caps do not act in this scenario"):
        paused("power.over_cap=none").cap_power(PowerCapRequest(1e6))


def test_a_batch_run_that_is_given_the_journal_caps_as_the_session_did(
    session: Callable[..., Session], scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    """The cap is met in its cycle and told with what it cost; a request id gets the first answer."""
    live = session(BUSY, state_dir=tmp_path / "state")
    live.pause()
    live.start()
    live.step(100)
    asked = PowerCapRequest(200e3, "", 3600.0)
    said = live.cap_power(asked, request_id="a")
    assert live.cap_power(asked, request_id="a") == said
    live.set_speed(float("inf"))
    live.resume()
    assert live.wait(120)
    assert live._outcome is not None
    values = summary(live._outcome)
    (event,) = values["power"]["events"]
    assert (event["to_watts"], event["met"], event["end_seconds"] - event["begin_seconds"]) == (200e3, True, 3600.0)
    assert event["most_watts"] <= 200e3
    assert event["lost_gpu_seconds"] == pytest.approx(values["gpu_seconds"]["power_wait"] + values["gpu_seconds"]["paused"], rel=0.05)
    live.close()
    rows = inputs_of(tmp_path / "state")
    assert [row.kind for row in rows] == ["power", "end"]
    again = open_session(scenario(BUSY))
    for row in rows:
        again._inputs.take_up(row)
    outcome = again.run_to_end()
    assert outcome.digest == rows[-1].payload["digest"]
    assert summary(outcome)["power"] == values["power"]
    again.close()


def test_all_of_colossus_under_its_own_cap_and_under_less() -> None:
    """Its 100,000 GPUs, computing: below 150 MW (1.3 kW a GPU with the switches), 1.05 litres a kWh; under 110 MW at what the curve
    says.
    """
    found: dict[str, dict[str, Any]] = {}
    for cap in ("150MW", "110MW"):
        settings = ("workload.kind=none", "faults.enabled=false", "clock.until=2h", "runtime.actors=inline", f"power.cap={cap}")
        with closing(open_session(load("colossus", settings))) as made:
            made.submit(job_columns(1, submit_ns=0, gpus=100_000, duration_ns=3600 * SECOND, utilization=1.0))
            engine, step = made._engine, made._loop.step
            while not made._loop.finished:
                step()
                assert engine.power.facility_milliwatts() <= engine.power.caps[FACILITY]
            found[cap] = summary(made.run_to_end())
    full, less = found["150MW"], found["110MW"]
    assert full["power"]["capped_seconds"] == 0.0
    assert full["power_watts"]["peak"] * 1.2 == pytest.approx(130.4e6, rel=0.001)
    assert full["water_litres"] / (full["it_energy_joules"] / 3.6e6) == pytest.approx(1.05, rel=1e-9)
    assert 109e6 < less["power_watts"]["peak"] * 1.2 <= 110e6
    clock = CLOCK_RATIO.index(less["power"]["lowest_clock_ratio"])
    assert less["power"]["slowdown_ratio"] == pytest.approx(SLOWDOWN[clock], rel=1e-9)
    assert less["power"]["slowdown_ratio"] == pytest.approx(1.0646, abs=1e-4)


def test_a_quarter_less_for_three_hours_costs_what_the_report_says() -> None:
    """Of a small machine with everything in it: the energy that the report says was not drawn is that of the readings."""
    settings = ("clock.until=8h", "runtime.actors=inline", "power.events=[{at: 2h, duration: 3h, reduce: 25%}]", "power.raise_after=0s")
    with closing(open_session(load("laptop", settings))) as made:
        engine, drawn = made._engine, []
        while not made._loop.finished:
            made._loop.step()
            drawn.append((engine.now_ns, engine.power.facility_milliwatts(), engine.power.facility.used(0, engine.now_ns).facility))
        (event,) = summary(made.run_to_end())["power"]["events"]
    begin, end = 2 * 3600 * SECOND, 5 * 3600 * SECOND
    assert (event["begin_seconds"], event["end_seconds"], event["met"]) == (7200.0, 18_000.0, True)
    assert all(power / 1000 <= event["cap_watts"] for at, power, _ in drawn if begin <= at < end)
    assert event["cap_watts"] == pytest.approx(event["before_watts"] * 0.75)
    used = {at: energy for at, _, energy in drawn}
    assert event["saved_joules"] == pytest.approx(event["before_watts"] * 10_800 - (used[end] - used[begin]) / 1e18, rel=1e-9)
