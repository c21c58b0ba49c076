"""One answer, wherever and however it is computed: the digest of Colossus over shards, runtimes, pacing and killed actors."""

import json
from pathlib import Path

import pytest

from tests.integration.program import live, run
from tests.prometheus import wait_until

SCENARIO = ("colossus", "--until", "3h", "--seed", "7", "--set", "faults.host_rate_per_1000_node_days=40")


@pytest.fixture(scope="module")
def digest() -> str:
    """In-process."""
    summary, _ = run("run", *SCENARIO, "--actors", "inline")
    assert summary["jobs"]["restarts"] > 0
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
