"""SimGrid's max-min solver (Debian: libsimgrid-dev and g++) on the same flows as ours."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.benchmarks.fat_tree import Traffic

VERSION_HEADER = Path("/usr/include/simgrid/version.h")
#: Whose exported solver symbols the program declares.
VERSION = "3.32"


class Solution(NamedTuple):
    rates: np.ndarray
    cpu_seconds: float  # of System::solve() alone


def built(directory: Path) -> Callable[[Traffic, float], Solution]:
    """The program, compiled into ``directory``: traffic and the capacity of every link to rates. Skips the test where it cannot be."""
    compiler = shutil.which("g++")
    if compiler is None or not VERSION_HEADER.exists():
        pytest.skip("needs g++ and SimGrid's headers (Debian: g++, libsimgrid-dev)")
    if f'"SimGrid version {VERSION}"' not in VERSION_HEADER.read_text():
        pytest.skip(f"needs SimGrid {VERSION}, {VERSION_HEADER} is of another")
    program = directory / "simgrid_maxmin"
    source = Path(__file__).with_name("simgrid_maxmin.cpp")
    subprocess.run([compiler, "-O2", "-std=c++17", source, "-lsimgrid", "-o", program], check=True)

    def solve(traffic: Traffic, capacity: float) -> Solution:
        flows = len(traffic.start) - 1
        problem, rates = directory / "problem", directory / "rates"
        with problem.open("wb") as file:
            for column in (np.array([flows, traffic.links]), traffic.start, traffic.link):
                column.astype("<i8").tofile(file)
            np.full(traffic.links, capacity).tofile(file)
            np.full(flows, -1.0).tofile(file)
        done = subprocess.run([program, problem, rates], check=True, stdout=subprocess.PIPE, text=True)
        return Solution(np.fromfile(rates), float(done.stdout) / 1e3)

    return solve
