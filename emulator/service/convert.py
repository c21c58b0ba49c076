"""From a draft to the engine's JobColumns: the sound jobs, and what is wrong with the others."""

from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import NDArray

from emulator.engine.bounds import LONGEST_NS, LONGEST_YEARS
from emulator.engine.errors import ControlError, InvalidRequest, depends_on_refused
from emulator.service.draft import Draft, kind_of
from emulator.service.gpu_types import GpuTypes
from emulator.service.validate import faults_of
from emulator.workload.dependents import dependents
from emulator.workload.jobs import (
    ANY_LEVEL,
    ANY_TYPE,
    LEVEL_NAMES,
    NO_WISH,
    SECOND,
    JobColumns,
    JobKind,
    TrainingShape,
    TypeAndPace,
    job_columns,
)


@dataclass(frozen=True, eq=False)
class Intake:
    """``columns`` are the sound jobs (``job_id`` and ``submit_ns`` mean nothing yet); job i of them is ``rows[i]`` of the draft."""

    columns: JobColumns
    rows: NDArray[np.int64]
    errors: dict[int, ControlError]


def intake_of(draft: Draft, gpu_types: GpuTypes) -> Intake:
    """Judge ``draft`` and convert what is sound."""
    errors = faults_of(draft)
    types = _types(draft, gpu_types, errors)
    choices = tuple(one if len(one) > 1 or any(pace != 1.0 for _, pace in one) else () for one in types)
    single = [one[0][0] if one and not choice else ANY_TYPE for one, choice in zip(types, choices, strict=True)]
    host_type = np.array(single, dtype=np.int8)[draft.gpu_type]
    choice = np.array([index if one else -1 for index, one in enumerate(choices)], dtype=np.int32)[draft.gpu_type]
    kinds = np.array([kind_of(workload) for workload in draft.workloads], dtype=np.int8)[draft.workload]
    duration = draft.duration_ns.copy()
    shape, shapes = _plan_training(draft, kinds, host_type, choice, duration, errors, gpu_types)
    if any(draft.afters_here):
        errors |= dict.fromkeys(dependents(errors, draft.dependency, draft.afters_here), depends_on_refused(draft.field("dependency")))
    rows = np.setdiff1d(np.arange(draft.count), np.fromiter(errors, dtype=np.int64, count=len(errors)), assume_unique=True)
    place_of = {row: place for place, row in enumerate(rows.tolist())} if any(draft.afters_here) else {}
    here = [tuple((place_of[row], any_end) for row, any_end in places if row in place_of) for places in draft.afters_here]
    depends = np.array([bool(ids or places) for ids, places in zip(draft.afters, draft.afters_here, strict=True)])
    limited = np.array([parallel > 0 for parallel in draft.arrays])
    known = np.array([LEVEL_NAMES.index(level) if level in LEVEL_NAMES else -1 for level in draft.levels], dtype=np.int8)
    columns = job_columns(
        len(rows),
        submit_ns=0,
        gpus=draft.gpus[rows],
        min_gpus=np.where(draft.min_gpus < draft.gpus, draft.min_gpus, 0)[rows],
        duration_ns=duration[rows],
        estimate_ns=np.where(draft.estimate_ns > 0, draft.estimate_ns, duration)[rows],
        milli_gpus=draft.milli_gpus[rows],
        kind=kinds[rows],
        priority=draft.priority[rows],
        queue=draft.queue[rows],
        tenant=draft.tenant[rows],
        utilization=draft.utilization[rows],
        checkpoint_ns=draft.checkpoint_ns[rows],
        deadline_ns=draft.deadline_ns[rows],
        require_level=known[draft.require_level[rows]],
        prefer_level=known[draft.prefer_level[rows]],
        slice_gpus=draft.slice_gpus[rows],
        slice_level=np.where(draft.slice_gpus > 0, known[draft.slice_level], ANY_LEVEL)[rows],
        preemptible=draft.preemptible[rows],
        shape=shape[rows],
        host_type=host_type[rows],
        choice=choice[rows],
        choices=choices,
        after=np.where(depends[draft.dependency], draft.dependency, -1)[rows],
        afters=draft.afters if depends.any() else (),
        afters_here=tuple(here) if any(here) else (),
        array=np.where(limited[draft.array], draft.array, -1)[rows],
        arrays=draft.arrays if limited.any() else (),
        recovery=draft.recovery,
        reservation=0 if draft.reservation else -1,
        reservations=(draft.reservation,) if draft.reservation else (),
        locality=-1 if draft.locality == NO_WISH else 0,
        localities=() if draft.locality == NO_WISH else (draft.locality,),
        shapes=shapes,
        queues=draft.queues,
        tenants=draft.tenants,
        names=tuple(draft.names[row] for row in rows.tolist()) if draft.names else None,
    )
    return Intake(columns, rows, errors)


