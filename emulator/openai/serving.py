"""What the endpoint needs of a running emulation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """How far a request is. Times are emulated seconds since it came; None: not yet.

    ``how`` is how it ended, as ``racks.serving_messages.Tally`` has it in small letters: finished, rejected, timed_out, cancelled, lost or
    too_long.
    """

    generated: int = 0
    first_seconds: float | None = None
    done_seconds: float | None = None
    how: str | None = None


class Serving(Protocol):
    """The services of a session, asked one request at a time. Any thread may call."""

    @property
    def speed(self) -> float:
        """Emulated seconds per wall second; inf: as fast as it can."""
        ...

    def models(self) -> list[str]:
        """The services by name: what clients call models."""
        ...

    def context_tokens(self, service: str) -> int:
        """Tokens of prompt and answer that a replica can hold."""
        ...

    def ask(self, service: str, prompt_tokens: int, output_tokens: int, priority: int) -> int:
        """A request comes now, at the emulated time of the wall clock. Returns its number. Who waits goes by ``priority``, higher first.

        Raises a ControlError where it cannot be taken, for one as the emulation has ended.
        """
        ...

    def progress(self, number: int) -> Progress:
        """Waits for nothing. What has ended is known until ``cancel``."""
        ...

    def cancel(self, number: int) -> None:
        """Nobody waits for it any more: where it has not ended, its client has gone away. Its number means nothing after that."""
        ...

    @property
    def version(self) -> int:
        """Rises whenever there may be progress."""
        ...

    def wait(self, version: int, woken: Callable[[], None]) -> bool:
        """Have ``woken`` called once, from any thread, when there is a later version; False where there is now, and it is not called."""
        ...
