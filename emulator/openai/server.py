"""The endpoint: an event loop in a thread of its own, so that thousands of streams cost no threads.

    GET  /v1/models, /v1/models/NAME
    POST /v1/chat/completions, /v1/completions
    GET  /health

A stream begins with its first token, so what fails before that is an HTTP error. A client that goes away cancels its request.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from emulator.engine.errors import ControlError
from emulator.openai.answers import Answer, event, failure, model_body, models_body
from emulator.openai.asked import ApiError, Asked, asked_of, limited
from emulator.openai.http import Request, Watched, chunk, head, read_request, whole
from emulator.openai.pace import due_seconds
from emulator.openai.serving import Progress, Serving

#: Connections at a time; more are answered with 503.
MOST_CONNECTIONS = 8192
#: Calls of the session at a time that may wait.
_THREADS = 8
_CHAT, _COMPLETIONS = "/v1/chat/completions", "/v1/completions"
_METHODS = {"/v1/models": "GET", "/health": "GET", _CHAT: "POST", _COMPLETIONS: "POST"}


class _Gone(Exception):
    """The client has gone away."""


class _News:
    """Wakes all requests that wait for progress, of which the session wakes one."""

    def __init__(self, serving: Serving) -> None:
        self._serving, self._loop = serving, asyncio.get_running_loop()
        self._next: asyncio.Future[None] | None = None

    def after(self, version: int) -> "asyncio.Future[None]":
        """Done once there is a later version."""
        if self._next is None:
            self._next = self._loop.create_future()
            if not self._serving.wait(version, self._woken):
                self._wake()
                done: asyncio.Future[None] = self._loop.create_future()
                done.set_result(None)
                return done
        return self._next

    def _woken(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        waited, self._next = self._next, None
        if waited is not None and not waited.done():
            waited.set_result(None)


class _Endpoint:
    """Answers on the connections of one loop."""

    def __init__(self, serving: Serving) -> None:
        self._serving, self._news = serving, _News(serving)
        self._calls = ThreadPoolExecutor(_THREADS, thread_name_prefix="gigawatt-openai")
        self._begun = int(time.time())
        self.connections: set[asyncio.Task[None]] = set()

    def shut(self) -> None:
        """Let calls under way come to their end."""
        self._calls.shutdown()

    async def connected(self, reader: Watched, writer: asyncio.StreamWriter) -> None:
        """Answer one request after the other."""
        try:
            if len(self.connections) > MOST_CONNECTIONS:
                busy = ApiError(503, f"{MOST_CONNECTIONS} connections are open; try again later.", code="overloaded")
                writer.write(whole(busy.status, busy.body(), keeps=False, headers={"Retry-After": "1"}))
                return
            while await self._one(reader, writer):
                pass
        except (_Gone, ConnectionError):
            pass
        finally:
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _one(self, reader: Watched, writer: asyncio.StreamWriter) -> bool:
        """Answer the next request; False where there is none after it."""
        keeps = False
        try:
            request = await read_request(reader, writer)
            if request is None:
                return False
            keeps = request.keeps
            if request.path in (_CHAT, _COMPLETIONS) and request.method == "POST":
                await self._answer(request, reader, writer)
            else:
                writer.write(whole(200, await self._plain(request), keeps=keeps))
        except ApiError as error:
            headers = {"Retry-After": "1"} if error.status == 503 else {}
            writer.write(whole(error.status, error.body(), keeps=keeps, headers=headers))
        await writer.drain()
        return keeps

    async def _plain(self, request: Request) -> dict[str, Any]:
        listed, _, model = request.path.partition("/v1/models/")
        allowed = "GET" if not listed and model else _METHODS.get(request.path)
        if allowed is None:
            raise ApiError(
                404, f"Unknown request URL: {request.method} {request.path}; allowed: {', '.join(_METHODS)}.", code="unknown_url"
            )
        if request.method != allowed:
            raise ApiError(405, f"{request.path} is not for {request.method}; allowed: {allowed}.", code="method_not_allowed")
        if request.path == "/health":
            return {}
        models = self._serving.models()
        if not model:
            return models_body(models, self._begun)
        self._check_model(model, models)
        return model_body(model, self._begun)

    def _check_model(self, model: str, models: list[str]) -> None:
        if model not in models:
            message = f"The model `{model:.80}` does not exist; allowed: {', '.join(models) or 'none, nothing is served'}."
            raise ApiError(404, message, param="model", code="model_not_found")

    async def _answer(self, request: Request, reader: Watched, writer: asyncio.StreamWriter) -> None:
        came = asyncio.get_running_loop().time()
        chat = request.path == _CHAT
        asked = asked_of(request.body, chat=chat)
        self._check_model(asked.model, self._serving.models())
        output = limited(asked, self._serving.context_tokens(asked.model))
        number = await self._ask(asked, output)
        answer = Answer(number, asked.model, int(time.time()), asked.prompt_tokens, chat, asked.include_usage)
        try:
            if asked.stream:
                await self._stream(answer, came, reader, writer, keeps=request.keeps)
            else:
                generated = await self._follow(answer, came, reader, None)
                writer.write(whole(200, answer.whole(generated), keeps=request.keeps))
        finally:
            self._calls.submit(self._serving.cancel, number)

    async def _ask(self, asked: Asked, output: int) -> int:
        call = self._calls.submit(self._serving.ask, asked.model, asked.prompt_tokens, output, asked.priority)
        try:
            return await asyncio.wrap_future(call)
        except ControlError as error:
            raise ApiError(503, str(error), code="unavailable") from error
        except asyncio.CancelledError:
            call.add_done_callback(self._leave)
            raise

    def _leave(self, call: "Future[int]") -> None:
        """Nobody waits any more for a request that came while the endpoint was closed."""
        if not call.cancelled() and call.exception() is None:
            self._serving.cancel(call.result())

    async def _stream(self, answer: Answer, came: float, reader: Watched, writer: asyncio.StreamWriter, *, keeps: bool) -> None:
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "Transfer-Encoding": "chunked"}

        sent = 0

        async def send(place: int) -> None:
            nonlocal sent
            if place == 0:
                writer.write(head(200, headers, keeps=keeps))
            writer.write(chunk((b"" if place else answer.begin()) + answer.token(place)))
            sent += 1
            await writer.drain()

        try:
            generated = await self._follow(answer, came, reader, send)
        except ApiError as error:
            if not sent:
                raise
            writer.write(chunk(event(error.body())) + chunk(b""))
            return
        writer.write(chunk(answer.end(generated)) + chunk(b""))

    async def _follow(self, answer: Answer, came: float, reader: Watched, send: Callable[[int], Awaitable[None]] | None) -> int:
        """Until the request has ended and its last token is due; ``send`` gets each token when it is due. Returns how many there are."""
        loop, sent = asyncio.get_running_loop(), 0
        gone = asyncio.ensure_future(reader.gone.wait())
        try:
            while True:
                version, speed = self._serving.version, self._serving.speed
                progress = self._serving.progress(answer.number)
                if progress.how not in (None, "finished"):
                    raise failure(str(progress.how))
                due = _due(progress, sent, came, speed, follows=send is not None)
                if due is None:
                    await asyncio.wait((self._news.after(version), gone), return_when=asyncio.FIRST_COMPLETED)
                elif due > loop.time():
                    await asyncio.wait((gone,), timeout=due - loop.time())
                elif send is None or sent == progress.generated:
                    return progress.generated
                else:
                    await send(sent)
                    sent += 1
                if gone.done():
                    raise _Gone
        finally:
            gone.cancel()


def _due(progress: Progress, sent: int, came: float, speed: float, *, follows: bool) -> float | None:
    """When, on the loop's clock, the next token is to be sent, or the end; None: it is not known yet."""
    if follows and sent < progress.generated:
        return came + due_seconds(progress, sent, speed)
    if progress.done_seconds is None:
        return None
    return came + progress.done_seconds / speed


