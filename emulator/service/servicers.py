"""QueueService, ClusterService and ClockService: thin shells around Control."""

from collections.abc import Callable
from typing import Any

import grpc.aio

from emulator.engine.bounds import LONGEST_NS, LONGEST_YEARS, MOST_STEP_CYCLES, REMAINING_RULE, SPEED_RULE, is_remaining_ratio, is_speed
from emulator.engine.control import Control
from emulator.engine.errors import InvalidRequest, NotFound
from emulator.engine.fault_control import FaultRequest
from emulator.engine.fault_requests import OF_HOSTS
from emulator.engine.hardware_control import HostState
from emulator.engine.snapshot import ClockView
from emulator.service import views
from emulator.service.answers import Answers
from emulator.service.calls import Calls
from emulator.service.draft import duration_ns
from emulator.service.paging import page_of
from emulator.service.validate import check_request_id
from emulator.v1 import clock_service_pb2 as clock_pb
from emulator.v1 import cluster_service_pb2 as cluster_pb
from emulator.v1 import queue_service_pb2 as queue_pb
from emulator.v1.clock_service_pb2_grpc import ClockServiceServicer
from emulator.v1.cluster_service_pb2_grpc import ClusterServiceServicer
from emulator.v1.queue_service_pb2_grpc import QueueServiceServicer
from emulator.workload.jobs import SECOND
from topology.cluster import TIERS

Context = grpc.aio.ServicerContext[Any, Any]

#: Most characters of the name of a part of the cluster; names that people give to hosts and switches are shorter.
MAX_NAME = 1000
#: Most characters of a hostlist.
MAX_HOSTLIST = 1_000_000
#: What can be broken, as in the API and as ``engine.fault_control`` has it.
FAULT_TARGETS = {number: name.removeprefix("FAULT_TARGET_").lower() for name, number in cluster_pb.FaultTarget.items() if number}


def _name(name: str, field: str = "name") -> str:
    """A name as it was given. Raises InvalidRequest for none, and for one that is too long."""
    if not 0 < len(name) <= MAX_NAME:
        raise InvalidRequest(f"{field} has {len(name)} characters", field=field, allowed=f"1 to {MAX_NAME}")
    return name


