"""W through accasim 1.1.3 (Galleguillos et al., Cluster Computing 23, 2020; PyPI), in a process of its own: the peer of ``ours_w``.

``python -m tests.benchmarks.accasim_w SWF GPUS fifo|easy BestFit|FirstFit`` prints a JSON object: CPU seconds of the run (reading the SWF
file included, building the system not), and every job's start.

Same work as ours: nodes of 8 cores, a core for each GPU; a gang of at most 8 asks for one node with so many cores, a larger one for whole
nodes. With that, accasim's ``BestFit`` (nodes by fewest free cores, the first such) is the rule that we call ``consolidate``. Nothing is
written to disk and nothing is shown. Its EASY asks the allocator to keep no node for the reservation (``reserved_nodes=[]``), so a
backfilled job may delay the head: it does less than EASY, and its starts differ from ours.
"""

import collections
import collections.abc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for _name in ("Mapping", "MutableMapping", "Sequence", "Iterable", "Callable"):  # as they were until Python 3.9
    setattr(collections, _name, getattr(collections.abc, _name))

from accasim.base import allocator_class, scheduler_class  # noqa: E402 - after the above
from accasim.base.simulator_class import Simulator  # noqa: E402 - after the above
from accasim.utils.reader_class import Tweaker  # noqa: E402 - after the above

from tests.benchmarks.workload_w import GPUS_PER_HOST  # noqa: E402 - after the above

#: accasim takes time 0 for "no time yet".
EPOCH_SECONDS = 1000
SCHEDULERS = {"fifo": scheduler_class.FirstInFirstOut, "easy": scheduler_class.EASYBackfilling}


class HostsOfGpus(Tweaker):  # type: ignore[misc]  # accasim has no types
    """What a row of the trace asks for."""

    def tweak_function(self, row: dict[str, Any]) -> dict[str, Any]:
        gpus = row["total_processors"]
        nodes, cores = (1, gpus) if gpus <= GPUS_PER_HOST else (gpus // GPUS_PER_HOST, GPUS_PER_HOST)
        assert nodes * cores == gpus, "W has powers of two"
        row |= {"core": gpus, "requested_nodes": nodes, "requested_resources": {"core": cores}}
        row["queue"] = row.pop("queue_number")
        row["queued_time"] += EPOCH_SECONDS
        return row


def run(swf: Path, gpus: int, policy: str, allocator: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        system = Path(folder) / "system.json"
        system.write_text(json.dumps({"groups": {"host": {"core": GPUS_PER_HOST}}, "resources": {"host": gpus // GPUS_PER_HOST}}))
        begun = time.process_time()
        simulator = Simulator(
            str(swf),
            str(system),
            SCHEDULERS[policy](getattr(allocator_class, allocator)()),
            tweak_function=HostsOfGpus(),
            scheduling_output=False,
            statistics_output=False,
            show_statistics=False,
            LOG_LEVEL="ERROR",
            RESULTS_FOLDER_PATH=folder,
        )
        made, events = simulator.job_factory.factory, []

        def noting(**row: Any) -> Any:
            events.append(made(**row))
            return events[-1]

        simulator.job_factory.factory = noting
        built = time.process_time()
        simulator.start_simulation()
        ended = time.process_time()
    starts = {int(event.id) - 1: event.start_time - EPOCH_SECONDS for event in events}
    return {"cpu_seconds": ended - built, "startup_seconds": built - begun, "starts": [starts[number] for number in sorted(starts)]}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])))
