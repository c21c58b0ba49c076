"""Any message that the API can be sent: each field absent, plausible, or at an extreme of its type."""

import random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import Message

from emulator.engine.fault_targets import TARGETS
from emulator.v1 import (
    clock_service_pb2,
    cluster_service_pb2,
    job_service_pb2,
    power_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    service_service_pb2,
)
from emulator.workload.jobs import API_FIRST_ID, LEVEL_NAMES, SECOND
from emulator.workload.training import MODELS

INTEGERS = (-(2**63), -(2**31), -1, 0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1)
DOUBLES = (
    *(float("nan"), float("inf"), float("-inf"), -1.0, -5e-324, -0.0, 0.0, 5e-324, 2.3e-308, 1e-300, 1e-9, 0.000999, 0.001),
    *(0.5, 0.999, 1.0, 1.0000001, 1e9, 1e18, 1e100, 1.7976931348623157e308),
)
TEXTS = (
    *("", " ", "default", "no such thing", "x" * 300, "x" * 5000, "größer", "a\nb", "\0", "../../etc/passwd", "-1", "0", "9" * 30, "1e3"),
    *("r[00000-99999]-h[00-99]", "r[0-", "MTIzNDU2Nzg6LTE=", *TARGETS, *LEVEL_NAMES, *MODELS),
)
#: What a sensible client sends in a field of that name (of that message, where it says so); other fields have any value of their type.
PLAUSIBLE: dict[str, tuple[Any, ...]] = {
    "gpus": (1, 2, 8, 16, 64, 256, 257),
    "milli_gpus": (1, 250, 999, 1000),
    "number": (0, 1, 2, 7, 40),
    "rack": ("0", "1", "r00000", "r00001"),
    "job_id": tuple(range(API_FIRST_ID, API_FIRST_ID + 30)),
    "job_ids": tuple(range(API_FIRST_ID, API_FIRST_ID + 30)),
    "count": (1, 2, 3),
    "seconds": (0, 1, 60, 3600, 86_400, 315_360_000),
    "nanos": (0, 0, 1, SECOND - 1),
    "speed": (1e-6, 1.0, 1000.0, 1e9, float("inf"), float("inf")),
    "cycles": (1, 2, 100),
    "replicas": (0, 1, 2, 5),
    "page_size": (0, 1, 100, 1000),
    "remaining_ratio": (0.0, 0.001, 0.25, 0.999),
    "utilization_ratio": (0.0, 0.5, 1.0),
    "compute_seconds": (1e-6, 1e-3, 1.0, 3600.0, 1e8),
    "ring_bytes": (0.0, 1.0, 1e9, 1e15),
    "steps": (0, 1, 100, 10**12),
    "parameters": (1.0, 7e9, 1e18),
    "collective": ("", "ring", "tree", "auto"),
    "queue": (0, "", "default"),
    "tenant": (0, "", "default", "someone"),
    "workload": (0,),
    "gpu_type": (0, "", "H100"),
    "after": (0, 1, 1_000_000_000),
    "after_any": (0, 1, 1_000_000_000),
    "after_places": (0, 0, 1),
    "after_any_places": (0, 0, 1),
    "dependency": (0,),
    "array": (0,),
    "deadline_nanoseconds": (0, SECOND, 3600 * SECOND),
    "array_size": (0, 1, 3),
    "array_parallel": (0, 1, 2),
    "reservation": ("", "none"),
    "checkpoint": ("", "young", "daly", "soon"),
    "recovery": ("", "requeue", "in-place", "spares", "elastic", "hope"),
    "require_level": (0, "", "rack", "leaf"),
    "prefer_level": (0, "", "leaf"),
    "slice_gpus": (0, 0, 8),
    "min_gpus": (0, 0, 1, 8),
    "slice_level": (0, "", "rack"),
    "site": ("",),
    "prefer_site": ("",),
    "dataset": ("",),
    "tier": ("", "host_leaf", "leaf_spine"),
    "name": ("", "0", "1", "r00000", "r00001-h03", "r00000-h00", "leaf-00000/spine-00000", "leaf-00000/spine-00000#1", "spine-00000"),
    "GetQueueRequest.name": ("default",),
    "hosts": ("r00000", "r00001-h[00-03]", "r00003-h00", "all"),
    "host_count": (0, 1, 2),
    "times": (0, 1, 3),
    "queues": ("default",),
    "tenants": ("default", "someone"),
    "CreateReservationRequest.name": ("none", "night", "lab", "more"),
    "DeleteReservationRequest.name": ("none", "night", "lab", "more"),
    "TrainingModel.name": ("", "llama3-70b", "mixtral-8x7b"),
    "TrainingModel.tensor_parallel": (1, 2, 4, 8),
    "request_id": ("",),
    "page_token": ("",),
}
#: With all of these next to nothing gets past the first check: each is a reason to refuse the whole job.
RARE = {"after", "after_any", "after_places", "after_any_places", "array_size", "array_parallel", "array", "dependency", "dependencies"} | {
    *("reservation", "host_count", "every", "times"),
}
#: Without these neither.
NEEDED = {"name", "spec", "batch", "count", "gpus", "duration", "target", "compute_seconds"}