class QueueServicer(QueueServiceServicer):
    """``emulator.v1.QueueService``: queues, sorted by name."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call

    async def ListQueues(self, request: queue_pb.ListQueuesRequest, context: Context) -> queue_pb.ListQueuesResponse:
        page = page_of("queues", request.page_size, request.page_token)
        queues = sorted(await self._call(self._control.queues), key=lambda queue: queue.name)
        first = page.after + 1
        rows, token = page.cut(queues[first : first + page.size + 1], first + page.size - 1)
        return queue_pb.ListQueuesResponse(queues=map(views.queue_message, rows), next_page_token=token, total_size=len(queues))

    async def GetQueue(self, request: queue_pb.GetQueueRequest, context: Context) -> queue_pb.GetQueueResponse:
        queues = await self._call(self._control.queues)
        for queue in queues:
            if queue.name == request.name:
                return queue_pb.GetQueueResponse(queue=views.queue_message(queue))
        raise NotFound(f"there is no queue {request.name!r:.80}", field="name", allowed=", ".join(sorted(queue.name for queue in queues)))


class ClusterServicer(ClusterServiceServicer):
    """``emulator.v1.ClusterService``: the hardware page by page, cordons and injected faults."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call

    async def GetCluster(self, request: cluster_pb.GetClusterRequest, context: Context) -> cluster_pb.GetClusterResponse:
        return cluster_pb.GetClusterResponse(cluster=views.cluster_message(await self._call(self._control.cluster)))

    async def ListRacks(self, request: cluster_pb.ListRacksRequest, context: Context) -> cluster_pb.ListRacksResponse:
        page = page_of("racks", request.page_size, request.page_token)
        found = await self._call(self._control.racks, after=page.after, limit=page.size + 1)
        last = page.last(found)
        rows, token = page.cut(found, last.rack if last else -1)
        total = page.total(found) or (await self._call(self._control.cluster)).racks
        return cluster_pb.ListRacksResponse(racks=map(views.rack_message, rows), next_page_token=token, total_size=total)

    async def GetRack(self, request: cluster_pb.GetRackRequest, context: Context) -> cluster_pb.GetRackResponse:
        return cluster_pb.GetRackResponse(rack=views.rack_message(await self._call(self._control.rack, _name(request.name))))

    async def ListHosts(self, request: cluster_pb.ListHostsRequest, context: Context) -> cluster_pb.ListHostsResponse:
        for number in request.states:
            if number not in views.HOST_STATE_OF:
                allowed = ", ".join(f"HOST_STATE_{state.name}" for state in HostState)
                raise InvalidRequest(f"states has the value {number}", field="states", allowed=allowed)
        states = frozenset(views.HOST_STATE_OF[number] for number in request.states)
        if len(request.names) > MAX_HOSTLIST:
            raise InvalidRequest(f"names has {len(request.names)} characters", field="names", allowed=f"at most {MAX_HOSTLIST:,}")
        rack = _name(request.rack, "rack") if request.rack else ""
        page = page_of(f"hosts {sorted(states)} {rack} {request.names}", request.page_size, request.page_token)
        found, total = await self._call(
            self._control.hosts, after=page.after, limit=page.size + 1, names=request.names, rack=rack, states=states
        )
        last = page.last(found)
        rows, token = page.cut(found, last.host if last else -1)
        return cluster_pb.ListHostsResponse(hosts=map(views.host_message, rows), next_page_token=token, total_size=total)

    async def GetHost(self, request: cluster_pb.GetHostRequest, context: Context) -> cluster_pb.GetHostResponse:
        return cluster_pb.GetHostResponse(host=views.host_message(await self._call(self._control.host, _name(request.name))))

    async def ListLinks(self, request: cluster_pb.ListLinksRequest, context: Context) -> cluster_pb.ListLinksResponse:
        if request.tier and request.tier not in TIERS:
            raise InvalidRequest(f"tier is {request.tier!r:.80}", field="tier", allowed=", ".join(TIERS))
        question = f"links {request.tier} {request.unhealthy} {request.busiest}"
        page = page_of(question, request.page_size, request.page_token)
        found = await self._call(
            self._control.links,
            after=page.after,
            limit=page.size + 1,
            tier=request.tier,
            unhealthy=request.unhealthy,
            busiest=request.busiest,
        )
        last = page.last(found)
        place = page.after + page.size if request.busiest else last.link if last else -1
        rows, token = page.cut(found, place)
        total = page.total(found) or await self._call(self._control.link_count, tier=request.tier, unhealthy=request.unhealthy)
        return cluster_pb.ListLinksResponse(links=map(views.link_message, rows), next_page_token=token, total_size=total)

    async def GetLink(self, request: cluster_pb.GetLinkRequest, context: Context) -> cluster_pb.GetLinkResponse:
        return cluster_pb.GetLinkResponse(link=views.link_message(await self._call(self._control.link, _name(request.name))))

    async def CordonRack(self, request: cluster_pb.CordonRackRequest, context: Context) -> cluster_pb.CordonRackResponse:
        check_request_id(request.request_id)
        _check_number("rack", request.rack)
        number = (await self._call(self._control.rack, _name(request.name))).rack if request.name else request.rack
        rack = await self._call(self._control.cordon, number, cordoned=request.cordoned, request_id=request.request_id)
        return cluster_pb.CordonRackResponse(rack=views.rack_message(rack))

    async def InjectFault(self, request: cluster_pb.InjectFaultRequest, context: Context) -> cluster_pb.InjectFaultResponse:
        check_request_id(request.request_id)
        target = FAULT_TARGETS.get(request.target)
        if target is None:
            raise InvalidRequest(
                f"target is {request.target}",
                field="target",
                allowed=", ".join(f"FAULT_TARGET_{known.upper()}" for known in FAULT_TARGETS.values()),
            )
        _check_number("number", request.number)
        nanoseconds = duration_ns(request.duration, "duration")
        if not 0 < nanoseconds <= LONGEST_NS:
            raise InvalidRequest(
                f"duration is {nanoseconds / SECOND:g} s", field="duration", allowed=f"more than 0, at most {LONGEST_YEARS} years"
            )
        ratio = request.remaining_ratio
        if not is_remaining_ratio(ratio) or (ratio and target in OF_HOSTS and target != "slow"):
            allowed = f"{REMAINING_RULE}; 0 for hosts and racks"
            raise InvalidRequest(f"remaining_ratio is {ratio:g} for a {target}", field="remaining_ratio", allowed=allowed)
        name = _name(request.name) if request.name else str(request.number)
        flap, every = (_short(duration_ns(value, field), field) for value, field in ((request.flap, "flap"), (request.every, "every")))
        cause = _name(request.cause, "cause") if request.cause else ""
        fault = FaultRequest(target, name, nanoseconds / SECOND, ratio, flap, every, cause)
        text = await self._call(self._control.inject_fault, fault, request_id=request.request_id)
        return cluster_pb.InjectFaultResponse(text=text)

    async def ListFaults(self, request: cluster_pb.ListFaultsRequest, context: Context) -> cluster_pb.ListFaultsResponse:
        page = page_of("faults", request.page_size, request.page_token)
        found = await self._call(self._control.faults)
        after = [fault for fault in found if fault.fault_id > page.after]  # of those that there were, some may be over
        last = page.last(after)
        rows, token = page.cut(after[: page.size + 1], last.fault_id if last else -1)
        return cluster_pb.ListFaultsResponse(faults=map(views.fault_message, rows), next_page_token=token, total_size=len(found))

    async def ClearFault(self, request: cluster_pb.ClearFaultRequest, context: Context) -> cluster_pb.ClearFaultResponse:
        check_request_id(request.request_id)
        text = await self._call(self._control.clear_fault, _name(request.name), request_id=request.request_id)
        return cluster_pb.ClearFaultResponse(text=text)


