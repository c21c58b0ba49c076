"""What cannot be broken, and what no scenario may say of faults: an answer that names the place and what is allowed, never a traceback."""

import json
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
        ("fault inject gpu 0#8", "allowed: 0 to 7"),
        ("fault inject gpu 0#٣", "no host 0#"),
        ("fault inject process r99999-h00", "no host"),
        ("fault inject host 0 --cause luck", "cause is 'luck'; allowed: faulty_gpu"),
        ("fault inject slow 0 --remaining 1", "--remaining"),
        ("fault inject slow 0 --flap 1s --every 20s", "--flap"),
        ("fault inject suspect 0 --remaining 0.5", "--remaining"),
        ("fault inject leaf spine-00000/0", "no host hangs on"),
        ("fault inject cooling-unit 4", "0 to 3"),
        ("fault inject power-feed cooling-00000", "a name like feed-00001"),
        ("fault inject switch-tray 0", "the cluster has no switch tray"),
        ("fault inject power_feed 0", "power_feed"),
        ("fault clear 7", "nothing is broken"),
        ("fault clear 蛇", "no fault 蛇"),
        (f"fault clear {NINES}", "name"),
        ("fault list --limit 0", "--limit"),
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
        ("faults.units.moon.per_year=1", "moon"),
        ("faults.units.rack.racks=3", "racks"),
        ("faults.units.rack.per_year=-1", "per_year"),
        ("faults.units.power_feed.racks=0", "racks"),
        ("faults.lemons.ratio=1.5", "ratio"),
        ("faults.lemons.factor=0.5", "factor"),
        ("faults.new_hosts.burn_in=-1h", "burn_in"),
        ("faults.crews=0", "crews"),
        ("faults.crews=1.5", "crews"),
        ("faults.slow.speed=0", "speed"),
        ("faults.memory_errors=none", "memory_errors"),
        ("faults.script=nowhere.csv", "nowhere.csv"),
        ("faults.script=/dev/zero", "/dev/zero"),
        ("faults.script=[1]", "faults.script.0"),
        ("faults.script={}", "faults.script"),
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


def test_what_is_broken_is_shown_and_mended(gigawatt: Run, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The emulation is paused, so nothing breaks before a step. Another test has cut a cable."""
    monkeypatch.setenv("GIGAWATT_API", address)

    def broken() -> list[str]:
        return [fault["name"] for fault in json.loads(gigawatt("fault list -o json")[1]) if fault["target"] == "host"]

    assert broken() == []
    assert gigawatt("fault inject tray r00001-h[00-01] --for 2h --cause nic")[1].count("fails at 0 s for 7200 s") == 2
    gigawatt("clock step 1")
    assert broken() == ["r00001-h00", "r00001-h01"]
    shown = " ".join(gigawatt("fault list")[1].split())
    assert "host r00001-h00 nic 0 7,200 the host -" in shown
    code, out, err = gigawatt("fault clear r00001-h00")
    assert (code, out, err) == (0, "host r00001-h00 is mended at 10 s\n", "")
    gigawatt("clock step 1")
    assert broken() == ["r00001-h01"]
