"""First answers to requests that carry an id: a client that repeats one is told the same, also after a crash, from the journal."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, TypeVar, cast

from emulator.engine import errors
from emulator.engine.errors import ControlError, InvalidRequest, QueueFull
from emulator.engine.hardware_control import RackView
from emulator.engine.job_control import JobState, JobView, SubmitResult
from emulator.engine.reservation_control import ReservationView

T = TypeVar("T")

#: Requests whose answers are remembered.
REQUESTS_KEPT = 10_000


@dataclass(frozen=True)
class Request:
    """``asked`` tells one request from another that has the same id; both are "" where there is no id."""

    request_id: str = ""
    asked: str = ""


def request_of(request_id: str, kind: str, body: Callable[[], bytes]) -> Request:
    """The request of this kind and content; ``body`` is asked for only where there is an id."""
    return Request(request_id, hashlib.sha256(kind.encode() + b" " + body()).hexdigest()) if request_id else Request()


class Answers:
    """The last ``REQUESTS_KEPT`` answers by request id."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, Any]] = OrderedDict()

    def once(self, request_id: str, kind: str, body: Callable[[], bytes], act: Callable[[Request], T]) -> T:
        """The first answer for a request that was made before; a refusal is no answer. Raises InvalidRequest where it was another."""
        request = request_of(request_id, kind, body)
        if (known := self.known(request)) is not None:
            return cast(T, known)
        answer = act(request)
        self.keep(request, answer)
        return answer

    def known(self, request: Request) -> Any:
        """The first answer to the request; None where there is none. Raises InvalidRequest where it was another."""
        if request.request_id not in self._kept:
            return None
        before, kept = self._kept[request.request_id]
        if before != request.asked:
            raise InvalidRequest(
                f"request_id {request.request_id!r} was used for another request",
                field="request_id",
                allowed="a new one for each new request",
            )
        return kept

    def keep(self, request: Request, answer: Any) -> None:
        """Remember an answer; the oldest is forgotten."""
        if request.request_id:
            self._kept[request.request_id] = request.asked, answer
            if len(self._kept) > REQUESTS_KEPT:
                self._kept.popitem(last=False)


def to_json(answer: SubmitResult | JobView | RackView | ReservationView | str) -> Any:
    """What the journal keeps of an answer. For a submission only the refusals, since the ids of accepted jobs are in the payload."""
    if isinstance(answer, str):
        return answer
    if not isinstance(answer, SubmitResult):
        return asdict(answer)
    refused = []
    rows = sorted(answer.errors.items())
    for (_, told), run in groupby(enumerate(rows), lambda row: (row[1][0] - row[0], _told(row[1][1]))):
        items = list(run)
        refused.append({"first": items[0][1][0], "count": len(items)} | dict(told))
    return {"refused": refused} if refused else {}


def from_json(kind: str, value: Any, job_ids: Sequence[int]) -> Any:
    """The reverse, for a record of ``kind``; ``job_ids`` are those that its payload has. Raises KeyError, TypeError or ValueError for a
    malformed value.
    """
    match kind:
        case "submit":
            errors = {index: _error(run) for run in value.get("refused", ()) for index in range(run["first"], run["first"] + run["count"])}
            ids = iter(job_ids)
            return SubmitResult([-1 if index in errors else next(ids) for index in range(len(job_ids) + len(errors))], errors)
        case "cancel" | "hold" | "release" | "priority":
            return JobView(**value | {"state": JobState(value["state"])})
        case "cordon":
            return RackView(**value)
        case "reserve" | "end reservation":
            return ReservationView(**value | {"queues": tuple(value["queues"]), "tenants": tuple(value["tenants"])})
    return str(value)


def _told(error: ControlError) -> tuple[tuple[str, Any], ...]:
    words = (("error", type(error).__name__), ("message", str(error)), ("field", error.field), ("allowed", error.allowed))
    return (*words, ("retry_seconds", error.retry_seconds)) if isinstance(error, QueueFull) else words


def _error(told: dict[str, Any]) -> ControlError:
    kind = getattr(errors, told["error"])
    if kind is QueueFull:
        return QueueFull(told["message"], retry_seconds=told["retry_seconds"])
    error: ControlError = kind(told["message"], field=told["field"], allowed=told["allowed"])
    return error
