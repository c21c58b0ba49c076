"""The fingerprint of a result: equal digests mean the same answer, whatever the number of actors, the machine or the wall clock."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from emulator.report.outcome import JobTable

#: Changes whenever the bytes below do, so that digests of two formats never agree by chance.
FORMAT = b"gigawatt digest 1\n"

_JOB = np.dtype(
    [
        ("job_id", "<i8"),
        ("submit_ns", "<i8"),
        ("start_ns", "<i8"),
        ("end_ns", "<i8"),
        ("gpus", "<i4"),
        ("preemptions", "<i4"),
        ("restarts", "<i4"),
        ("state", "<i4"),
        ("placement_rows", "<i8"),
    ]
)
_PLACEMENT = np.dtype([("block", "<i8"), ("host_mask", "<u8"), ("gpu_mask", "<u8")])
_CHUNK = 1 << 16


def digest(
    jobs: JobTable,
    placement_start: NDArray[np.int64],
    placement_block: NDArray[np.int32],
    placement_host_mask: NDArray[np.uint64],
    placement_gpu_mask: NDArray[np.uint64],
    *,
    rack_energy_joules: NDArray[np.float64],
    served: NDArray[np.int64] | None = None,
) -> str:
    """SHA-256 in hexadecimal, over little-endian bytes.

    In order: the format version; the number of jobs; a record per job in order of id (id, submit, start and end in ns, GPUs, preemptions,
    restarts, state, number of placement rows); the placement rows (block, host mask, GPU mask) of the jobs in the same order, each job's
    rows by (block, GPU mask, host mask); the number of racks; the float64 bits of each rack's energy; where anything serves, ``served``. A
    job's last placement counts, also after its end.

    Parameters
    ----------
    jobs
        Any order; the row of a job also names its placement.
    placement_start
        Shape (jobs + 1,): the rows of job i are ``placement_start[i]:placement_start[i + 1]`` of the three placement arrays.
    rack_energy_joules
        Shape (racks,), in rack order, at the run's end.
    served
        What became of the requests of services; None where nothing serves.

    Raises
    ------
    ValueError
        Where ids repeat or ``placement_start`` has the wrong length.
    """
    count = len(jobs)
    if len(placement_start) != count + 1:
        raise ValueError(f"placement_start has {len(placement_start)} entries for {count} jobs; allowed: {count + 1}")
    order = np.argsort(jobs.job_id, kind="stable")
    ids = jobs.job_id[order]
    if count and bool((ids[1:] == ids[:-1]).any()):
        raise ValueError("job ids repeat")
    rows = np.diff(placement_start)[order]
    state = hashlib.sha256(FORMAT)
    state.update(np.int64(count).astype("<i8").tobytes())
    for first in range(0, count, _CHUNK):
        part = order[first : first + _CHUNK]
        records = np.empty(len(part), dtype=_JOB)
        for name in _JOB.names or ():
            records[name] = rows[first : first + _CHUNK] if name == "placement_rows" else getattr(jobs, name)[part]
        state.update(records.tobytes())
    for first in range(0, count, _CHUNK):
        part, lengths = order[first : first + _CHUNK], rows[first : first + _CHUNK]
        job = np.repeat(np.arange(len(part)), lengths)
        index = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(placement_start[part], lengths)
        by_block = np.lexsort((placement_host_mask[index], placement_gpu_mask[index], placement_block[index], job))
        index = index[by_block]
        records = np.empty(len(index), dtype=_PLACEMENT)
        records["block"], records["host_mask"] = placement_block[index], placement_host_mask[index]
        records["gpu_mask"] = placement_gpu_mask[index]
        state.update(records.tobytes())
    state.update(np.int64(len(rack_energy_joules)).astype("<i8").tobytes())
    state.update(np.ascontiguousarray(rack_energy_joules, dtype="<f8").tobytes())
    if served is not None:
        state.update(np.ascontiguousarray(served, dtype="<i8").tobytes())
    return state.hexdigest()
