"""Alibaba's GPU cluster of 2023 ("openb"): a CSV of pods with fractional GPUs in ``gpu_milli``.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", ATC'23;
alibaba/clusterdata ``cluster-trace-gpu-v2023``. A job's submission is its pod's ``creation_time`` and its running time
``deletion_time - scheduled_time``; when it was scheduled is used for nothing else. Decisions:

- a pod never scheduled (Pending) has no running time and is dropped, whatever it asked for;
- a pod without GPUs is dropped: what is emulated is GPUs;
- pods that agree in everything but their name are different pods and are all kept; a name that repeats the row before is malformed;
- ``gpu_spec`` (the GPU models allowed) drops the job only where asked for by ``gpu_spec=drop``; otherwise the job is bound to the first
  of them that the cluster has, and may run on any GPU where it has none. QoS is the tenant; best effort (BE) is preemptible, the rest
  is not.

The trace is a sample: its own clock never asks for more than 66 of the cluster's 6,212 GPUs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.workload.gpu_models import matching
from emulator.workload.jobs import ANY_TYPE, JobSource
from emulator.workload.readers.rows import MAX_GPUS, MAX_SECONDS, Interned, Kept, Row, Trace, TraceError, csv_rows, job_batches
from emulator.workload.readers.window import choice, seconds_window

SHAPE = ("name", "num_gpu", "gpu_milli")
REQUIRED = (*SHAPE, "creation_time", "deletion_time", "scheduled_time")
OPTIONS = ("from", "until", "gpu_spec")


def _gpus(row: Row) -> tuple[int, int]:
    """(GPUs, milli-GPUs of each) of a pod; (0, 0) without GPUs."""
    gpus = row.integer("num_gpu", 0, MAX_GPUS)
    milli = row.integer("gpu_milli", 0 if gpus == 0 else 1, 1000)
    if gpus > 1 and milli != 1000:
        raise row.error("gpu_milli", f"{milli} of each of {gpus} GPUs", "1000 where num_gpu is above 1")
    return gpus, milli if gpus else 0


def _host_type(trace: Trace, spec: str) -> int:
    """The host type of the first model in ``spec`` that the cluster has."""
    found = [number for model in spec.split("|") if model for number in matching(trace.host_types, model)]
    if spec and not found:
        trace.note("kept for any GPU: of the models asked for the cluster has none")
    return found[0] if found else ANY_TYPE


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the pod list. Raises TraceError."""
    window = seconds_window(options)
    drop_spec = choice(options, "gpu_spec", ("any", "drop")) == "drop"
    tenants = Interned()
    last_name = ""

    def parse(row: Row) -> Kept | str:
        nonlocal last_name
        fields = row.fields
        name = fields["name"]
        if not name or name == last_name:
            raise row.error("name", f"{name[:40]!r} is empty or the row before's", "a name of its own")
        last_name = name
        submit_ns = row.nanoseconds("creation_time")
        gpus, milli = _gpus(row)
        if not fields["scheduled_time"]:
            return "never scheduled, so no running time"
        scheduled = row.number("scheduled_time", 0, MAX_SECONDS)
        duration_ns = row.nanoseconds("deletion_time", scheduled) - row.nanoseconds("scheduled_time")
        if reason := window.outside(submit_ns):
            return reason
        if gpus == 0:
            return "no GPU"
        if drop_spec and fields.get("gpu_spec"):
            return "asks for a GPU model"
        if duration_ns == 0:
            return "zero duration"
        qos = fields.get("qos") or "default"
        return Kept(
            window.shift(submit_ns),
            gpus,
            duration_ns,
            duration_ns,
            milli_gpus=milli,
            tenant=tenants[qos],
            preemptible=qos == "BE",
            name=name,
            host_type=_host_type(trace, fields.get("gpu_spec") or ""),
        )

    return job_batches(trace, csv_rows(trace, REQUIRED, None), parse, Interned("default"), tenants)


@dataclass(frozen=True, eq=False)
class Pods:
    """What pods ask for, without times, for static fill experiments; arrays of shape (pods,)."""

    gpus: NDArray[np.int32]
    milli_gpus: NDArray[np.int32]  # of each GPU; 0 where the pod has none
    gpu_spec: tuple[str, ...]  # GPU models allowed, separated by "|"; "" for any


def read_pods(trace: Trace) -> Pods:
    """All pods of a pod list, also of one without times. Raises TraceError."""
    gpus, milli, spec = [], [], []
    for row in csv_rows(trace, SHAPE, None):
        if isinstance(row, TraceError):
            raise row
        count, share = _gpus(row)
        gpus.append(count)
        milli.append(share)
        spec.append(row.fields.get("gpu_spec", ""))
    if not gpus:
        raise trace.error("no pod in it", allowed="at least one pod")
    trace.report.kept = len(gpus)
    return Pods(np.array(gpus, np.int32), np.array(milli, np.int32), tuple(spec))
