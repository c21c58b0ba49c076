"""ServiceService: a thin shell around Control. Also its messages as views, for the client."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import grpc.aio

from emulator.engine.control import Control
from emulator.engine.errors import InvalidRequest
from emulator.engine.service_control import MOST_REPLICAS, ServiceView
from emulator.service.calls import Calls
from emulator.service.paging import page_of
from emulator.service.validate import check_request_id
from emulator.v1 import service_service_pb2 as service_pb
from emulator.v1.service_service_pb2_grpc import ServiceServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]

#: Characters of a service's name.
MOST_CHARACTERS = 253
QUANTILES = ("p50", "p90", "p99")
_TIMES = ("ttft_seconds", "tpot_seconds", "recent_ttft_seconds", "recent_tpot_seconds")
#: What becomes of requests, as ``racks.serving_messages.Tally`` has it in small letters.
COUNTS = tuple([field.name for field in service_pb.RequestCounts.DESCRIPTOR.fields])


class ServiceServicer(ServiceServiceServicer):
    """``emulator.v1.ServiceService``: services, sorted by name."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call

    async def ListServices(self, request: service_pb.ListServicesRequest, context: Context) -> service_pb.ListServicesResponse:
        page = page_of("services", request.page_size, request.page_token)
        found = sorted(await self._call(self._control.services), key=lambda service: service.name)
        first = page.after + 1
        rows, token = page.cut(found[first : first + page.size + 1], first + page.size - 1)
        return service_pb.ListServicesResponse(services=map(service_message, rows), next_page_token=token, total_size=len(found))

    async def GetService(self, request: service_pb.GetServiceRequest, context: Context) -> service_pb.GetServiceResponse:
        view = await self._call(self._control.service, _name(request.name))
        return service_pb.GetServiceResponse(service=service_message(view))

    async def ScaleService(self, request: service_pb.ScaleServiceRequest, context: Context) -> service_pb.ScaleServiceResponse:
        check_request_id(request.request_id)
        name = _name(request.name)
        if not 0 <= request.replicas <= MOST_REPLICAS:
            raise InvalidRequest(f"replicas is {request.replicas}", field="replicas", allowed=f"0 to {MOST_REPLICAS:,}")
        text = await self._call(self._control.scale_service, name, request.replicas, request_id=request.request_id)
        return service_pb.ScaleServiceResponse(text=text)


def _name(name: str) -> str:
    if not 0 < len(name) <= MOST_CHARACTERS:
        raise InvalidRequest(f"name has {len(name)} characters", field="name", allowed=f"1 to {MOST_CHARACTERS}")
    return name


def service_message(view: ServiceView) -> service_pb.Service:
    """To the API's service; what is None is unset."""
    translated: dict[str, Any] = {name: service_pb.Quantiles(**getattr(view, name)) for name in _TIMES}
    plain = {field.name: getattr(view, field.name) for field in fields(view)}
    return service_pb.Service(**plain | translated | {"requests": service_pb.RequestCounts(**view.requests)})


def service_view(service: service_pb.Service) -> ServiceView:
    """Back from the API."""
    translated: dict[str, Any] = {name: _quantiles(getattr(service, name)) for name in _TIMES}
    translated["requests"] = {name: getattr(service.requests, name) for name in COUNTS}
    translated["slo_attainment_ratio"] = service.slo_attainment_ratio if service.HasField("slo_attainment_ratio") else None
    plain = {field.name: getattr(service, field.name) for field in fields(ServiceView)}
    return ServiceView(**plain | translated)


def _quantiles(message: service_pb.Quantiles) -> Mapping[str, float | None]:
    measured = {field.name: value for field, value in message.ListFields()}
    return {name: measured.get(name) for name in QUANTILES}
