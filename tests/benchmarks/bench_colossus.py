"""A day of Colossus through the command line, on Ray: wall time and memory as the run itself reports them, and one digest everywhere."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.benchmarks.clocks import ROOT

MOST_WALL_SECONDS, MOST_BYTES = 60.0, 2.5 * 2**30
ACTORS = ("inline", "1", "2", "5", "auto")


@pytest.fixture(scope="module")
def summaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    done = {}
    for actors in ACTORS:
        folder = tmp_path_factory.mktemp(f"actors-{actors}")
        command = [sys.executable, "-m", "emulator.cli", "run", "colossus", "--until", "24h", "--seed", "1", "--actors", actors]
        subprocess.run([*command, "-o", folder], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        done[actors] = json.loads((folder / "summary.json").read_text())
    return done


def test_a_day_of_colossus(summaries: dict[str, dict[str, Any]], row: Callable[..., None]) -> None:
    inline = summaries["inline"]
    for actors, summary in summaries.items():
        row(
            "gigawatt run colossus --until 24h --seed 1",
            actors=f"{actors} ({summary['actors']})",
            wall_s=summary["wall_seconds"],
            wall_over_inline=summary["wall_seconds"] / inline["wall_seconds"],
            cpu_over_inline=summary["cpu_seconds"] / inline["cpu_seconds"],
            peak_GiB=summary["peak_rss_bytes"] / 2**30,
            digest=summary["digest"][:12],
        )
    assert inline["jobs"]["submitted"] >= 20_000
    assert len({summary["digest"] for summary in summaries.values()}) == 1
    for summary in summaries.values():
        assert summary["wall_seconds"] <= MOST_WALL_SECONDS
        assert summary["peak_rss_bytes"] <= MOST_BYTES
