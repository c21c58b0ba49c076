"""A day of Eagle with EASY outside, in the program of the examples, against the same day with the one inside, as it is typed; and in one
process, without Ray.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from tests.benchmarks.clocks import ROOT

ROUNDS, MOST = 3, 3.0
RUN = (sys.executable, "-m", "emulator.cli", "run", "eagle", "--json", "--quiet")


def day(policy: str, *more: str) -> tuple[str, int, float]:
    """Digest, cycles for which the policy was asked, and wall seconds of the command."""
    begun = time.monotonic()
    done = subprocess.run([*RUN, *more, "--policy", policy], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    wall = time.monotonic() - begun
    values = json.loads(done.stdout)
    asked = values["outside_policy"]["cycles"] if values["outside_policy"] else 0
    return values["digest"], asked, wall


def test_a_policy_outside_costs_three_times_the_wall_time_at_most(row: Callable[..., None]) -> None:
    program = subprocess.Popen([sys.executable, ROOT / "examples" / "policy_server.py", "0"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        outside = f"grpc://127.0.0.1:{program.stdout.readline().split()[-1]}"
        days = [(day("easy"), day(outside)) for _ in range(ROUNDS)]
        inline = [(day("easy", "--actors", "inline"), day(outside, "--actors", "inline")) for _ in range(ROUNDS)]
    finally:
        program.kill()
        program.wait()
    assert all(there[0] == inside[0] for inside, there in days + inline)
    asked = days[0][1][1]
    inside_wall, outside_wall = (median(pair[which][2] for pair in days) for which in (0, 1))
    ratio = median(there[2] / inside[2] for inside, there in days)
    in_process = median(there[2] / inside[2] for inside, there in inline)
    row(
        "A day of eagle, its policy outside", asked=f"{asked:,}", inside_wall_s=inside_wall, outside_wall_s=outside_wall,
        ratio=ratio, most=MOST, in_process=in_process,
    )  # fmt: skip
    assert ratio <= MOST
