"""Which jobs of a draft are valid, and what is wrong with the others: rules over columns, of which the first broken one is the error."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.engine.bounds import (
    LEAST_SECONDS,
    LONGEST_NS,
    LONGEST_STEP_SECONDS,
    LONGEST_YEARS,
    MOST_STEP_BYTES,
    MOST_STEP_FLOPS,
    MOST_STEP_HOPS,
    SHORTEST_STEP_SECONDS,
)
from emulator.engine.errors import ControlError, InvalidRequest
from emulator.service.draft import MAX_DEPENDENCIES, Draft, kind_of
from emulator.v1 import job_pb2
from emulator.workload.jobs import ANY_LEVEL, DALY, LEVEL_NAMES, SECOND, YOUNG, JobKind
from emulator.workload.training import ZERO_STAGES

MAX_NAME = 253
MAX_REQUEST_ID = 128
MAX_STEPS = 10**12
#: A Kubernetes label value: such names are safe as labels of a metric, in a terminal and in a file's name.
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_RULE = "1 to 63 letters, digits, '-', '_' or '.', a letter or digit first and last"
#: Largest values of TrainingModel's counts: far beyond any model, and small enough to plan for in no time.
MODEL_LIMITS = {
    "layers": 10_000,
    "hidden_size": 10**6,
    "attention_heads": 10**5,
    "sequence_length": 10**8,
    "vocabulary_size": 10**8,
    "global_batch_size": 10**9,
    "micro_batch_size": 10**6,
    "tensor_parallel": 10**6,
    "pipeline_parallel": 10_000,
    "interleave": 10_000,
    "expert_parallel": 10**6,
    "context_parallel": 10**6,
}
COLLECTIVES = ("ring", "tree")
#: Largest values of what a TrainingStep sends and computes.
_STEP_LIMITS = {
    "ring_bytes": MOST_STEP_BYTES,
    "pipeline_bytes": MOST_STEP_BYTES,
    "expert_bytes": MOST_STEP_BYTES,
    "state_bytes": MOST_STEP_BYTES,
    "context_bytes": MOST_STEP_BYTES,
    "model_flops": MOST_STEP_FLOPS,
    "step_tokens": MOST_STEP_FLOPS,
    "hops": MOST_STEP_HOPS,
}
_TIME_RULE = f"more than 0, at most {LONGEST_YEARS} years"


def check_request_id(request_id: str) -> None:
    """Raises InvalidRequest unless ``request_id`` is "" or at most 128 printable ASCII characters."""
    if len(request_id) > MAX_REQUEST_ID or not (request_id.isascii() and request_id.isprintable()):
        raise InvalidRequest(
            "request_id is too long or not printable", field="request_id", allowed=f"at most {MAX_REQUEST_ID} printable ASCII characters"
        )


def is_label(name: str) -> bool:
    """Whether ``name`` can be a queue's or a tenant's."""
    return _LABEL.fullmatch(name) is not None


class _Verdicts:
    """The first error of every job that has one."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.errors: dict[int, ControlError] = {}

    def refuse(self, bad: NDArray[np.bool_], column: str, say: Callable[[int], str], allowed: str) -> None:
        """Refuse the jobs in ``bad``; ``say`` gets the index of one and says what its column holds."""
        if not bad.any():
            return
        field = self._draft.field(column)
        known: dict[str, InvalidRequest] = {}
        for index in np.flatnonzero(bad).tolist():
            if index not in self.errors:
                text = f"{field} {say(index)}"
                self.errors[index] = known.setdefault(text, InvalidRequest(text, field=field, allowed=allowed))

    def refuse_entries(self, of: NDArray[np.int64], errors: dict[int, InvalidRequest]) -> None:
        """Refuse the jobs whose index ``of`` points to an entry with an error."""
        for index in np.flatnonzero(np.isin(of, list(errors))).tolist() if errors else ():
            self.errors.setdefault(index, errors[int(of[index])])


