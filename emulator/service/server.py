"""The gRPC server: an event loop in a thread of its own, so that whoever runs the emulation need not be asynchronous."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from emulator.engine.control import Control
from emulator.service import DEFAULT_ADDRESS, reflection
from emulator.service.calls import Calls
from emulator.service.gathering import Gathering
from emulator.service.gpu_types import GpuTypes
from emulator.service.guard import Guard, Limits
from emulator.service.job_servicer import JobServicer
from emulator.service.plan import planner
from emulator.service.power_servicer import PowerServicer
from emulator.service.reservation_servicer import ReservationServicer
from emulator.service.service_servicer import ServiceServicer
from emulator.service.servicers import ClockServicer, ClusterServicer, QueueServicer
from emulator.v1 import (
    clock_service_pb2,
    cluster_service_pb2,
    job_service_pb2,
    power_service_pb2,
    queue_service_pb2,
    reservation_service_pb2,
    service_service_pb2,
)
from emulator.v1.clock_service_pb2_grpc import add_ClockServiceServicer_to_server
from emulator.v1.cluster_service_pb2_grpc import add_ClusterServiceServicer_to_server
from emulator.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from emulator.v1.power_service_pb2_grpc import add_PowerServiceServicer_to_server
from emulator.v1.queue_service_pb2_grpc import add_QueueServiceServicer_to_server
from emulator.v1.reservation_service_pb2_grpc import add_ReservationServiceServicer_to_server
from emulator.v1.service_service_pb2_grpc import add_ServiceServiceServicer_to_server
from topology.catalog import HostType

log = logging.getLogger(__name__)

#: Largest message taken, in bytes: a batch of 65,536 jobs with names of 200 bytes.
MAX_MESSAGE_BYTES = 16 * 2**20

#: Calls, streams and watches that one connection has under way; more than three quarters of the streams and watches of ``Limits``.
STREAMS_OF_ONE_CONNECTION = 256
#: Calls of all connections that wait to be looked at.
MOST_UNSEEN = 4096

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (job_service_pb2, "JobService"),
        (queue_service_pb2, "QueueService"),
        (cluster_service_pb2, "ClusterService"),
        (clock_service_pb2, "ClockService"),
        (reservation_service_pb2, "ReservationService"),
        (power_service_pb2, "PowerService"),
        (service_service_pb2, "ServiceService"),
    )
)


class ServeError(Exception):
    """The server could not be started; the text says where and why."""


class Server:
    """A running server. ``address`` is host:port as bound, the port that was chosen included."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
        self._loop, self._thread = loop, thread
        self._stop = asyncio.Event()
        self._grace_seconds = 1.0
        self.address = ""
        self.port = 0
        self.gathering: Gathering | None = None

    def stop(self, grace_seconds: float = 1.0) -> None:
        """Refuse new calls, let those in hand go on for ``grace_seconds``, end. Returns when it has ended; may be called again."""
        if self._thread.is_alive():
            self._grace_seconds = grace_seconds
            with suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def run(self, control: Control, address: str, gpu_types: GpuTypes, limits: Limits, bound: "Future[Server]") -> None:
        """Bind, tell ``bound``, and serve until stopped."""
        call, submitting = Calls(limits.threads), Calls(1)
        self.gathering = gathering = Gathering(control, submitting)
        server = grpc.aio.server(
            interceptors=[Guard(limits)],
            options=[
                ("grpc.so_reuseport", 0),  # or a second server on the same port would take half of the calls
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.keepalive_time_ms", 30_000),  # a watcher whose machine went away is noticed
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.server_handshake_timeout_ms", 10_000),  # a connection that does not speak HTTP/2 by then is closed
                ("grpc.max_connection_idle_ms", 300_000),  # so is one without a call; clients connect again by themselves
                ("grpc.max_allowed_incoming_connections", limits.connections),
                ("grpc.max_metadata_size", 16_384),
                # More of one connection waits on the client's side and costs nothing here; the protection would refuse at random below it.
                ("grpc.max_concurrent_streams", STREAMS_OF_ONE_CONNECTION),
                ("grpc.http.overload_protection", 0),
                # Calls that nobody has looked at yet; gRPC ends what is more as CANCELLED, without a word.
                ("grpc.server.max_pending_requests", MOST_UNSEEN),
                ("grpc.server.max_pending_requests_hard_limit", MOST_UNSEEN),
            ],
        )
        healthy = HealthServicer()
        servicers: tuple[tuple[Any, Any], ...] = (
            (add_JobServiceServicer_to_server, JobServicer(control, call, gathering, gpu_types)),
            (add_QueueServiceServicer_to_server, QueueServicer(control, call)),
            (add_ClusterServiceServicer_to_server, ClusterServicer(control, call)),
            (add_ClockServiceServicer_to_server, ClockServicer(control, call)),
            (add_ReservationServiceServicer_to_server, ReservationServicer(control, call)),
            (add_PowerServiceServicer_to_server, PowerServicer(control, call)),
            (add_ServiceServiceServicer_to_server, ServiceServicer(control, call)),
            (health_pb2_grpc.add_HealthServicer_to_server, healthy),
        )
        for add, servicer in servicers:
            add(servicer, server)
        reflection.enable((*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name), server)
        try:
            host, self.port = _bind(server, address)
            self.address = f"{host}:{self.port}"
            await server.start()
            for service in ("", *SERVICES):
                await healthy.set(service, health_pb2.HealthCheckResponse.SERVING)
            bound.set_result(self)
            await self._stop.wait()
            await healthy.enter_graceful_shutdown()
        finally:
            await server.stop(self._grace_seconds)
            gathering.close()
            for pool in (call, submitting):
                pool.close()


def _bind(server: grpc.aio.Server, address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ServeError(f"{address!r} is no address to serve on; allowed: host:port, port 0 to 65535 (0: any that is free)")
    try:
        return host, server.add_insecure_port(address)
    except RuntimeError as error:
        raise ServeError(f"cannot serve on {address}: the port is taken, or the address is not this machine's; choose another") from error


def serve(
    control: Control,
    address: str = DEFAULT_ADDRESS,
    *,
    host_type: HostType,
    host_types: Sequence[HostType] = (),
    payload_ratio: float = 1.0,
    collective: str = "ring",
    limits: Limits | None = None,
) -> Server:
    """Serve ``control`` on ``address`` (host:port; port 0 takes any that is free) and return once calls are answered.

    Training jobs are planned for the GPUs that they name among ``host_types``, those of the cluster by number, and for ``host_type``'s, by
    default the only one, where they name none; and for ``payload_ratio`` of the line rate of these GPUs' lanes. Models that name no
    ``collective`` use this one (ring, tree, or auto). Raises ServeError where it cannot bind.
    """
    types = tuple(host_types) or (host_type,)
    plans = tuple(planner(one, one.lane_bytes_per_second * payload_ratio, collective) for one in types)
    gpu_types = GpuTypes(types, plans, types.index(host_type))
    bound: Future[Server] = Future()

    def run() -> None:
        loop = asyncio.new_event_loop()
        try:
            asyncio.set_event_loop(loop)
            server = Server(loop, threading.current_thread())
            loop.run_until_complete(server.run(control, address, gpu_types, limits or Limits(), bound))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException as error:
            if bound.done():
                log.exception("the gRPC server ended")
            else:
                bound.set_exception(error)
        finally:
            loop.close()

    threading.Thread(target=run, name="gigawatt-grpc", daemon=True).start()
    return bound.result()
