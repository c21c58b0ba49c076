"""Errors as clients see them: canonical codes with google.rpc details.

The details are those of AIP-193: ErrorInfo names the reason, BadRequest the field and what is allowed there, RetryInfo when to try again.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from emulator.engine.errors import ControlError, InvalidRequest, NeverFits, NotFound, QueueFull, WrongState
from emulator.v1 import job_service_pb2

#: ``ErrorInfo.domain`` of every error.
DOMAIN = "gigawatt"
#: Reasons of ``ErrorInfo``, which tell errors of one code apart.
NEVER_FITS = "NEVER_FITS"
WRONG_STATE = "WRONG_STATE"
#: Longest text that goes into an error: all details share the 8 KiB that HTTP/2 peers commonly take as metadata.
TEXT_LIMIT = 400
#: Errors of a bulk submission that say in words what is wrong; the rest carry their code and field only.
WORDED_ERRORS = 1000


class Busy(ControlError):
    """RESOURCE_EXHAUSTED: the server has all the calls in hand that it takes."""

    retry_seconds = 1.0


class Malformed(InvalidRequest):
    """INVALID_ARGUMENT: the request could not be read as what it should be."""


_CODES: tuple[tuple[type[ControlError], grpc.StatusCode, str], ...] = (
    (Malformed, grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"),
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST"),
    (NotFound, grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    (NeverFits, grpc.StatusCode.FAILED_PRECONDITION, NEVER_FITS),
    (WrongState, grpc.StatusCode.FAILED_PRECONDITION, WRONG_STATE),
    (QueueFull, grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    (Busy, grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY"),
)


def code_of(error: ControlError) -> tuple[grpc.StatusCode, str]:
    """The canonical code of ``error`` and its reason; INTERNAL for kinds that this module does not know."""
    for kind, code, reason in _CODES:
        if isinstance(error, kind):
            return code, reason
    return grpc.StatusCode.INTERNAL, "INTERNAL"


def shortened(text: str) -> str:
    """``text`` with what lies beyond ``TEXT_LIMIT`` cut, in characters that UTF-8 can hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def seconds_message(seconds: float) -> Duration:
    """``seconds``, finite, as a Duration."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def status_of(error: ControlError) -> status_pb2.Status:
    """``error`` as google.rpc.Status with its details."""
    code, reason = code_of(error)
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=shortened(str(error)))
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo] = [
        error_details_pb2.ErrorInfo(
            reason=reason, domain=DOMAIN, metadata={k: shortened(v) for k, v in (("field", error.field), ("allowed", error.allowed)) if v}
        )
    ]
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        said = f"{error}; allowed: {error.allowed}" if error.allowed else str(error)
        violation = error_details_pb2.BadRequest.FieldViolation(field=shortened(error.field), description=shortened(said), reason=reason)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, QueueFull | Busy):
        details.append(error_details_pb2.RetryInfo(retry_delay=seconds_message(error.retry_seconds)))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def job_errors(errors: Mapping[int, ControlError]) -> Iterable[job_service_pb2.JobError]:
    """``errors`` by index as messages, one for each run of consecutive jobs with the same reason."""

    def same(entry: tuple[int, int]) -> tuple[object, ...]:
        place, index = entry
        error = errors[index]
        return (index - place, type(error), str(error), error.field, error.allowed)

    ordered = sorted(errors)
    for number, (_, run) in enumerate(groupby(enumerate(ordered), same)):
        indexes = [index for _, index in run]
        error = errors[indexes[0]]
        message = job_service_pb2.JobError(
            index=indexes[0], count=len(indexes), code=code_of(error)[0].value[0], field=shortened(error.field)
        )
        if number < WORDED_ERRORS:
            message.message, message.allowed = shortened(str(error)), shortened(error.allowed)
        if isinstance(error, QueueFull | Busy):
            message.retry_delay.CopyFrom(seconds_message(error.retry_seconds))
        yield message
