"""Caps on power that are asked for while an emulation runs: seen at once, journalled, repeated by a replay, told in files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from emulator.engine.control import InvalidRequest, NotFound, WrongState
from emulator.engine.power_control import PowerCapRequest
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario
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
