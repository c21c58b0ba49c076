"""A part of our own Ray is killed at a random moment of a run, with SIGKILL: the digest is that of a run that nobody disturbed.

``GIGAWATT_KILLS=10`` kills each part that often, in longer runs, instead of the raylet once.
"""

import json
import os
import random
import subprocess
import time

import psutil
import pytest

from tests.integration.program import COMMAND, ROOT, descendants, run
from tests.prometheus import wait_until

KILLS = int(os.environ.get("GIGAWATT_KILLS", "1"))
SCENARIO = ("colossus", "--until", "36h" if KILLS == 1 else "96h", "--seed", "7")
LATEST_SECONDS = 1.5 if KILLS == 1 else 6.0
#: By what is in their command lines; and what is said at once. Of the others, whose loss Ray notices after seconds, a run may end before.
PARTS = {
    "raylet": ("/raylet/raylet ", ""),
    "gcs": ("/gcs_server ", ""),
    "driver": ("emulator.runtime.ray_driver", "Ray is gone"),
    "agent": ("agent", ""),
    "actor": ("ShardActor", "goes on as epoch 2"),
}

_random = random.Random(6)
CASES = [(part, _random.uniform(0.0, LATEST_SECONDS)) for part in (PARTS if KILLS > 1 else ["raylet"]) for _ in range(KILLS)]


@pytest.fixture(scope="module")
def digest() -> str:
    """In-process."""
    summary, _ = run("run", *SCENARIO, "--actors", "inline", "-q")
    return str(summary["digest"])


def named(pid: int, words: str) -> list[psutil.Process]:
    found = []
    for process in descendants(pid):
        try:
            found += [process] if words in " ".join(process.cmdline()) or words in process.name() else []
        except psutil.Error:
            continue
    return found


@pytest.mark.ray
@pytest.mark.parametrize(("part", "delay_seconds"), CASES)
def test_a_killed_part_of_ray_does_not_matter(digest: str, part: str, delay_seconds: float) -> None:
    words, said = PARTS[part]
    process = subprocess.Popen(
        [*COMMAND, "run", *SCENARIO, "--actors", "2", "--json", "-q"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children: list[psutil.Process] = []
    try:
        wait_until(lambda: len(named(process.pid, "ShardActor.serve")) == 2, 60, "two actors that serve")
        time.sleep(delay_seconds)  # a random moment of the run, not a wait for something
        children = descendants(process.pid)
        named(process.pid, words)[0].kill()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["digest"] == digest
        assert said in err
        print(err)
        assert [child for child in children if child.is_running()] == [], "nothing is left behind"
    finally:
        process.kill()
        for child in children:
            if child.is_running():
                child.kill()
