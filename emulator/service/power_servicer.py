"""PowerService: a thin shell around Control."""

import math
from typing import Any

import grpc.aio

from emulator.engine.bounds import LONGEST_NS, LONGEST_YEARS
from emulator.engine.control import Control
from emulator.engine.errors import InvalidRequest
from emulator.engine.power_control import MOST_WATTS, PowerCapRequest, PowerPlaceView, PowerView
from emulator.service.calls import Calls
from emulator.service.draft import duration_ns
from emulator.service.validate import check_request_id
from emulator.v1 import power_service_pb2 as power_pb
from emulator.v1.power_service_pb2_grpc import PowerServiceServicer
from emulator.workload.jobs import SECOND

Context = grpc.aio.ServicerContext[Any, Any]

#: Characters of a site's name.
MOST_CHARACTERS = 253


class PowerServicer(PowerServiceServicer):
    """``emulator.v1.PowerService``."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call

    async def GetPower(self, request: power_pb.GetPowerRequest, context: Context) -> power_pb.GetPowerResponse:
        return power_pb.GetPowerResponse(power=power_message(await self._call(self._control.power)))

    async def SetPowerCap(self, request: power_pb.SetPowerCapRequest, context: Context) -> power_pb.SetPowerCapResponse:
        check_request_id(request.request_id)
        if not (math.isfinite(request.watts) and 0 <= request.watts <= MOST_WATTS):
            raise InvalidRequest(f"watts is {request.watts:g}", field="watts", allowed=f"0 to {MOST_WATTS:g}")
        if len(request.site) > MOST_CHARACTERS:
            raise InvalidRequest(f"site has {len(request.site)} characters", field="site", allowed=f"at most {MOST_CHARACTERS}")
        nanoseconds = duration_ns(request.duration, "duration")
        if not 0 <= nanoseconds <= LONGEST_NS:
            raise InvalidRequest(f"duration is {nanoseconds / SECOND:g} s", field="duration", allowed=f"at most {LONGEST_YEARS} years")
        asked = PowerCapRequest(request.watts, request.site, nanoseconds / SECOND)
        return power_pb.SetPowerCapResponse(text=await self._call(self._control.cap_power, asked, request_id=request.request_id))


def power_message(view: PowerView) -> power_pb.Power:
    """To the API's power."""
    return power_pb.Power(
        places=[power_pb.PowerPlace(**vars(place)) for place in view.places],
        pue_ratio=view.pue_ratio,
        paused_jobs=view.paused_jobs,
        capped_seconds=view.capped_seconds,
    )


def power_view(power: power_pb.Power) -> PowerView:
    """Back from the API."""
    places = [PowerPlaceView(place.name, place.power_watts, place.cap_watts, place.clock_ratio) for place in power.places]
    return PowerView(tuple(places), power.pue_ratio, power.paused_jobs, power.capped_seconds)