def _types(draft: Draft, gpu_types: GpuTypes, errors: dict[int, ControlError]) -> list[tuple[TypeAndPace, ...]]:
    """The host types that each entry of ``draft.gpu_types`` names, with the pace of the job there. Adds to ``errors``."""
    found: list[tuple[TypeAndPace, ...]] = [()] * len(draft.gpu_types)
    field = draft.field("gpu_type")
    for index, text in enumerate(draft.gpu_types):
        try:
            found[index] = gpu_types.named(text, field)
        except InvalidRequest as error:
            for row in np.flatnonzero(draft.gpu_type == index).tolist():
                errors.setdefault(row, error)
    return found


def _plan_training(
    draft: Draft,
    kinds: NDArray[np.int8],
    host_type: NDArray[np.int8],
    choice: NDArray[np.int32],
    duration: NDArray[np.int64],
    errors: dict[int, ControlError],
    gpu_types: GpuTypes,
) -> tuple[NDArray[np.int32], tuple[TrainingShape, ...]]:
    """The shape of each training job, as an index into the shapes. Fills in durations from steps and adds to ``errors``.

    A job of a model that names no type is planned for the main one, and then asks for it in ``host_type``.
    """
    shape = np.full(draft.count, -1, dtype=np.int32)
    shapes: list[TrainingShape] = []
    planned: dict[tuple[int, int, int], tuple[int, float] | InvalidRequest] = {}
    field = draft.field("training")
    for row in np.flatnonzero(kinds == JobKind.TRAINING).tolist():
        if row in errors:
            continue
        training = draft.workloads[draft.workload[row]].training
        if choice[row] >= 0 and training.WhichOneof("plan") == "model":
            errors[row] = InvalidRequest(
                f"{draft.field('gpu_type')} names several types, and a model is planned for one",
                field=draft.field("gpu_type"),
                allowed=f"one type, or {field}.step as it was measured",
            )
            continue
        if host_type[row] == ANY_TYPE and training.WhichOneof("plan") == "model":
            host_type[row] = gpu_types.main
        key = (int(draft.workload[row]), int(draft.gpus[row]), int(host_type[row]))
        plan = gpu_types.plans[gpu_types.main if key[2] == ANY_TYPE else key[2]]
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
        if (whole := lcm(shapes[result[0]].replica_gpus, shapes[result[0]].expert_gpus)) and draft.min_gpus[row] % whole:
            named = draft.field("min_gpus")
            text = f"{named} is {draft.min_gpus[row]}, and a replica of the model takes {whole} GPUs"
            errors[row] = InvalidRequest(text, field=named, allowed=f"a multiple of {whole}")
            continue
        shape[row] = result[0]
        if training.steps:
            nanoseconds = training.steps * result[1] * SECOND
            if nanoseconds <= LONGEST_NS:
                duration[row] = max(1, round(nanoseconds))
            else:
                errors[row] = InvalidRequest(
                    f"{field}.steps is {training.steps}, which takes {nanoseconds / SECOND:g} s",
                    field=f"{field}.steps",
                    allowed=f"what takes at most {LONGEST_YEARS} years",
                )
    return shape, tuple(shapes)
