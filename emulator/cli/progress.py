"""How a run is doing, on stderr: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from emulator.report.progress import Progress
from emulator.report.units import span

#: Wall seconds between lines where stderr is no terminal.
LINE_SECONDS = 10.0

Observer = Callable[[Progress], None]
T = TypeVar("T")


@contextmanager
def shown(*, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Observer | None]:
    """What to call with each ``Progress``; None where nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(words, _place) as observer:
            yield observer
    else:
        yield _lines(clock, words, clock() + LINE_SECONDS)


@contextmanager
def resuming(*, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Observer]:
    """The same for a session that goes on from its journal, until it is where it was; the first line comes at once."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(_resumed, _place) as observer:
            yield observer
    else:
        yield _lines(clock, _resumed, clock())


@contextmanager
def counting(what: str, total: int, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[int], None]]:
    """What to call with the number of those that are done, out of ``total``."""
    started = clock()

    def say(done: int) -> str:
        left = f"; {span(round((clock() - started) / done * (total - done)))} left" if done else ""
        return f"{done:,} of {total:,} {what}{left}"

    if quiet:
        yield lambda done: None
    elif sys.stderr.isatty():
        with _bar(say, lambda done: (done, total)) as observer:
            yield observer
    else:
        yield _lines(clock, say, started + LINE_SECONDS)


def _resumed(progress: Progress) -> str:
    return f"resuming: {stamp(progress.emulated_seconds)} of {stamp(progress.until_seconds or 0.0)}"


def words(progress: Progress) -> str:
    """``06:12:40 of 24:00:00, 1,800x, 12,345 jobs: 40 pending, 300 running, 12,005 ended; 87 % of GPUs; 12 s left``."""
    until = f" of {stamp(progress.until_seconds)}" if progress.until_seconds is not None else ""
    busy = 100 * progress.gpus_busy / progress.gpus if progress.gpus else 0.0
    jobs = f"{progress.submitted:,} jobs: {progress.pending:,} pending, {progress.running:,} running, {progress.ended:,} ended"
    left = remaining_seconds(progress)
    return f"{stamp(progress.emulated_seconds)}{until}, {progress.speed:,.0f}x, {jobs}; {busy:.0f} % of GPUs" + (
        f"; {span(round(left))} left" if left is not None else ""
    )


def stamp(seconds: float) -> str:
    """Emulated time as ``26:03:07``: hours go on above 24."""
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def remaining_seconds(progress: Progress) -> float | None:
    """Wall seconds to the end at the recent speed; None if that is unknown."""
    if progress.until_seconds is None or progress.speed <= 0:
        return None
    return max(progress.until_seconds - progress.emulated_seconds, 0.0) / progress.speed


def _place(progress: Progress) -> tuple[float, float | None]:
    """How far it is, and of how much."""
    return progress.emulated_seconds, progress.until_seconds


def _lines(clock: Callable[[], float], say: Callable[[T], str], first: float) -> Callable[[T], None]:
    due = first

    def observe(progress: T) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + LINE_SECONDS
            with contextlib.suppress(OSError):  # a terminal that has gone
                print(f"gigawatt: {say(progress)}", file=sys.stderr, flush=True)

    return observe


@contextmanager
def _bar(say: Callable[[T], str], place: Callable[[T], tuple[float, float | None]]) -> Iterator[Callable[[T], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    bars = Bars(BarColumn(bar_width=24), TextColumn("{task.description}"), console=Console(stderr=True, highlight=False), transient=True)
    with bars:
        task = bars.add_task("starting", total=None)

        def observe(progress: T) -> None:
            completed, total = place(progress)
            bars.update(task, completed=completed, total=total, description=say(progress))

        yield observe
