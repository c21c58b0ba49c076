"""Ctrl-C in the middle of a barrier."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from emulator.fabric.settings import FabricSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.ray_shards import RayShards
from tests.runtime.conftest import Script, make_cluster

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
def test_ctrl_c_leaves_nothing_behind_and_the_last_reading_is_right(tmp_path: Path) -> None:
    """The signal goes to the whole foreground group, as a terminal sends it."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'runtime'}", "TMPDIR": str(tmp_path)}
    program = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "runtime" / "endless.py"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert program.stdout
    try:
        assert program.stdout.readline() == "running\n"
        children = psutil.Process(program.pid).children(recursive=True)
        assert len(children) >= 4
        os.killpg(program.pid, signal.SIGINT)
        out, err = program.communicate(timeout=120)
        assert (program.returncode, out) == (0, "40 racks\n"), err
        assert psutil.wait_procs(children, timeout=30)[1] == []
        assert list(tmp_path.glob("gigawatt-*")) == []
    finally:
        program.kill()
        program.wait()


@pytest.mark.ray
@pytest.mark.parametrize("who", ["actor", "driver"])
def test_a_program_that_catches_ctrl_c_in_mid_message_can_go_on(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read the beginning of an answer: of an actor, or of the process that drives Ray when an actor is to be made anew."""

    def interrupted(reader: Any, *_: Any) -> None:
        os.read((reader if who == "actor" else reader._connection).fileno(), 3)
        raise KeyboardInterrupt

    shards = RayShards(make_cluster(), RackSettings(), FabricSettings(), 5, actors=2)
    try:
        expected = Script.readings(shards.read(0))
        if who == "driver":
            next(child for child in psutil.Process().children(recursive=True) if child.name().startswith("ray::Shar")).kill()
        with monkeypatch.context() as patched:
            patched.setattr("emulator.runtime." + ("line.Line.receive" if who == "actor" else "ray_link.RayLink._hear"), interrupted)
            with pytest.raises(KeyboardInterrupt):
                shards.read(0)
        assert Script.readings(shards.read(0)) == expected
        assert shards.rebuilds == 2, "both, since either may have run what was sent"
    finally:
        shards.close()
