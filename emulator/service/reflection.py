"""gRPC server reflection under both of its names: ``grpc.reflection.v1``, and ``v1alpha`` for older clients.

grpcio-reflection has ``v1alpha`` alone. The two protocols differ in the package's name and in nothing else
(github.com/grpc/grpc-proto, ``grpc/reflection``), so v1 is described by renaming and answered by the same servicer.
"""

from collections.abc import Sequence

import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

_ALPHA = "grpc.reflection.v1alpha"
V1 = "grpc.reflection.v1"


def enable(services: Sequence[str], server: grpc.aio.Server) -> None:
    """Let clients ask ``server`` for the descriptors of ``services`` (full names) and of reflection itself."""
    described = (*services, reflection.SERVICE_NAME, _v1_file().services_by_name["ServerReflection"].full_name)
    reflection.enable_server_reflection(described, server)
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(described).ServerReflectionInfo,  # type: ignore[attr-defined]  # the stubs lack it
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    name = f"{V1}.ServerReflection"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler}),))


def _v1_file() -> FileDescriptor:
    """v1's file in the default pool: v1alpha's, with its names changed."""
    pool = descriptor_pool.Default()
    name = "grpc/reflection/v1/reflection.proto"
    try:
        return pool.FindFileByName(name)
    except KeyError:
        pass
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = name, V1
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(_ALPHA, V1)
    for method in file.service[0].method:
        method.input_type, method.output_type = (path.replace(_ALPHA, V1) for path in (method.input_type, method.output_type))
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(name)
