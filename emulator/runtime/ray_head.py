"""The nodes of a Ray cluster according to its head (its GCS), asked in plain gRPC.

Ray's own client waits for minutes if nothing answers, and prints pages of C++ if this machine is no node of the cluster. With a call to the
head first, the problem is known within seconds and can be reported in a sentence.
"""

import ipaddress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import grpc
import psutil

from emulator.runtime.ray_address import HEAD_PORT, RUN_THERE, UnusableRay

#: Wall seconds to wait for an answer.
ANSWER_SECONDS = 4.0


@dataclass(frozen=True)
class RayNode:
    """A node that is alive. ``free_cpus`` may be a second old."""

    node_id: str
    host: str
    address: str
    cpus: int
    free_cpus: int

    def __str__(self) -> str:
        return self.address if self.host in ("", self.address) else f"{self.host} ({self.address})"


class RayHead:
    """The head at ``address`` (host:port), where something listens. Raises UnusableRay where that is no head of Ray's."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = _open_channel(address)
        self.nodes()

    def nodes(self) -> tuple[RayNode, ...]:
        """Those that are alive, by address."""
        gcs_pb2, gcs_service_pb2, gcs_service_pb2_grpc = (
            import_module(f"ray.core.generated.{name}") for name in ("gcs_pb2", "gcs_service_pb2", "gcs_service_pb2_grpc")
        )
        known = self._ask(
            gcs_service_pb2_grpc.NodeInfoGcsServiceStub(self._channel).GetAllNodeInfo, gcs_service_pb2.GetAllNodeInfoRequest()
        )
        rest = self._ask(
            gcs_service_pb2_grpc.NodeResourceInfoGcsServiceStub(self._channel).GetAllAvailableResources,
            gcs_service_pb2.GetAllAvailableResourcesRequest(),
        )
        free = {one.node_id: int(one.resources_available["CPU"]) for one in rest.resources_list if "CPU" in one.resources_available}
        alive = [node for node in known.node_info_list if node.state == gcs_pb2.GcsNodeInfo.ALIVE]
        nodes = [
            RayNode(
                node_id=node.node_id.hex(),
                host=node.node_manager_hostname,
                address=node.node_manager_address,
                cpus=int(node.resources_total["CPU"]) if "CPU" in node.resources_total else 0,
                free_cpus=free.get(node.node_id, 0),
            )
            for node in alive
        ]
        return tuple(sorted(nodes, key=lambda node: (node.address, node.node_id)))

    def local_node(self) -> RayNode:
        """The node on this machine. Raises UnusableRay where there is none."""
        mine = {one.address.partition("%")[0] for addresses in psutil.net_if_addrs().values() for one in addresses}
        nodes = self.nodes()
        local = next((node for node in nodes if node.address in mine or _is_loopback(node.address)), None)
        if local is None:
            some = ", ".join(dict.fromkeys(str(node) for node in nodes[:3])) + (", ..." if len(nodes) > 3 else "")
            raise UnusableRay(
                f"this machine is not a node of the Ray cluster at {self.address} (its nodes: {some or 'none'}), and only a node can drive "
                f"an emulation there; {RUN_THERE}"
            )
        return local

    def close(self) -> None:
        self._channel.close()

    def _ask(self, call: Any, request: Any) -> Any:
        try:
            return call(request, timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                raise UnusableRay(
                    f"the Ray cluster at {self.address} requires its token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
                    f"RAY_AUTH_TOKEN_PATH, as on its nodes ({details})"
                ) from error
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UnusableRay(
                    f"what listens at {self.address} does not answer within {ANSWER_SECONDS:g} s as the head of a Ray cluster would; "
                    f"the head's port is {HEAD_PORT} unless it was started with another"
                ) from error
            raise UnusableRay(
                f"what answers at {self.address} is not the head of a Ray cluster, which listens on port {HEAD_PORT} unless it was started "
                f"with another ({code.name.lower()})"
            ) from error


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a name
        return False


def _open_channel(address: str) -> grpc.Channel:
    """With Ray's own TLS and token, where its environment variables ask for them."""
    try:
        room = import_module("ray._private.grpc_utils")
    except ImportError:  # older versions of Ray have it in another module
        room = import_module("ray._private.utils")
    channel: grpc.Channel = room.init_grpc_channel(address, options=(("grpc.enable_http_proxy", 0),))
    return channel