class ClockServicer(ClockServiceServicer):
    """``emulator.v1.ClockService``: a change with the request id of an earlier one gets that one's answer."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call, self._answers = control, call, Answers()

    async def _change(self, request: Any, change: Callable[[], ClockView]) -> clock_pb.Clock:
        check_request_id(request.request_id)
        name, body = type(request).__name__, request.SerializeToString(deterministic=True)
        return views.clock_message(await self._answers.once(name, request.request_id, body, lambda: self._call(change)))

    async def GetClock(self, request: clock_pb.GetClockRequest, context: Context) -> clock_pb.GetClockResponse:
        return clock_pb.GetClockResponse(clock=views.clock_message(await self._call(self._control.clock)))

    async def Pause(self, request: clock_pb.PauseRequest, context: Context) -> clock_pb.PauseResponse:
        return clock_pb.PauseResponse(clock=await self._change(request, self._control.pause))

    async def Resume(self, request: clock_pb.ResumeRequest, context: Context) -> clock_pb.ResumeResponse:
        return clock_pb.ResumeResponse(clock=await self._change(request, self._control.resume))

    async def SetSpeed(self, request: clock_pb.SetSpeedRequest, context: Context) -> clock_pb.SetSpeedResponse:
        if not is_speed(request.speed):
            raise InvalidRequest(f"speed is {request.speed:g}", field="speed", allowed=f"{SPEED_RULE}; infinity: as fast as it can")
        return clock_pb.SetSpeedResponse(clock=await self._change(request, lambda: self._control.set_speed(request.speed)))

    async def Step(self, request: clock_pb.StepRequest, context: Context) -> clock_pb.StepResponse:
        cycles = request.cycles if request.HasField("cycles") else 1
        if not 1 <= cycles <= MOST_STEP_CYCLES:
            raise InvalidRequest(f"cycles is {cycles}", field="cycles", allowed=f"1 to {MOST_STEP_CYCLES:,}")
        return clock_pb.StepResponse(clock=await self._change(request, lambda: self._control.step(cycles)))


def _short(nanoseconds: int, field: str) -> float:
    """Seconds. Raises InvalidRequest for a time that is none, or too long."""
    if not 0 <= nanoseconds <= LONGEST_NS:
        raise InvalidRequest(f"{field} is {nanoseconds / SECOND:g} s", field=field, allowed=f"0 (none) to {LONGEST_YEARS} years")
    return nanoseconds / SECOND


def _check_number(field: str, number: int) -> None:
    if not 0 <= number < 2**31:
        raise InvalidRequest(f"{field} is {number}", field=field, allowed="0 to 2147483647")
