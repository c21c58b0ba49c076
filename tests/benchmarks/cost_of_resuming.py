"""CPU seconds of an emulated day of a scenario, in-process: as a batch run, or repeated from a journal that had reached its last cycle.

``python -m tests.benchmarks.cost_of_resuming SCENARIO batch|resume INPUTS`` prints a JSON object. Of ``INPUTS`` submissions, one job each,
spread evenly over the day, both have the same: the batch run is given them at its start.
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.runtime.submissions import payload_of
from emulator.scenario import Scenario
from emulator.scenario.load import load
from emulator.store.journal import Journal
from emulator.workload.jobs import API_FIRST_ID, SECOND, job_columns

DAY_NS = 86_400 * SECOND


def written(directory: Path, scenario: Scenario, inputs: int) -> None:
    """Leave a journal in ``directory`` as a live session of ``scenario`` would."""
    session = open_session(scenario, state_dir=directory)
    journal = session._journal
    assert journal is not None
    for number in range(inputs):
        stamp_ns = session._engine.boundary(DAY_NS // inputs * number)
        jobs = job_columns(1, submit_ns=stamp_ns, gpus=8 * (1 + number % 16), duration_ns=1800 * SECOND, job_id=API_FIRST_ID + number)
        journal.append(stamp_ns, "submit", payload_of(jobs), f"request-{number}", "0" * 64, {})
    journal.reach(DAY_NS - scenario.clock.cycle)
    session.close()


def run(name: str, how: str, inputs: int) -> dict[str, Any]:
    scenario = load(name, ["runtime.actors=inline"])
    with TemporaryDirectory() as folder:
        written(Path(folder), scenario, inputs)
        begun, wall = time.process_time(), time.monotonic()
        if how == "resume":
            session = open_session(scenario, state_dir=Path(folder))
            now_ns = session._engine.now_ns
        else:
            session = open_session(scenario)
            now_ns = batch(session, Path(folder))
        spent = {"cpu_seconds": time.process_time() - begun, "wall_seconds": time.monotonic() - wall}
        session.close()
    return spent | {"emulated_seconds": now_ns / SECOND}


def batch(session: Session, directory: Path) -> int:
    journal = Journal.copy(directory)
    for record in journal.inputs():
        session._inputs.take_up(record)
    journal.close()
    session.run_to_end()
    return session._engine.now_ns


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
