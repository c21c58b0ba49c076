"""What cannot be broken, and what no scenario may say of faults: an answer that names the place and what is allowed, never a traceback."""

from collections.abc import Iterator

import pytest

from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.service.server import serve
from tests.cli.conftest import Run

NINES = "9" * 5000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    session = open_session(load("superpod-b200", ["workload.kind=none", "runtime.actors=inline"]))
    session.pause()
    session.start()
    server = serve(session, "127.0.0.1:0", host_type=session.host_type)
    yield server.address
    server.stop()
    session.close()


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("fault inject switch 1000000000", "no switch 1000000000; allowed: 0 to 47"),
        ("fault inject switch -- -1", "no switch -1; allowed: 0 to 47"),
        (f"fault inject switch {NINES}", "name"),
        ("fault inject switch spine-00000", "spine-00000/0 to spine-00000/15"),
        ("fault inject switch spine-00000/16", "0 to 15"),
        ("fault inject switch spine-00000/٣", "no switch spine-00000/"),
        ("fault inject switch 蛇", "no switch 蛇"),
        ("fault inject switch /", "no switch /"),
        ("fault inject link 1056", "0 to 1055"),
        ("fault inject link leaf-00000/leaf-00001", "no link leaf-00000/leaf-00001"),
        ("fault inject cable leaf-00000/spine-00000#32", "0 to 31"),
        ("fault inject cable leaf-00000/spine-00000#", "no cable"),
        ("fault inject plane 1", "0 to 0"),
        ("fault inject nic r00000-h09:1", "no host r00000-h09"),
        ("fault inject nic r99999999999-h00:1", "no host"),
        ("fault inject nic r00000-h00:8", "0 to 7"),
        ("fault inject nic r00000-h00", "no nic"),
        ("fault inject host spine-00000/1", "number"),
        ("fault inject rack 32", "0 to 31"),
        ("fault inject moon 1", "moon"),
        ("fault inject plane 0 --for 0s", "--for"),
        ("fault inject plane 0 --for -5m", "--for"),
        ("fault inject plane 0 --for 11y", "--for"),
        ("fault inject plane 0 --for 99999999999h", "longer than a century"),
        ("fault inject plane 0 --remaining -0.1", "--remaining"),
        ("fault inject plane 0 --remaining 1", "--remaining"),
        ("fault inject plane 0 --remaining 1e-300", "0.001 up to"),
        ("fault inject plane 0 --remaining 0.0009", "0.001 up to"),
        ("fault inject plane 0 --remaining nan", "remaining"),
        ("fault inject host 0 --remaining 0.5", "--remaining"),
        ("fault inject plane 0 --flap 2s", "--every"),
        ("fault inject plane 0 --flap 40s --every 30s", "less than the time"),
        ("fault inject plane 0 --flap 1s --every 2s", "a scheduling cycle"),
        ("fault inject host 0 --flap 1s --every 20s", "--flap"),
        ("fault inject plane 0 --flap 1s --every 20s --remaining 0.5", "--flap"),
        ("link list --tier moon", "tier"),
        ("link list --limit 0", "--limit"),
    ],
)
def test_faults_that_cannot_be(gigawatt: Run, monkeypatch: pytest.MonkeyPatch, address: str, line: str, shown: str) -> None:
    monkeypatch.setenv("GIGAWATT_API", address)
    code, out, err = gigawatt(line)
    assert code in (2, 3), (code, out, err)
    assert out == ""
    assert "Traceback" not in err
    assert shown in err


@pytest.mark.parametrize("target", ["link", "cable", "switch", "plane", "nic", "host", "rack"])
@pytest.mark.parametrize("name", ["", " ", "#", ":", "/", "a#b", "0#0", "x:٣", NINES[:250], "\x00", "r00000-h00:-1", "-0", "1e3", "½"])
def test_names_of_nothing(gigawatt: Run, monkeypatch: pytest.MonkeyPatch, address: str, target: str, name: str) -> None:
    monkeypatch.setenv("GIGAWATT_API", address)
    code, _, err = gigawatt(f"fault inject {target}", "--", name)
    if (target, name) == ("cable", "0#0"):  # the first cable of link 0
        assert code == 0
    else:
        assert (code in (2, 3), "Traceback" in err) == (True, False), (code, err)


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("fabric.faults.enabled=maybe", "fabric.faults.enabled"),
        ("fabric.faults.cable_percent_per_month=-1", "cable_percent_per_month"),
        ("fabric.faults.switch_percent_per_month=nan", "switch_percent_per_month"),
        ("fabric.faults.flaps_per_cable_month=1e300", "flaps_per_cable_month"),
        ("fabric.faults.cable_repair=[2h,1h]", "cable_repair"),
        ("fabric.faults.moon=1", "moon"),
        ("jobs.stall_timeout=-1s", "stall_timeout"),
        ("jobs.stall_timeout=0s", "stall_timeout"),
        ("fabric.routing=magic", "routing"),
        ("fabric.efficiency=0", "efficiency"),
    ],
)
def test_settings_that_cannot_be(gigawatt: Run, setting: str, shown: str) -> None:
    code, _, err = gigawatt("run laptop --until 10m --actors inline -q --set", setting)
    assert code == 2, err
    assert shown in err
    assert "Traceback" not in err
