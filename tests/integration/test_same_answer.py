"""One answer, wherever and however it is computed: the digest of Colossus with every model on, over shards, runtimes, pacing and killed
actors.
"""

import json
from pathlib import Path

import pytest

from tests.every_model import EVERY_MODEL, SERVING
from tests.integration.program import live, run
from tests.prometheus import wait_until

DAY = ("colossus", "--until", "3h", "--seed", "7", "--set", "faults.host_rate_per_1000_node_days=40")
#: And what brings about more of it.
OFTEN = (
    *("workload.generated.checkpoint=young", "scheduler.preemption=true", "scheduler.preempt_after=10m", "scheduler.elastic=always"),
    *("scheduler.defragment=true", "fabric.faults.cable_percent_per_month=1"),
)
SCENARIO = (*DAY, *(word for setting in EVERY_MODEL + SERVING + OFTEN for word in ("--set", setting)))
#: What need not happen in so short a day.
RARE = {"stalled", "draining", "paused"}


@pytest.fixture(scope="module")
def digest() -> str:
    """In-process."""
    summary, _ = run("run", *SCENARIO, "--actors", "inline")
    assert summary["jobs"]["restarts"] > 0
    assert summary["inference"]["completed"] > 1e6
    assert all(time > 0 for phase, time in summary["gpu_seconds"].items() if phase not in RARE), summary["gpu_seconds"]
    return str(summary["digest"])


@pytest.mark.parametrize("actors", [1, 2, 5])
def test_actors_do_not_matter(digest: str, actors: int) -> None:
    summary, _ = run("run", *SCENARIO, "--actors", actors)
    assert (summary["digest"], summary["actors"]) == (digest, actors)


def test_batch_and_live_agree_and_killed_actors_do_not_matter(digest: str, tmp_path: Path) -> None:
    """Both actors are killed while it runs; they are made anew and replay what they were sent."""
    with live(tmp_path, *SCENARIO, "--actors", "2", "--speed", "1200", "-o", tmp_path / "out", "-q") as session:
        session.address("API")
        wait_until(lambda: len(session.actors()) == 2, 60, "two actors")
        victims = session.actors()
        victims[0].kill()
        wait_until(lambda: len({actor.pid for actor in session.actors()} - {victims[0].pid}) == 2, 60, "the first to be made anew")
        victims[1].kill()
        assert session.process.wait(180) == 0, session.printed
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["digest"] == digest
    assert summary["actors"] == 2
