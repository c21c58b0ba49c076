"""Reflection under both of its names, asked by clients that have no other description of the API."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from emulator.service.server import SERVICES, Server

BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")
NAMES = {*SERVICES, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
VERSIONS = {"v1": "grpc-v1", "v1alpha": "grpc-v1alpha"}  # and what buf calls them


class V1Channel:
    """The Python client of v1alpha, under v1's method name: the messages are the same on the wire."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def stream_stream(self, method: str, **how: Any) -> Any:
        return self._channel.stream_stream(method.replace("v1alpha", "v1"), **how)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_python_client_finds_every_service(channel: grpc.Channel, version: str) -> None:
    database = ProtoReflectionDescriptorDatabase(channel if version == "v1alpha" else V1Channel(channel))
    assert set(database.get_services()) == NAMES
    pool = DescriptorPool(database)
    for name in NAMES:
        assert pool.FindServiceByName(name).methods
    asked = pool.FindServiceByName("grpc.reflection.v1.ServerReflection").methods[0].input_type
    assert asked.full_name == "grpc.reflection.v1.ServerReflectionRequest"


def test_what_is_not_there_is_an_error_in_the_answer(channel: grpc.Channel) -> None:
    """As the protocol has it: the stream goes on after a name that the server does not know."""
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = [{"file_containing_symbol": "emulator.v1.Nothing"}, {"list_services": ""}]
    missing, services = call(iter([reflection_pb2.ServerReflectionRequest(**request) for request in requests]), timeout=30)
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert {service.name for service in services.list_services_response.service} == NAMES


@pytest.mark.skipif(BUF is None, reason="buf is not installed (pip install buf-bin)")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_of_another_language_finds_and_calls(server: Server, version: str) -> None:
    curl = [str(BUF), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect-protocol", VERSIONS[version]]
    listed = subprocess.run([*curl, "--list-services", f"http://{server.address}"], capture_output=True, text=True, timeout=60, check=False)
    assert set(listed.stdout.split()) == NAMES, listed.stderr
    url = f"http://{server.address}/emulator.v1.ClockService/GetClock"
    called = subprocess.run([*curl, url], capture_output=True, text=True, timeout=60, check=False)
    assert "clock" in json.loads(called.stdout), called.stderr
