"""First answers, kept for a while, so that a repeated request_id is not carried out again."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from emulator.engine.errors import InvalidRequest

Answer = TypeVar("Answer")


class Answers:
    """The last ``limit`` answers by method and request_id, for one event loop.

    For calls whose Control has no request_id of its own (the clock's); the rest are remembered by Control, in the journal.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, str], tuple[bytes, asyncio.Future[Any]]] = OrderedDict()

    async def once(self, method: str, request_id: str, request: bytes, act: Callable[[], Awaitable[Answer]]) -> Answer:
        """The first answer of ``act``. Failures are not kept. Raises InvalidRequest if the id was used for another request."""
        if not request_id:
            return await act()
        key = (method, request_id)
        if key not in self._kept:
            answer: asyncio.Future[Answer] = asyncio.ensure_future(act())
            self._kept[key] = (request, answer)
            answer.add_done_callback(lambda done: self._settle(key, done))
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        first, answer = self._kept[key]
        if first != request:
            raise InvalidRequest("request_id was used for a different request", field="request_id", allowed="a new one for each request")
        return await asyncio.shield(answer)  # a client that goes away does not take the answer with it

    def _settle(self, key: tuple[str, str], done: asyncio.Future[Any]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._kept.get(key, (b"", None))[1] is done:
            del self._kept[key]
