"""What tests of trace readers share: headers, rows, and reading a file whole."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.workload.jobs import JobColumns, SourceReport
from emulator.workload.readers import TraceLimits, open_trace

TRACES = Path(os.environ.get("GIGAWATT_TRACES", Path(__file__).parents[2] / "../shared/traces"))

CSV = "id,submit_s,gpus,duration_s\n"
PHILLY = "timestamp,duration,num_gpus,gpu_time,cluster\n"
OPENB = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n"
SWF = "; Version: 2.2\n"
HELIOS = "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue\n"
SACCT = "JobID|Account|Partition|Submit|Start|End|ElapsedRaw|AllocTRES|State\n"
#: The fixture ``write``: text or bytes, and a name, to a file.
Write = Callable[..., Path]
HEADERS = {"csv": CSV, "philly": PHILLY, "openb": OPENB, "swf": SWF, "helios": HELIOS, "sacct": SACCT}


def swf(*, number: object = 1, submit: object = 0, run: object = 60, allocated: object = 4, requested: object = 4, time: object = 100,
        status: object = 1, user: object = 7) -> str:  # fmt: skip
    return f"{number} {submit} 12345 {run} {allocated} -1 -1 {requested} {time} -1 {status} {user} 1 -1 1 -1 -1 -1\n"


def read_all(
    path: Path, format: str, options: Mapping[str, str] | None = None, limits: TraceLimits | None = None
) -> tuple[list[JobColumns], SourceReport]:
    batches, report = open_trace(path, format, options, limits)
    return list(batches), report


def column(batches: list[JobColumns], name: str) -> list[Any]:
    return list(np.concatenate([getattr(batch, name) for batch in batches]).tolist())


def published(name: str) -> Path:
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"needs the published trace {name} in GIGAWATT_TRACES")
    return path
