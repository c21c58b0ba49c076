"""Checks that every call passes: a bound on calls in progress, requests that can be read, and errors that say what to do.

An interceptor, so that servicers raise ControlError and know nothing of status codes.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from emulator.engine.control import ControlError
from emulator.service.errors import Busy, Malformed, code_of, shortened, status_of

log = logging.getLogger(__name__)

_PACKAGE = "/emulator.v1."


class _Unreadable:
    """Stands for a request that is not the message it should be; gRPC itself would answer with a bare INTERNAL."""

    def __init__(self, error: DecodeError) -> None:
        self.error = Malformed(
            f"the request is not a readable message: {error}", field="", allowed="the message that the API's .proto gives"
        )


def _lenient(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError as error:
            return _Unreadable(error)

    return read


def _readable(request: Any) -> Any:
    if isinstance(request, _Unreadable):
        raise request.error
    return request


async def _readable_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _readable(request)


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Holds at most ``max_calls`` calls of the API at once; more are told to come back (RESOURCE_EXHAUSTED with RetryInfo)."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self.calls = 0  # in hand now

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(_PACKAGE):
            return handler
        coders = {"request_deserializer": _lenient(handler.request_deserializer), "response_serializer": handler.response_serializer}
        prepare: Callable[[Any], Any] = _readable_stream if handler.request_streaming else _readable
        if handler.response_streaming:
            make = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
            return make(self._streaming(method, inner, prepare), **coders)
        make = grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
        return make(self._single(method, inner, prepare), **coders)

    def _single(self, method: str, inner: Any, prepare: Callable[[Any], Any]) -> Any:
        async def behave(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                self._enter()
                try:
                    return await inner(prepare(request), context)
                finally:
                    self.calls -= 1
            except Exception as error:  # noqa: BLE001 - every error has a status
                await _abort(error, method, context)

        return behave

    def _streaming(self, method: str, inner: Any, prepare: Callable[[Any], Any]) -> Any:
        async def behave(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            try:
                self._enter()
                try:
                    async with aclosing(inner(prepare(request), context)) as responses:
                        async for response in responses:
                            await context.write(response)
                finally:
                    self.calls -= 1
            except Exception as error:  # noqa: BLE001 - every error has a status
                await _abort(error, method, context)

        return behave

    def _enter(self) -> None:
        self.calls += 1
        if self.calls > self._max_calls:
            self.calls -= 1
            raise Busy(f"the server already has {self._max_calls} calls in progress, which is its limit")


async def _abort(error: Exception, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End the call with what ``error`` means. What is not for the client's eyes goes to the log, under a number that the client gets."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, ControlError) and code_of(error)[0] is not grpc.StatusCode.INTERNAL:
        status = rpc_status.to_status(status_of(error))
        await context.abort(status.code, status.details, status.trailing_metadata)
    incident = secrets.token_hex(4)
    log.error("%s failed, incident %s", method, incident, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, shortened(f"internal error; the server's log has it as incident {incident}"))