def any_message(luck: random.Random, kind: type[Message], extreme: float = 0.3) -> Message:
    """A message of ``kind``; of the fields that are given, so many are not what a sensible client would send."""
    message = kind()
    absent = luck.choice((0.1, 0.5, 0.8))
    chosen = {
        field.containing_oneof.name: luck.choice(field.containing_oneof.fields)
        for field in kind.DESCRIPTOR.fields
        if field.containing_oneof
    }
    for field in kind.DESCRIPTOR.fields:
        if (field.containing_oneof and chosen[field.containing_oneof.name] is not field) or luck.random() < (
            0.05 if field.name in NEEDED else 0.9 if field.name in RARE else absent
        ):
            continue
        if field.is_repeated:
            length = luck.choice((1, 1, 1, 1, 1, 1, 1, 1, 2, 3))
            getattr(message, field.name).extend(_value(luck, field, extreme) for _ in range(length))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(_value(luck, field, extreme))
        else:
            setattr(message, field.name, _value(luck, field, extreme))
    return message


def any_bytes(luck: random.Random, message: Message) -> bytes:
    """``message`` with a few of its bytes changed, or cut, or bytes of no meaning at all."""
    data = bytearray(message.SerializeToString())
    if not data or luck.random() < 0.2:
        return luck.randbytes(luck.randrange(64))
    for _ in range(luck.randrange(1, 4)):
        data[luck.randrange(len(data))] = luck.randrange(256)
    return bytes(data[: luck.randrange(1, len(data) + 1)]) if luck.random() < 0.3 else bytes(data)


def methods() -> list[Any]:
    """Every method of emulator.v1."""
    modules = (
        *(job_service_pb2, queue_service_pb2, cluster_service_pb2, clock_service_pb2, reservation_service_pb2),
        *(power_service_pb2, service_service_pb2),
    )
    return [method for module in modules for service in module.DESCRIPTOR.services_by_name.values() for method in service.methods]


def path_of(method: Any) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def _value(luck: random.Random, field: Any, extreme: float) -> Any:
    if field.message_type is not None:
        return any_message(luck, field.message_type._concrete_class, extreme)
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return luck.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return luck.choice(field.enum_type.values).number if luck.random() > extreme else luck.choice((-1, 99, 2**31 - 1))
    sensible = PLAUSIBLE.get(f"{field.containing_type.name}.{field.name}", PLAUSIBLE.get(field.name, ()))
    known = [value for value in sensible if isinstance(value, str) == (kind == FieldDescriptor.CPPTYPE_STRING)]
    if known and luck.random() > extreme:
        return luck.choice(known)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return luck.choice(TEXTS)
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return luck.choice(DOUBLES) if luck.random() < 0.5 else 10.0 ** luck.uniform(-12, 12)
    low, high = _range(field)
    within = [value for value in INTEGERS if low <= value <= high]
    return luck.choice(within) if luck.random() < 0.5 else min(high, int(2.0 ** luck.uniform(0, 40)))


def _range(field: Any) -> tuple[int, int]:
    bits = 32 if "32" in FieldDescriptorProto.Type.Name(field.type) else 64
    return (0, 2**bits - 1) if "UINT" in FieldDescriptorProto.Type.Name(field.type) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
