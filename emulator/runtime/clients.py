"""The services of a session as clients see them: one request at a time, and how far each is (``openai.serving.Serving``)."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from emulator.engine.engine import Engine
from emulator.engine.errors import ControlError
from emulator.openai.serving import Progress
from emulator.racks.pool_records import How
from emulator.racks.serving_messages import Followed
from emulator.workload.jobs import SECOND
from emulator.workload.serving.costs import BLOCK_TOKENS

_HOW = {int(how): how.name.lower() for how in How}


class Asking(Protocol):
    """What is needed of a session."""

    def ask_service(self, name: str, prompt_tokens: int, output_tokens: int, priority: int) -> int: ...
    def leave_service(self, number: int) -> None: ...
    def asked_speed(self) -> float: ...


class Clients:
    """Any thread may call, and none waits for the emulation but in ``ask`` and ``cancel``."""

    def __init__(self, engine: Engine, session: Asking) -> None:
        assert engine.services is not None, "there is something to ask"
        self._session = session
        self._contexts = {service.name: service.kv_blocks * BLOCK_TOKENS for service in engine.services.settings.services}
        self._lock = threading.Lock()
        self._known: dict[int, Progress] = {}
        self._left: set[int] = set()  # of requests that have not ended, those whose clients have gone away
        self._woken: list[Callable[[], None]] = []
        self._version = 0
        engine.services.on_followed = self._note

    @property
    def speed(self) -> float:
        return self._session.asked_speed()

    @property
    def version(self) -> int:
        return self._version

    def models(self) -> list[str]:
        return list(self._contexts)

    def context_tokens(self, service: str) -> int:
        return self._contexts[service]

    def ask(self, service: str, prompt_tokens: int, output_tokens: int, priority: int) -> int:
        return self._session.ask_service(service, prompt_tokens, output_tokens, priority)

    def progress(self, number: int) -> Progress:
        with self._lock:
            return self._known.get(number, Progress())

    def cancel(self, number: int) -> None:
        with self._lock:
            known = self._known.pop(number, Progress())
            if known.how is not None:
                return
            self._left.add(number)
        with suppress(ControlError):  # the emulation has ended, and everybody has gone
            self._session.leave_service(number)

    def wait(self, version: int, woken: Callable[[], None]) -> bool:
        with self._lock:
            if self._version != version:
                return False
            self._woken.append(woken)
            return True

    def _note(self, followed: Followed, arrivals_ns: Mapping[int, int]) -> None:
        """What the shards tell, in the engine's thread."""
        columns = (followed.number, followed.generated, followed.first_ns, followed.done_ns, followed.how)
        with self._lock:
            for number, generated, first_ns, done_ns, how in zip(*(column.tolist() for column in columns), strict=True):
                if number in self._left:
                    if how >= 0:
                        self._left.discard(number)
                    continue
                came_ns = arrivals_ns[number]
                first = None if first_ns < 0 else (first_ns - came_ns) / SECOND
                done = None if done_ns < 0 else (done_ns - came_ns) / SECOND
                self._known[number] = Progress(generated, first, done, _HOW.get(how))
            self._version += 1
            woken, self._woken = self._woken, []
        for wake in woken:
            wake()
