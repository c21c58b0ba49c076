"""How a run is doing, on stderr: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from emulator.report.progress import Progress
from emulator.report.units import span

#: Wall seconds between lines where stderr is no terminal.
LINE_SECONDS = 10.0

Observer = Callable[[Progress], None]


@contextmanager
def shown(*, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Observer | None]:
    """What to call with each ``Progress``; None where nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar(words) as observer:
            yield observer
    else:
        yield _lines(clock, words, clock() + LINE_SECONDS)


@contextmanager
def resuming(*, quiet: bool, clock: Callable[[], float] = time.monotonic) -> Iterator[Observer]:
    """The same for a session that goes on from its journal, until it is where it was; the first line comes at once."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar(_resumed) as observer:
            yield observer
    else:
        yield _lines(clock, _resumed, clock())


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


def _lines(clock: Callable[[], float], say: Callable[[Progress], str], first: float) -> Observer:
    due = first

    def observe(progress: Progress) -> None:
        nonlocal due
        if clock() >= due:
            due = clock() + LINE_SECONDS
            with contextlib.suppress(OSError):  # a terminal that has gone
                print(f"gigawatt: {say(progress)}", file=sys.stderr, flush=True)

    return observe


@contextmanager
def _bar(say: Callable[[Progress], str]) -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    bars = Bars(BarColumn(bar_width=24), TextColumn("{task.description}"), console=Console(stderr=True, highlight=False), transient=True)
    with bars:
        task = bars.add_task("starting", total=None)

        def observe(progress: Progress) -> None:
            bars.update(task, completed=progress.emulated_seconds, total=progress.until_seconds, description=say(progress))

        yield observe
