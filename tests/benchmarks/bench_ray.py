"""What Ray costs: a week of Colossus with one actor against the same week in one process, in CPU time of all their processes."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from statistics import median

from tests.benchmarks.clocks import ROOT

ROUNDS, MOST = 3, 1.5


def spent(actors: str) -> tuple[float, float, str]:
    """CPU seconds of the command with all that it starts, as the system counts them and as its summary does; the digest."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "emulator.cli", "run", "colossus", "--until", "7d", "--seed", "1", "--actors", actors, "--json", "-q"]
    summary = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, summary["cpu_seconds"], summary["digest"]


def test_a_week_on_one_actor_costs_at_most_half_more(row: Callable[..., None]) -> None:
    """Actors hold about a seventh of the work of Colossus, so what is above 1 is what Ray and the messages cost."""
    ratios = []
    for _ in range(ROUNDS):
        (inline, _, expected), (ray, counted, digest) = spent("inline"), spent("1")
        assert digest == expected
        assert 0.9 * ray < counted <= ray, "the summary counts what Ray's own processes cost"
        ratios.append(ray / inline)
        row("A week of colossus", inline_cpu_s=inline, one_actor_cpu_s=ray, of_which_summary_has=counted, ratio=ratios[-1], most=MOST)
    assert median(ratios) <= MOST
