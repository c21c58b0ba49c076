"""Alibaba's GPU cluster of 2023 ("openb"): a CSV of pods with fractional GPUs in ``gpu_milli``.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", ATC'23;
alibaba/clusterdata ``cluster-trace-gpu-v2023``. A job's submission is its pod's ``creation_time`` and its running time
``deletion_time - scheduled_time``; when it was scheduled is used for nothing else. Decisions:

- a pod never scheduled (Pending) has no running time and is dropped, whatever it asked for;
- a pod without GPUs is dropped: what is emulated is GPUs;
- pods that agree in everything but their name are different pods and are all kept; names are unique;
- ``gpu_spec`` (the GPU models allowed) drops the job only where asked for by ``gpu_spec=drop``; otherwise the job is bound to the first
  of them that the cluster has, and may run on any GPU where it has none. QoS is the tenant; best effort (BE) is preemptible, the rest
  is not.

The trace is a sample: its own clock never asks for more than 66 of the cluster's 6,212 GPUs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.workload.jobs import ANY_TYPE, JobSource
from emulator.workload.readers.batches import Kept, job_batches
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import MAX_GPUS, Columns, Interned, Row, Trace, csv_rows, named
from emulator.workload.readers.times import MAX_SECONDS
from emulator.workload.readers.window import choice, window

_UNREAD = ("cpu_milli", "memory_mib", "pod_phase")
_TIMES = ("creation_time", "deletion_time", "scheduled_time")
#: The most GPUs of a host in a node list.
MAX_GPUS_OF_HOST = 32
#: The most milli-CPU or MiB of memory in a row.
_MAX_AMOUNT = 10**12
#: What a pod asks for; and with when it ran.
SHAPE = Columns(named("name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"), named("gpu_spec"), ("pod_phase", "qos", *_TIMES))
#: A host.
NODE = Columns(named("sn", "cpu_milli", "memory_mib", "gpu"), named("model"))
TIMED = Columns(named("name", "num_gpu", "gpu_milli", *_TIMES), named("gpu_spec", "qos"), _UNREAD)
OPTIONS = {
    "from": "seconds of the trace's clock",
    "until": "seconds of the trace's clock",
    "gpu_spec": "`any` (default): bound to the first model in `gpu_spec` that the cluster has, else to any GPU; `drop`: left out",
}


def _gpus(row: Row) -> tuple[int, int]:
    """(GPUs, milli-GPUs of each) of a pod; (0, 0) without GPUs."""
    gpus = row.integer("num_gpu", 0, MAX_GPUS)
    milli = row.integer("gpu_milli", 0 if gpus == 0 else 1, 1000)
    if gpus > 1 and milli != 1000:
        raise row.error("gpu_milli", f"{milli} of each of {gpus} GPUs", "1000 where num_gpu is above 1")
    return gpus, milli if gpus else 0


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the pod list. Raises TraceError."""
    drop_spec = choice(options, "gpu_spec", ("any", "drop")) == "drop"
    limits = window(options, seconds=True, dates=False)
    tenants = Interned()

    def parse(row: Row) -> Kept | str:
        fields = row.fields
        name = fields["name"]
        if not name:
            raise row.error("name", "is empty", "a name that no other pod has")
        submit_ns = row.nanoseconds("creation_time")
        gpus, milli = _gpus(row)
        if not fields["scheduled_time"]:
            return "never scheduled, so its running time is unknown"
        scheduled = row.number("scheduled_time", 0, MAX_SECONDS)
        duration_ns = row.nanoseconds("deletion_time", scheduled) - row.nanoseconds("scheduled_time")
        if reason := limits.outside(submit_ns):
            return reason
        spec = fields.get("gpu_spec") or ""
        if gpus and spec and drop_spec:
            return "asks for a GPU model"
        qos = fields.get("qos") or "default"
        return Kept(
            row.source_row,
            submit_ns,
            gpus,
            duration_ns,
            duration_ns,
            name=name,
            milli_gpus=milli,
            tenant=tenants[qos],
            preemptible=qos == "BE",
            host_type=trace.host_type(spec.split("|")) if gpus and duration_ns else ANY_TYPE,
        )

    return job_batches(trace, csv_rows(trace, TIMED), parse, limits, id_word="name", tenants=tenants)


@dataclass(frozen=True, eq=False)
class Pods:
    """What pods ask for, without times, for static fill experiments; arrays of shape (pods,)."""

    cpu_milli: NDArray[np.int64]
    memory_mib: NDArray[np.int64]
    gpus: NDArray[np.int32]
    milli_gpus: NDArray[np.int32]  # of each GPU; 0 where the pod has none
    gpu_spec: tuple[str, ...]  # GPU models allowed, separated by "|"; "" for any


def read_pods(trace: Trace) -> Pods:
    """All pods of a pod list, also of one without times. Raises TraceError."""
    numbers: list[tuple[int, int, int, int]] = []
    spec = []
    for row in _rows(trace, SHAPE):
        numbers.append((*_cpu_and_memory(row), *_gpus(row)))
        spec.append(row.fields.get("gpu_spec", ""))
    if not numbers:
        raise trace.error("no pod in it", allowed="at least one pod")
    trace.report.kept = len(numbers)
    cpu, memory, gpus, milli = np.array(numbers, np.int64).T
    return Pods(cpu, memory, gpus.astype(np.int32), milli.astype(np.int32), tuple(spec))


@dataclass(frozen=True, eq=False)
class Nodes:
    """The hosts of a node list; arrays of shape (hosts,)."""

    cpu_milli: NDArray[np.int64]
    memory_mib: NDArray[np.int64]
    gpus: NDArray[np.int32]
    model: tuple[str, ...]  # of the GPUs; "" where it has none, or the list does not say


def read_nodes(trace: Trace) -> Nodes:
    """All hosts of a node list. Raises TraceError."""
    numbers: list[tuple[int, int, int]] = []
    models = []
    for row in _rows(trace, NODE):
        numbers.append((*_cpu_and_memory(row), row.integer("gpu", 0, MAX_GPUS_OF_HOST)))
        models.append(row.fields.get("model", ""))
    if not numbers:
        raise trace.error("no host in it", allowed="at least one host")
    if not any(gpus for _, _, gpus in numbers):
        raise trace.error("no host has a GPU", column="gpu", allowed="at least one host with GPUs")
    trace.report.kept = len(numbers)
    cpu, memory, gpus = np.array(numbers, np.int64).T
    return Nodes(cpu, memory, gpus.astype(np.int32), tuple(models))


def _rows(trace: Trace, columns: Columns) -> Iterator[Row]:
    """All rows; one that does not match the header is an error."""
    for row in csv_rows(trace, columns):
        if isinstance(row, TraceError):
            raise row
        yield row


def _cpu_and_memory(row: Row) -> tuple[int, int]:
    return row.integer("cpu_milli", 0, _MAX_AMOUNT), row.integer("memory_mib", 0, _MAX_AMOUNT)
