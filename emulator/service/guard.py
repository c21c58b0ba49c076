"""What every call passes through: bounds on calls in hand, requests that can be read, and errors that say what to do.

What is too much is refused before its request is read, with an answer made once, so that refusing costs a small part of serving.

An interceptor, so that servicers raise ControlError and know nothing of status codes.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from emulator.engine.errors import ControlError
from emulator.service.errors import Busy, Malformed, code_of, shortened, status_of

log = logging.getLogger(__name__)

_PACKAGE = "/emulator.v1."


def _lenient(deserializer: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Raises Malformed for what is not the message it should be; gRPC itself would answer with a bare INTERNAL."""

    def read(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError as error:
            allowed = "the message that the API's .proto gives"
            raise Malformed(f"the request is not a readable message: {error}", field="", allowed=allowed) from None

    return read


@dataclass(frozen=True)
class Limits:
    """What the server takes at once; more is refused (RESOURCE_EXHAUSTED with RetryInfo). One connection gets three quarters of each.

    ``calls`` have one request and one answer; ``streams`` are of SubmitJobs. ``request_bytes`` is what their requests have together. A
    stream that sends nothing for ``idle_seconds`` is ended. At ``threads`` calls at once the emulation is asked, and beside them by one
    lot of submissions; ``connections`` is how many clients may be connected.
    """

    calls: int = 512
    request_bytes: int = 64 * 2**20
    streams: int = 256
    watches: int = 64
    threads: int = 4
    connections: int = 512
    idle_seconds: float = 60.0


class Places:
    """What of one kind, calls or bytes, is in hand, in all and by connection; one loop's."""

    def __init__(self, most: int, what: str) -> None:
        self._most, self._most_of_one = most, max(1, most * 3 // 4)
        self._taken: Counter[str] = Counter()
        self.total = 0
        self.busy = Busy(f"the server has {most:,} {what} in hand and takes no more ({self._most_of_one:,} of one connection)")
        self.refusal = _refusal(self.busy)

    def take(self, peer: str, count: int = 1) -> bool:
        """Places for ``count`` of ``peer``, to be given back; False where there are not so many."""
        if self.total + count > self._most or self._taken[peer] + count > self._most_of_one:
            return False
        self.total += count
        self._taken[peer] += count
        return True

    def give(self, peer: str, count: int = 1) -> None:
        self.total -= count
        self._taken[peer] -= count
        if not self._taken[peer]:
            del self._taken[peer]

    @contextmanager
    def held(self, peer: str, count: int) -> Iterator[None]:
        """Places for ``count`` while inside. Raises Busy where there are not so many."""
        if not self.take(peer, count):
            raise self.busy
        try:
            yield
        finally:
            self.give(peer, count)


def _refusal(error: ControlError) -> Any:
    return rpc_status.to_status(status_of(error))


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Holds no more calls of the API than ``limits`` allow."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls = Places(limits.calls, "calls")
        self._bytes = Places(limits.request_bytes, "bytes of requests")
        self._streams = Places(limits.streams, "streams of jobs")
        self._watches = Places(limits.watches, "watches")
        self._guarded: dict[str, Any] = {}  # handlers by method

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        method: str = handler_call_details.method
        if (guarded := self._guarded.get(method)) is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(_PACKAGE):
            return handler
        self._guarded[method] = self._guard(method, handler)
        return self._guarded[method]

    def _guard(self, method: str, handler: Any) -> Any:
        read = _lenient(handler.request_deserializer)
        if handler.response_streaming:  # a watch gives its responses encoded
            return grpc.unary_stream_rpc_method_handler(self._watch(method, handler.unary_stream, read))
        coders = {"request_deserializer": None, "response_serializer": handler.response_serializer}
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(self._stream(method, handler.stream_unary, read), **coders)
        return grpc.unary_unary_rpc_method_handler(self._call(method, handler.unary_unary, read), **coders)

    def _call(self, method: str, inner: Any, read: Callable[[bytes], Any]) -> Any:
        async def behave(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with _place(self._calls, method, context):
                with self._bytes.held(context.peer(), len(data)):
                    return await inner(read(data), context)

        return behave

    def _stream(self, method: str, inner: Any, read: Callable[[bytes], Any]) -> Any:
        async def behave(stream: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with _place(self._streams, method, context):
                return await inner(self._requests(stream, read, context.peer()), context)

        return behave

    def _watch(self, method: str, inner: Any, read: Callable[[bytes], Any]) -> Any:
        async def behave(data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            async with _place(self._watches, method, context), aclosing(inner(read(data), context)) as responses:
                async for response in responses:
                    await context.write(response)

        return behave

    async def _requests(self, stream: AsyncIterator[bytes], read: Callable[[bytes], Any], peer: str) -> AsyncIterator[Any]:
        """The messages of a stream. Raises Busy where the next one does not come, or is too much beside what is in hand."""
        while True:
            try:
                async with asyncio.timeout(self._limits.idle_seconds):
                    data = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise Busy(f"the stream sent nothing for {self._limits.idle_seconds:g} s; what was accepted before stands") from None
            with self._bytes.held(peer, len(data)):
                yield read(data)


@asynccontextmanager
async def _place(places: Places, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Holds a place while inside; what is raised there ends the call with what it means."""
    peer = context.peer()
    if not places.take(peer):
        await context.abort(places.refusal.code, places.refusal.details, places.refusal.trailing_metadata)
    try:
        yield
    except Exception as error:  # noqa: BLE001 - every error has a status
        await _abort(error, method, context)
    finally:
        places.give(peer)


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
