"""One scenario, in-process through the public session: CPU seconds of its run after start-up, and the most memory the process ever held.

``python -m tests.benchmarks.cost_of_events SCENARIO [KEY=VALUE]...`` prints a JSON object. The peak is the kernel's high-water mark of
resident memory (``VmHWM``), start-up included; shared pages count whole, so it is at least the PSS.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from emulator.cli.sessions import what_is_built_stays
from emulator.runtime.opening import open_session
from emulator.scenario.load import load


def run(scenario: str, *overrides: str) -> dict[str, Any]:
    begun = time.process_time()
    session = open_session(load(scenario, ["runtime.actors=inline", *overrides]))
    with what_is_built_stays():  # as the command does
        opened = time.process_time()
        outcome = session.run_to_end()
        ended = time.process_time()
    session.close()
    return {
        "cpu_seconds": ended - opened,
        "startup_seconds": opened - begun,
        "peak_bytes": peak_bytes(),
        "gpus": outcome.gpus,
        "jobs": len(outcome.jobs),
        "events": outcome.events,
    }


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
