"""Joining a Ray cluster that is not ours."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.ray
def test_a_lost_node_of_a_given_cluster_changes_nothing(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'runtime'}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0" * 64,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    program = [sys.executable, ROOT / "tests" / "runtime" / "given_cluster.py"]
    started = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = started.communicate(timeout=200)
        assert (started.returncode, out.split()[-1:]) == (0, ["same"]), out + err[-3000:]
    finally:
        for process in psutil.Process(started.pid).children(recursive=True) if started.poll() is None else []:
            process.kill()
        started.kill()
