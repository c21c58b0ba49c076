"""From a draft to the engine's JobColumns: the sound jobs, and what is wrong with the others."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.engine.control import ControlError, InvalidRequest
from emulator.service.draft import Draft, kind_of
from emulator.service.validate import MAX_NS, MAX_YEARS, faults_of
from emulator.v1 import job_pb2
from emulator.workload.jobs import LEVEL_NAMES, SECOND, JobColumns, JobKind, TrainingShape, job_columns

#: The shape of a training workload on so many GPUs, and its step's seconds on an idle fabric. Raises InvalidRequest with the field below
#: the workload where the two do not go together.
Plan = Callable[[job_pb2.TrainingWorkload, int], tuple[TrainingShape, float]]


@dataclass(frozen=True, eq=False)
class Intake:
    """``columns`` are the sound jobs (``job_id`` and ``submit_ns`` mean nothing yet); job i of them is ``rows[i]`` of the draft."""

    columns: JobColumns
    rows: NDArray[np.int64]
    errors: dict[int, ControlError]


def intake_of(draft: Draft, plan: Plan) -> Intake:
    """Judge ``draft`` and convert what is sound."""
    errors = faults_of(draft)
    kinds = np.array([kind_of(workload) for workload in draft.workloads], dtype=np.int8)[draft.workload]
    duration = draft.duration_ns.copy()
    shape, shapes = _plan_training(draft, kinds, duration, errors, plan)
    rows = np.setdiff1d(np.arange(draft.count), np.fromiter(errors, dtype=np.int64, count=len(errors)), assume_unique=True)
    known = np.array([LEVEL_NAMES.index(level) if level in LEVEL_NAMES else -1 for level in draft.levels], dtype=np.int8)
    columns = job_columns(
        len(rows),
        submit_ns=0,
        gpus=draft.gpus[rows],
        duration_ns=duration[rows],
        estimate_ns=np.where(draft.estimate_ns > 0, draft.estimate_ns, duration)[rows],
        milli_gpus=draft.milli_gpus[rows],
        kind=kinds[rows],
        priority=draft.priority[rows],
        queue=draft.queue[rows],
        tenant=draft.tenant[rows],
        utilization=draft.utilization[rows],
        checkpoint_ns=draft.checkpoint_ns[rows],
        require_level=known[draft.require_level[rows]],
        prefer_level=known[draft.prefer_level[rows]],
        preemptible=draft.preemptible[rows],
        shape=shape[rows],
        shapes=shapes,
        queues=draft.queues,
        tenants=draft.tenants,
        names=tuple(draft.names[row] for row in rows.tolist()) if draft.names else None,
    )
    return Intake(columns, rows, errors)


def _plan_training(
    draft: Draft, kinds: NDArray[np.int8], duration: NDArray[np.int64], errors: dict[int, ControlError], plan: Plan
) -> tuple[NDArray[np.int32], tuple[TrainingShape, ...]]:
    """The shape of each training job, as an index into the shapes. Fills in durations from steps and adds to ``errors``."""
    shape = np.full(draft.count, -1, dtype=np.int32)
    shapes: list[TrainingShape] = []
    planned: dict[tuple[int, int], tuple[int, float] | InvalidRequest] = {}
    field = draft.field("training")
    for row in np.flatnonzero(kinds == JobKind.TRAINING).tolist():
        if row in errors:
            continue
        key = (int(draft.workload[row]), int(draft.gpus[row]))
        training = draft.workloads[key[0]].training
        if key not in planned:
            try:
                found, step_seconds = plan(training, key[1])
                planned[key] = (len(shapes), step_seconds)
                shapes.append(found)
            except InvalidRequest as error:
                planned[key] = InvalidRequest(f"{field}.{error}", field=f"{field}.{error.field}", allowed=error.allowed)
        result = planned[key]
        if isinstance(result, InvalidRequest):
            errors[row] = result
            continue
        shape[row] = result[0]
        if training.steps:
            nanoseconds = training.steps * result[1] * SECOND
            if nanoseconds <= MAX_NS:
                duration[row] = max(1, round(nanoseconds))
            else:
                errors[row] = InvalidRequest(
                    f"{field}.steps is {training.steps}, which takes {nanoseconds / SECOND:g} s",
                    field=f"{field}.steps",
                    allowed=f"what takes at most {MAX_YEARS} years",
                )
    return shape, tuple(shapes)
