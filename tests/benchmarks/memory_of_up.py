"""What an endless session holds: resident memory of the head of ``gigawatt up SCENARIO --speed max`` as emulated days go by.

``python -m tests.benchmarks.memory_of_up SCENARIO DAY...`` prints a JSON object: day -> bytes (VmRSS) when the clock has passed it.
In-process, so that the head holds everything; the session is stopped after the last day.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from emulator.service.client import Client
from tests.integration.program import live

DAY_SECONDS = 86_400.0
#: Wall seconds between two looks at the clock.
LOOK_SECONDS = 0.05


def run(scenario: str, days: list[float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        live(Path(folder), scenario, "--speed", "max", "--actors", "inline", "-q") as session,
        Client(session.address("API")) as client,
    ):
        for day in days:
            while (clock := client.clock()).emulated_seconds < day * DAY_SECONDS:
                time.sleep(LOOK_SECONDS)
            found[f"{day:g}"] = {"bytes": resident_bytes(session.process.pid), "day": clock.emulated_seconds / DAY_SECONDS}
    return found


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now, shared pages whole."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], [float(day) for day in sys.argv[2:]])))
