"""ReservationService: a thin shell around Control."""

from collections.abc import Iterable
from typing import Any

import grpc.aio

from emulator.engine.bounds import LONGEST_NS, LONGEST_YEARS
from emulator.engine.control import Control
from emulator.engine.errors import InvalidRequest
from emulator.engine.reservation_control import ReservationRequest
from emulator.service import views
from emulator.service.calls import Calls
from emulator.service.draft import duration_ns
from emulator.service.paging import page_of
from emulator.service.validate import check_request_id
from emulator.v1 import reservation_service_pb2 as reservation_pb
from emulator.v1.reservation_service_pb2_grpc import ReservationServiceServicer
from emulator.workload.jobs import SECOND

Context = grpc.aio.ServicerContext[Any, Any]

#: Names of one kind in a request, and characters of each.
MOST_NAMES = 10_000
MOST_CHARACTERS = 253


class ReservationServicer(ReservationServiceServicer):
    """``emulator.v1.ReservationService``."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call

    async def ListReservations(
        self, request: reservation_pb.ListReservationsRequest, context: Context
    ) -> reservation_pb.ListReservationsResponse:
        page = page_of("reservations", request.page_size, request.page_token)
        found = await self._call(self._control.reservations)
        first = page.after + 1
        rows, token = page.cut(found[first : first + page.size + 1], first + page.size - 1)
        return reservation_pb.ListReservationsResponse(
            reservations=map(views.reservation_message, rows), next_page_token=token, total_size=len(found)
        )

    async def CreateReservation(
        self, request: reservation_pb.CreateReservationRequest, context: Context
    ) -> reservation_pb.CreateReservationResponse:
        check_request_id(request.request_id)
        for field, names in (
            ("name", [request.name]),
            ("hosts", request.hosts),
            ("gpu_type", [request.gpu_type or "any"]),
            ("queues", request.queues),
            ("tenants", request.tenants),
        ):
            _check_names(field, names)
        if bool(request.hosts) == bool(request.host_count):
            raise InvalidRequest("hosts and host_count: one of them says which hosts", field="hosts", allowed="names, or a number above 0")
        running = request.running or reservation_pb.RUNNING_JOBS_DRAIN
        if running not in views.RUNNING_OF:
            allowed = ", ".join(f"RUNNING_JOBS_{name.upper()}" for name in views.RUNNING_NUMBER)
            raise InvalidRequest(f"running is {running}", field="running", allowed=allowed)
        asked = ReservationRequest(
            name=request.name,
            hosts=tuple(request.hosts),
            host_count=request.host_count,
            gpu_type=request.gpu_type,
            start_seconds=_seconds(request.start, "start") if request.HasField("start") else -1.0,
            duration_seconds=_seconds(request.duration, "duration"),
            every_seconds=_seconds(request.every, "every"),
            times=request.times,
            maintenance=request.maintenance,
            queues=tuple(request.queues),
            tenants=tuple(request.tenants),
            running=views.RUNNING_OF[running],
        )
        made = await self._call(self._control.reserve, asked, request_id=request.request_id)
        return reservation_pb.CreateReservationResponse(reservation=views.reservation_message(made))

    async def DeleteReservation(
        self, request: reservation_pb.DeleteReservationRequest, context: Context
    ) -> reservation_pb.DeleteReservationResponse:
        check_request_id(request.request_id)
        _check_names("name", [request.name])
        ended = await self._call(self._control.end_reservation, request.name, request_id=request.request_id)
        return reservation_pb.DeleteReservationResponse(reservation=views.reservation_message(ended))


def _check_names(field: str, names: Iterable[str]) -> None:
    given = list(names)
    if len(given) > MOST_NAMES:
        raise InvalidRequest(f"{field} has {len(given):,} names", field=field, allowed=f"up to {MOST_NAMES:,}")
    for name in given:
        if not 0 < len(name) <= MOST_CHARACTERS:
            raise InvalidRequest(f"{field} has {len(name)} characters", field=field, allowed=f"1 to {MOST_CHARACTERS}")


def _seconds(duration: Any, field: str) -> float:
    nanoseconds = duration_ns(duration, field)
    if not 0 <= nanoseconds <= LONGEST_NS:
        raise InvalidRequest(f"{field} is {nanoseconds / SECOND:g} s", field=field, allowed=f"0 to {LONGEST_YEARS} years")
    return nanoseconds / SECOND
