"""Watches, read by the event loop without ever blocking it: what is told of a change is encoded once, for all watches."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from emulator.engine.control import Control
from emulator.engine.job_control import JobEvent
from emulator.service.calls import Calls
from emulator.service.views import event_message
from emulator.v1.job_service_pb2 import WatchJobsResponse

#: Changes that are looked at between two rests of the loop, and so most events of a message.
BATCH = 128
#: Snapshots that ask for a turn at the emulation at once: between two of theirs everybody else comes.
SNAPSHOTS_AT_ONCE = 2


def encoded(event: JobEvent) -> bytes:
    """A response with this one event. Responses one behind the other are a response with the events of all."""
    return WatchJobsResponse(events=(event_message(event),)).SerializeToString()


class Watches:
    """The watches of one event loop."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call
        self._few = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)

    async def responses(self, job_ids: frozenset[int], after_sequence: int) -> AsyncIterator[bytes]:
        """Encoded responses until the watch has ended. Raises what Control raises."""
        watch = await self._call(self._control.watch, encoded, job_ids=job_ids, after_sequence=after_sequence)
        try:
            while True:
                if watch.needs_turn:
                    async with self._few:
                        events = await self._call(watch.take, BATCH)
                else:
                    events = watch.take(BATCH)
                if events:
                    yield b"".join(events)
                elif watch.ended:
                    return
                else:
                    await _more(watch.wait)
        finally:
            watch.close()


async def _more(wait: Callable[[Callable[[], None]], bool]) -> None:
    """Until there may be more to take."""
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: there is no reader any more
            loop.call_soon_threadsafe(woken.set)

    if wait(wake):
        await woken.wait()
    else:
        await asyncio.sleep(0)
