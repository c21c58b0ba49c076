"""When tokens are due on the wall clock: at their emulated times since the request came, divided by the speed."""

from emulator.openai.serving import Progress


def due_seconds(progress: Progress, place: int, speed: float) -> float:
    """Wall seconds from the request to token ``place`` of it (0: the first), of those that are generated.

    Of an answer that is complete the tokens lie evenly between the first and the last. Of one that is not they are due as they are told.
    """
    first, last = progress.first_seconds or 0.0, progress.done_seconds
    if place == 0 or last is None or progress.generated < 2:
        return first / speed
    return (first + (last - first) * place / (progress.generated - 1)) / speed
