"""How the benchmarks measure: CPU time, in processes of their own where that matters, and medians.

Wall time on a shared machine says more about its other users than about the code; CPU time says less of them, and ratios within one run
less again.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def in_process_of_its_own(module: str, *arguments: object) -> dict[str, Any]:
    """What ``python -m tests.benchmarks.MODULE ARGUMENTS`` printed, which is a JSON object."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def cpu_seconds(work: Callable[[], object], *, least: float = 0.05) -> float:
    """CPU time of one call of ``work`` in this process, from as many calls as take ``least`` seconds."""
    calls, begun = 0, time.process_time()
    while True:
        work()
        calls += 1
        if (spent := time.process_time() - begun) >= least:
            return spent / calls


def paired(*works: Callable[[], object], rounds: int = 5) -> tuple[float, ...]:
    """The median CPU seconds of each work, all of them measured in turn in every round; once before to warm up."""
    for work in works:
        work()
    measured = [[cpu_seconds(work) for work in works] for _ in range(rounds)]
    return tuple(median(column) for column in zip(*measured, strict=True))
