"""A service in small: a test says how far its requests are."""

import threading
from collections.abc import Callable, Iterator

import pytest

from emulator.engine.errors import ControlError, WrongState
from emulator.openai import OpenAiServer, Progress


class FakeServing:
    CONTEXT = 1000

    def __init__(self) -> None:
        self.speed = float("inf")
        self.asked: list[tuple[str, int, int]] = []
        self.priorities: list[int] = []
        self.cancelled: list[int] = []
        self.told: dict[int, Progress] = {}
        self.changed = threading.Condition()
        self.version = 0
        self.over: ControlError | None = None
        self.waiting: list[Callable[[], None]] = []
        #: What becomes of a request as soon as it is there; None: a test says it later.
        self.at_once: Callable[[int], Progress] | None = lambda output: Progress(output, 0.25, 1.5, "finished")

    def models(self) -> list[str]:
        return ["chat", "code"]

    def context_tokens(self, service: str) -> int:
        return self.CONTEXT

    def ask(self, service: str, prompt_tokens: int, output_tokens: int, priority: int) -> int:
        if self.over is not None:
            raise self.over
        with self.changed:
            number = len(self.asked)
            self.asked.append((service, prompt_tokens, output_tokens))
            self.priorities.append(priority)
            self.told[number] = Progress() if self.at_once is None else self.at_once(output_tokens)
            self.changed.notify_all()
        return number

    def progress(self, number: int) -> Progress:
        return self.told[number]

    def cancel(self, number: int) -> None:
        with self.changed:
            self.cancelled.append(number)
            self.changed.notify_all()

    def wait(self, version: int, woken: Callable[[], None]) -> bool:
        with self.changed:
            if self.version > version:
                return False
            self.waiting.append(woken)
            return True

    # -- what tests do --------------------------------------------------------------------------------------------------------------

    def tell(self, number: int, progress: Progress) -> None:
        with self.changed:
            self.told[number] = progress
            self.version += 1
            woken, self.waiting = self.waiting, []
        for one in woken:
            one()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for what the endpoint does."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(condition()), 30)


def ended() -> ControlError:
    return WrongState("the emulation has ended")


@pytest.fixture
def serving() -> FakeServing:
    return FakeServing()


@pytest.fixture
def server(serving: FakeServing) -> Iterator[OpenAiServer]:
    with OpenAiServer(serving) as server:
        yield server