def faults_of(draft: Draft) -> dict[int, ControlError]:
    """What is wrong, by the job's index in ``draft``; jobs that are not named are sound."""
    verdicts = _Verdicts(draft)
    kinds = np.array([kind_of(workload) for workload in draft.workloads])[draft.workload]
    refuse = verdicts.refuse
    refuse(draft.gpus < 1, "gpus", lambda i: f"is {draft.gpus[i]}", "1 or more")
    milli = draft.milli_gpus
    refuse((milli < 1) | (milli > 1000), "milli_gpus", lambda i: f"is {milli[i]}", "1 to 1000")
    refuse(
        (milli < 1000) & (draft.gpus != 1), "milli_gpus", lambda i: f"is {milli[i]} with {draft.gpus[i]} GPUs", "below 1000 only with 1 GPU"
    )

    duration = draft.duration_ns
    refuse((duration < 0) | (duration > LONGEST_NS), "duration_ns", lambda i: f"is {_seconds(duration[i])}", _TIME_RULE)
    refuse((kinds == JobKind.GANG) & (duration == 0), "duration_ns", lambda i: "is missing", _TIME_RULE)
    for column, values in (("estimate_ns", draft.estimate_ns), ("checkpoint_ns", draft.checkpoint_ns)):
        said = partial(_is_seconds, values)
        least = min(YOUNG, DALY) if column == "checkpoint_ns" else 0
        refuse((values < least) | (values > LONGEST_NS), column, said, f"0 (none) to {LONGEST_YEARS} years")
    deadline = draft.deadline_ns
    refuse((deadline < 0) | (deadline > LONGEST_NS), "deadline_ns", partial(_is_seconds, deadline), _TIME_RULE)
    ratio = draft.utilization
    refuse(~((ratio >= 0) & (ratio <= 1)), "utilization", lambda i: f"is {ratio[i]:g}", "0 to 1")

    for column, index, names in (("queue", draft.queue, draft.queues), ("tenant", draft.tenant, draft.tenants)):
        verdicts.refuse_entries(index, _bad_labels(draft.field(column), names))
    for column, index in (("require_level", draft.require_level), ("prefer_level", draft.prefer_level)):
        verdicts.refuse_entries(index, _bad_levels(draft.field(column), draft.levels))
    _check_slices(draft, verdicts)
    _check_sizes(draft, verdicts, kinds)
    if any(draft.afters) or any(draft.afters_here):
        _check_dependencies(draft, verdicts)
    if any(draft.arrays):
        parallel = np.array(draft.arrays, dtype=np.int64)[draft.array]
        refuse(parallel < 0, "array", lambda i: f"is {parallel[i]}", "0 (no limit), or more")
    if draft.names:
        bad = np.fromiter((len(name) > MAX_NAME or not name.isprintable() for name in draft.names), dtype=np.bool_, count=draft.count)
        refuse(bad, "name", lambda i: f"is {draft.names[i]!r:.80}", f"at most {MAX_NAME} printable characters")

    verdicts.refuse_entries(draft.workload, _bad_workloads(draft))
    steps = np.array([workload.training.steps for workload in draft.workloads])[draft.workload]
    training, rule = kinds == JobKind.TRAINING, f"a duration, or 1 to {MAX_STEPS:,} steps"
    refuse(training & (duration == 0) & (steps == 0), "training", lambda i: "has neither a duration nor steps", rule)
    refuse(training & (duration > 0) & (steps > 0), "training", lambda i: "has both a duration and steps", rule)
    return verdicts.errors


