"""Ctrl-C in the middle of a barrier."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

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
