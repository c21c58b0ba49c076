"""Whatever a submission holds, it is accepted as sound columns or refused with a field and what is allowed; never anything else."""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.bounds import LONGEST_NS
from emulator.engine.errors import InvalidRequest
from emulator.service.convert import Intake, intake_of
from emulator.service.draft import Draft, draft_of_batch, draft_of_spec
from emulator.service.errors import code_of, job_errors, status_of
from emulator.service.gpu_types import GpuTypes
from emulator.service.plan import planner
from emulator.service.spec import batch_message
from emulator.v1 import clock_service_pb2, cluster_service_pb2, job_pb2, job_service_pb2, queue_service_pb2
from emulator.workload.jobs import COLUMN_NAMES, LEVEL_NAMES, SECOND, JobKind, TrainingShape, job_columns
from emulator.workload.training import MODELS
from topology.catalog import host

Given = TypeVar("Given")
Answer = TypeVar("Answer")
Error = TypeVar("Error", bound=Exception)
TYPES = GpuTypes((host("hgx-h100"),), (planner(host("hgx-h100"), 50e9),))

int32s = st.one_of(st.integers(-2, 9), st.integers(-(2**31), 2**31 - 1))
int64s = st.one_of(st.integers(-2, 9), st.sampled_from([SECOND, LONGEST_NS, LONGEST_NS + 1]), st.integers(-(2**63), 2**63 - 1))
doubles = st.one_of(st.floats(), st.floats(0.0, 1.0), st.floats(1e3, 1e12))
texts = st.one_of(st.sampled_from(["", "default", "leaf", "site", *MODELS]), st.text(max_size=300))


def messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Any message of ``kind``: each field absent or holding any value of its type, within reason often enough."""

    def value(field: Any) -> st.SearchStrategy[Any]:
        if field.message_type is not None:
            return messages(GetMessageClass(field.message_type))
        return {
            field.CPPTYPE_INT32: int32s,
            field.CPPTYPE_INT64: int64s,
            field.CPPTYPE_UINT32: st.integers(0, 3),
            field.CPPTYPE_DOUBLE: doubles,
            field.CPPTYPE_ENUM: st.integers(-1, 9),
            field.CPPTYPE_BOOL: st.booleans(),
            field.CPPTYPE_STRING: texts,
        }[field.cpp_type]

    def build(values: dict[str, Any]) -> Message:
        message = kind()
        for name, given_value in values.items():
            field = kind.DESCRIPTOR.fields_by_name[name]
            if field.is_repeated:
                getattr(message, name).extend(given_value)
            elif field.message_type is not None:
                getattr(message, name).CopyFrom(given_value)
            else:
                setattr(message, name, given_value)
        return message

    choices = {f.name: st.lists(value(f), max_size=3) if f.is_repeated else value(f) for f in kind.DESCRIPTOR.fields}
    return st.fixed_dictionaries({}, optional=choices).map(build)


def attempt(kind: type[Error], call: Callable[[Given], Answer], given_value: Given) -> tuple[Answer | None, Error | None]:
    """What ``call`` gives, or the error of ``kind`` that it ends with."""
    try:
        return call(given_value), None
    except kind as error:
        return None, error


def judge(draft: Draft) -> Intake:
    """What became of ``draft``, checked to be sound."""
    intake = intake_of(draft, TYPES)
    columns = intake.columns
    assert sorted([*intake.rows.tolist(), *intake.errors]) == list(range(draft.count))
    assert len(columns) == len(intake.rows)
    assert (columns.gpus >= 1).all()
    assert ((columns.milli_gpus == 1000) | ((columns.milli_gpus > 0) & (columns.milli_gpus < 1000) & (columns.gpus == 1))).all()
    service = columns.kind == JobKind.SERVICE
    assert ((columns.duration_ns > 0) | (service & (columns.duration_ns == 0))).all()
    assert (columns.estimate_ns > 0).all() or service.any()
    for times in (columns.duration_ns, columns.estimate_ns, columns.checkpoint_ns):
        assert ((times >= 0) & (times <= LONGEST_NS)).all()
    assert ((columns.utilization >= 0) & (columns.utilization <= 1)).all()
    assert ((columns.shape >= 0) == (columns.kind == JobKind.TRAINING)).all()
    for shape in columns.shapes:
        numbers = {name: number for name, number in vars(shape).items() if name != "collective"}
        assert all(math.isfinite(number) and number >= 0 for number in numbers.values())
        assert shape.collective in ("ring", "tree")
    for level in (columns.require_level, columns.prefer_level, columns.slice_level):
        assert ((level >= -1) & (level < len(LEVEL_NAMES))).all()
    assert ((columns.slice_gpus == 0) == (columns.slice_level == -1)).all()
    assert (columns.gpus % np.maximum(columns.slice_gpus, 1) == 0).all()
    assert ((columns.min_gpus >= 0) & (columns.min_gpus < columns.gpus)).all()
    assert (columns.milli_gpus[columns.min_gpus > 0] == 1000).all()
    for error in intake.errors.values():
        assert code_of(error)[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert error.field
        assert error.allowed
        assert status_of(error).ByteSize() < 4096
    list(job_errors(intake.errors))
    return intake


@settings(max_examples=400, deadline=None)
@given(messages(job_pb2.JobSpec))
def test_any_spec_is_sound_or_refused_with_its_field(spec: job_pb2.JobSpec) -> None:
    draft, error = attempt(InvalidRequest, draft_of_spec, spec)
    if error is not None:
        assert error.field
        assert error.allowed
        return
    assert draft is not None
    for refused in judge(draft).errors.values():
        assert refused.field.startswith("spec.")


@settings(max_examples=400, deadline=None)
@given(messages(job_pb2.JobBatch))
def test_any_batch_is_malformed_or_judged_job_by_job(batch: job_pb2.JobBatch) -> None:
    draft, error = attempt(InvalidRequest, draft_of_batch, batch)
    if error is not None:
        assert error.field.startswith("batch.")
        assert error.allowed
        return
    assert draft is not None
    judge(draft)


models = st.builds(
    job_pb2.TrainingModel,
    name=st.sampled_from(sorted(MODELS)),
    global_batch_size=st.none() | st.integers(1, 10**9),
    micro_batch_size=st.none() | st.integers(1, 8),
    tensor_parallel=st.none() | st.sampled_from([1, 2, 4, 8, 16]),
    pipeline_parallel=st.none() | st.integers(1, 130),
    interleave=st.none() | st.integers(1, 130),
    layers=st.none() | st.integers(1, 10_000),
    hidden_size=st.none() | st.integers(1, 10**6),
    sequence_length=st.none() | st.integers(1, 10**8),
    parameters=st.none() | st.floats(1.0, 1e18),
    recompute=st.booleans(),
    context_parallel=st.none() | st.sampled_from([1, 2, 4, 16, 10**6]),
    expert_parallel=st.none() | st.sampled_from([1, 8, 64]),
    precision=st.sampled_from(["", "bf16", "fp8", "mxfp8", "nvfp4", "int8"]),
    zero_stage=st.none() | st.sampled_from([1, 2, 3]),
)


@settings(max_examples=300, deadline=None)
@given(models, st.integers(1, 17).map(lambda power: 2**power), st.integers(1, 10**6))
def test_any_model_on_any_gang_is_planned_or_refused_with_its_field(model: job_pb2.TrainingModel, gpus: int, steps: int) -> None:
    spec = job_pb2.JobSpec(gpus=gpus, training=job_pb2.TrainingWorkload(model=model, steps=steps))
    intake = judge(draft_of_spec(spec))
    for error in intake.errors.values():
        assert error.field.startswith("spec.training.")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_columns_survive_the_way_over_the_wire(data: st.DataObject) -> None:
    """What a client hands in as columns arrives as the same columns."""
    count = data.draw(st.integers(1, 20))

    def column(values: Any) -> list[float | str]:
        return data.draw(st.lists(values, min_size=count, max_size=count))

    kinds = column(st.sampled_from(list(JobKind)))
    step = TrainingShape(2.0, 0.0, 0.0, 0.0, 0.0, exposed_ratio=0.125, context_bytes=1e9, context_overlap_seconds=0.25, peak_ratio=2.0)
    shapes = (TrainingShape(1.0, 1e9, 0.5, 1e-3, 1e15), step)
    slices = column(st.sampled_from([0, 0, 1, 4, 72]))
    required = column(st.integers(-1, 6))
    jobs = job_columns(
        count,
        submit_ns=0,
        gpus=[max(1, int(gpus)) * int(number) for gpus, number in zip(slices, column(st.integers(1, 10**4)), strict=True)],
        slice_gpus=slices,
        slice_level=[max(0, int(level)) if gpus else -1 for gpus, level in zip(slices, required, strict=True)],
        duration_ns=column(st.integers(1, LONGEST_NS)),
        estimate_ns=column(st.integers(1, LONGEST_NS)),
        checkpoint_ns=column(st.integers(0, LONGEST_NS)),
        kind=[int(kind) for kind in kinds],
        priority=column(int32s),
        queue=column(st.integers(0, 2)),
        queues=("a", "b", "c"),
        tenant=column(st.integers(0, 1)),
        tenants=("x", "y"),
        utilization=column(st.floats(0.0, 1.0)),
        require_level=required,
        prefer_level=column(st.integers(-1, 6)),
        preemptible=column(st.booleans()),
        shape=[index % 2 if kind is JobKind.TRAINING else -1 for index, kind in enumerate(kinds)],
        shapes=shapes,
        names=tuple(column(st.sampled_from(["", "job", "größer"]))),
    )
    wire = job_pb2.JobBatch.FromString(batch_message(jobs, slice(0, count)).SerializeToString())
    intake = intake_of(draft_of_batch(wire), TYPES)
    assert not intake.errors
    got = intake.columns
    for name in set(COLUMN_NAMES) - {"job_id", "submit_ns", "shape"}:
        np.testing.assert_array_equal(getattr(got, name), getattr(jobs, name), err_msg=name)
    assert (got.queues, got.tenants, got.names) == (jobs.queues, jobs.tenants, jobs.names)
    for index, kind in enumerate(kinds):
        if kind is JobKind.TRAINING:
            assert got.shapes[got.shape[index]] == shapes[jobs.shape[index]]


def unary_methods() -> Iterator[MethodDescriptor]:
    for module in (job_service_pb2, queue_service_pb2, cluster_service_pb2, clock_service_pb2):
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                if not method.server_streaming:
                    yield method


CALLERS_FAULT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@pytest.mark.parametrize("method", list(unary_methods()), ids=lambda method: method.name)
def test_no_request_breaks_the_server(method: MethodDescriptor, channel: grpc.Channel) -> None:
    """Over the wire, any message and any bytes: an answer, or an error that is the caller's."""
    path = f"/{method.containing_service.full_name}/{method.name}"

    def call(payload: bytes) -> object:
        if method.client_streaming:
            stream = channel.stream_unary(path, request_serializer=None, response_deserializer=None)
            return stream(iter([payload, payload]), timeout=30)
        return channel.unary_unary(path, request_serializer=None, response_deserializer=None)(payload, timeout=30)

    anything = st.one_of(
        messages(GetMessageClass(method.input_type)).map(lambda message: message.SerializeToString()), st.binary(max_size=40)
    )

    @settings(max_examples=40, deadline=None)
    @given(anything)
    def attack(payload: bytes) -> None:
        _, error = attempt(grpc.RpcError, call, payload)
        assert error is None or error.code() in CALLERS_FAULT, error

    attack()
