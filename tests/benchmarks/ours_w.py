"""W through our scheduler, engine and rack shards in one process: the peer of ``accasim_w``.

``python -m tests.benchmarks.ours_w SWF GPUS fifo|easy`` prints a JSON object: CPU seconds of the run (reading the SWF file included,
building the cluster not), and every job's start. HGX hosts of 8 GPUs, cycle 1 s, no faults, placement ``consolidate``; racks and their
power are kept as in any run.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from emulator.engine.engine import Engine
from emulator.engine.loop import Loop
from emulator.engine.network import Network
from emulator.engine.settings import EngineSettings
from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.jobs import SECOND
from emulator.workload.readers import open_trace
from tests.benchmarks.workload_w import GPUS_PER_HOST
from topology import catalog
from topology.clos import ClosPlan, build
from topology.compile import compile_cluster


def run(swf: Path, gpus: int, policy: str) -> dict[str, Any]:
    begun = time.process_time()
    plan = ClosPlan(name="w", host=catalog.host("hgx-h100"), switch=catalog.switch("sn5600"), hosts=gpus // GPUS_PER_HOST, hosts_per_rack=8)
    cluster = compile_cluster(build(plan))
    scheduler = Scheduler(cluster, SchedulerSettings(POLICIES[policy], placement=PLACEMENTS["consolidate"]), cycle_ns=SECOND)
    shards = InlineShards(cluster, RackSettings(FaultSettings(enabled=False)), FabricSettings(), seed=1)
    network = Network(cluster, FabricSettings(), scheduler.table, shards.plane_count)
    built = time.process_time()
    source, report = open_trace(swf, "swf")
    engine = Engine(cluster, scheduler, shards, network, source, EngineSettings(cycle_ns=SECOND))
    loop = Loop(engine, lambda: None, endless=False)
    while not loop.finished:
        loop.step()
    readings = engine.read()
    ended = time.process_time()
    assert report.kept == sum(engine.chronicle.waits.counts), "every job of W starts"
    assert sum(int(shard.gpus_busy.sum()) for shard in readings.racks) == 0, "and ends"
    table = scheduler.table
    starts = dict(zip(table.job_id, table.first_start_ns, strict=True))
    return {
        "cpu_seconds": ended - built,
        "startup_seconds": built - begun,
        "starts": [starts[number] // SECOND for number in sorted(starts)],
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