class OpenAiServer:
    """Serves ``serving`` on host and port (0: any that is free) until ``close``. Raises OSError where it cannot."""

    def __init__(self, serving: Serving, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        bound: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(serving, host, port, bound), name="gigawatt-openai", daemon=True)
        self._thread.start()
        self.host, self.port = host, bound.result()

    @property
    def url(self) -> str:
        """What clients take as their base URL."""
        return f"http://{self.host}:{self.port}/v1"

    def _run(self, serving: Serving, host: str, port: int, bound: "Future[int]") -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(serving, host, port, bound))
        except OSError as error:
            bound.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self, serving: Serving, host: str, port: int, bound: "Future[int]") -> None:
        endpoint = _Endpoint(serving)

        def connection() -> asyncio.StreamReaderProtocol:
            reader = Watched()

            def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = self._loop.create_task(endpoint.connected(reader, writer))
                endpoint.connections.add(task)
                task.add_done_callback(endpoint.connections.discard)

            return asyncio.StreamReaderProtocol(reader, connected)

        server = await self._loop.create_server(connection, host, port, backlog=1024)
        bound.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        for task in list(endpoint.connections):
            task.cancel()
        await asyncio.gather(*endpoint.connections, return_exceptions=True)
        await self._loop.run_in_executor(None, endpoint.shut)

    def close(self) -> None:
        """Stop answering; requests under way are cancelled. May be called twice."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
