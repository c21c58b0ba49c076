"""One scenario that serves, through the public session: wall and CPU seconds of its run after start-up, and its peak of memory.

``python -m tests.benchmarks.cost_of_serving SCENARIO [KEY=VALUE]...`` prints a JSON object. CPU seconds are those of this process.
"""

import json
import sys
import time
from contextlib import closing
from typing import Any

from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from tests.benchmarks.cost_of_events import peak_bytes


def run(scenario: str, *overrides: str) -> dict[str, Any]:
    with closing(open_session(load(scenario, list(overrides)))) as session:
        begun, cpu = time.monotonic(), time.process_time()
        outcome = session.run_to_end()
        spent = {"wall_seconds": time.monotonic() - begun, "cpu_seconds": time.process_time() - cpu}
    assert outcome.inference is not None
    return spent | {"digest": outcome.digest, "requests": outcome.inference["requests"], "peak_bytes": peak_bytes()}


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:])))