def _check_slices(draft: Draft, verdicts: _Verdicts) -> None:
    """Refuse slices that no cluster could place."""
    slices, refuse = draft.slice_gpus, verdicts.refuse
    cut = slices != 0
    if not cut.any():
        return
    uneven = cut & ((slices < 0) | (draft.gpus % np.maximum(slices, 1) != 0))
    refuse(uneven, "slice_gpus", lambda i: f"is {slices[i]} of {draft.gpus[i]} GPUs", "0 (not cut), or a divisor of gpus")
    refuse(cut & (draft.milli_gpus < 1000), "slice_gpus", lambda i: f"is {slices[i]} of a shared GPU", "0 where milli_gpus is below 1000")
    names = draft.levels
    bad = _bad_levels(draft.field("slice_level"), names)
    level = np.array([LEVEL_NAMES.index(name) if name in LEVEL_NAMES else ANY_LEVEL for name in names])
    slice_level, required = level[draft.slice_level], level[draft.require_level]
    verdicts.refuse_entries(np.where(cut, draft.slice_level, -1), bad)
    refuse(cut & (slice_level == ANY_LEVEL), "slice_level", lambda i: "is missing", ", ".join(LEVEL_NAMES))
    refuse(
        cut & (required != ANY_LEVEL) & (slice_level > required),
        "slice_level",
        lambda i: f"is {names[draft.slice_level[i]]}, coarser than the required {names[draft.require_level[i]]}",
        "the required level or a finer one",
    )


def _check_sizes(draft: Draft, verdicts: _Verdicts, kinds: NDArray[np.signedinteger[Any]]) -> None:
    """Refuse sizes that no job can have. That they are whole replicas is seen when a training job has been planned."""
    least, slices, refuse = draft.min_gpus, draft.slice_gpus, verdicts.refuse
    given = least != 0
    if not given.any():
        return
    outside = given & ((least < 1) | (least > draft.gpus))
    refuse(outside, "min_gpus", lambda i: f"is {least[i]} of {draft.gpus[i]} GPUs", "1 to gpus, or 0 (it runs with gpus alone)")
    refuse(given & (draft.milli_gpus < 1000), "min_gpus", lambda i: f"is {least[i]} of a shared GPU", "0 where milli_gpus is below 1000")
    refuse(given & (kinds == JobKind.SERVICE), "min_gpus", lambda i: f"is {least[i]} of a service's replica", "0 for a service")
    uneven = given & (slices > 0) & (least % np.maximum(slices, 1) != 0)
    refuse(uneven, "min_gpus", lambda i: f"is {least[i]} with slices of {slices[i]} GPUs", "a multiple of slice_gpus")


def _check_dependencies(draft: Draft, verdicts: _Verdicts) -> None:
    """Refuse what depends on too many, or on a job of the batch that is not before it: so nothing can wait in a circle."""
    counts = [len(ids) + len(places) for ids, places in zip(draft.afters, draft.afters_here, strict=True)]
    count = np.array(counts, dtype=np.int64)[draft.dependency]
    most = f"at most {MAX_DEPENDENCIES:,} jobs"
    verdicts.refuse(count > MAX_DEPENDENCIES, "dependency", lambda i: f"has {count[i]:,} jobs", most)
    last = np.array([max((place for place, _ in places), default=-1) for places in draft.afters_here], dtype=np.int64)[draft.dependency]
    wrong = last >= np.arange(draft.count)
    verdicts.refuse(wrong, "dependency", lambda i: f"names the place {last[i]} for the job at {i}", "places before the job's own")


def _is_seconds(values: NDArray[np.int64], index: int) -> str:
    return f"is {_seconds(values[index])}"


def _seconds(nanoseconds: np.int64) -> str:
    return f"{int(nanoseconds) / SECOND:g} s"


def _bad_labels(field: str, names: Sequence[str]) -> dict[int, InvalidRequest]:
    return {
        index: InvalidRequest(f"{field} is {name!r:.80}", field=field, allowed=_LABEL_RULE)
        for index, name in enumerate(names)
        if not is_label(name)
    }


def _bad_levels(field: str, levels: Sequence[str]) -> dict[int, InvalidRequest]:
    return {
        index: InvalidRequest(f"{field} is {level!r:.80}", field=field, allowed=", ".join(LEVEL_NAMES))
        for index, level in enumerate(levels)
        if level and level not in LEVEL_NAMES
    }


def _bad_workloads(draft: Draft) -> dict[int, InvalidRequest]:
    errors = {}
    for index, workload in enumerate(draft.workloads):
        try:
            match workload.WhichOneof("kind"):
                case "training":
                    _check_training(workload.training, draft.field("training"))
                case "service" if "service" in draft.fields and workload.service.HasField("replicas") and workload.service.replicas != 1:
                    field = f"{draft.field('service')}.replicas"
                    raise InvalidRequest(
                        f"{field} is {workload.service.replicas}", field=field, allowed="1: a job of a batch is one replica"
                    )
        except InvalidRequest as error:
            errors[index] = error
    return errors


def _check_training(training: job_pb2.TrainingWorkload, field: str) -> None:
    def check(good: bool, name: str, value: float, allowed: str) -> None:
        if not good:
            raise InvalidRequest(f"{field}.{name} is {value:g}", field=f"{field}.{name}", allowed=allowed)

    check(0 <= training.steps <= MAX_STEPS, "steps", training.steps, f"1 to {MAX_STEPS:,}, or none with a duration")
    match training.WhichOneof("plan"):
        case "model":
            model = training.model
            if model.HasField("parameters"):
                check(1 <= model.parameters <= 1e18, "model.parameters", model.parameters, "1 to 1e18")  # NaN compares false
            for name, most in MODEL_LIMITS.items():
                value = getattr(model, name)
                check(not model.HasField(name) or 1 <= value <= most, f"model.{name}", value, f"1 to {most:,}")  # type: ignore[arg-type]  # a field of it
            zero = model.zero_stage
            check(not model.HasField("zero_stage") or zero in ZERO_STAGES, "model.zero_stage", zero, "1 or 3")
            _check_collective(model.collective, f"{field}.model.collective", (*COLLECTIVES, "auto"))
        case "step":
            step = training.step
            shortest, longest = SHORTEST_STEP_SECONDS, LONGEST_STEP_SECONDS
            allowed = f"{shortest:g} s to {LONGEST_YEARS} years"
            check(shortest <= step.compute_seconds <= longest, "step.compute_seconds", step.compute_seconds, allowed)
            for name in ("overlap_seconds", "latency_seconds", "pipeline_overlap_seconds", "context_overlap_seconds"):
                seconds = getattr(step, name)
                allowed = f"0, or {LEAST_SECONDS:g} s to {LONGEST_YEARS} years"
                check(seconds == 0 or LEAST_SECONDS <= seconds <= longest, f"step.{name}", seconds, allowed)
            for name in ("replica_gpus", "stage_gpus", "expert_gpus", "context_gpus"):
                count = getattr(step, name)
                check(not step.HasField(name) or 1 <= count <= 10**9, f"step.{name}", count, "1 to 1,000,000,000")  # type: ignore[arg-type]  # a field of it
            check(0 <= step.exposed_ratio <= 1, "step.exposed_ratio", step.exposed_ratio, "0 to 1")
            check(step.peak_ratio == 0 or 0.01 <= step.peak_ratio <= 100, "step.peak_ratio", step.peak_ratio, "0, or 0.01 to 100")
            _check_collective(step.collective, f"{field}.step.collective", COLLECTIVES)
            for name, limit in _STEP_LIMITS.items():
                amount = getattr(step, name)
                check(amount == 0 or 1 <= amount <= limit, f"step.{name}", amount, f"0, or 1 to {limit:g}")
        case _:
            raise InvalidRequest(f"{field} has neither a model nor a step", field=field, allowed="model or step")


def _check_collective(name: str, field: str, allowed: Sequence[str]) -> None:
    if name and name not in allowed:
        raise InvalidRequest(f"{field} is {name!r:.80}", field=field, allowed=", ".join(allowed))
