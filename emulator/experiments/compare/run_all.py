"""All runs of a comparison: as tasks of Ray, some at a time, or one after the other in this process."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from emulator.experiments.compare.cells import Cell
from emulator.experiments.compare.one_run import Failed, Ran, one_run
from emulator.runtime.session import Session

logger = logging.getLogger(__name__)

_TASK = "emulator.experiments.compare.one_run:one_run"


class Runs:
    """Begins the runs of ``cells`` and says how they ended. ``stop`` ends them early; a handler of signals may call it.

    ``at_once`` is ``inline``, a number of Ray tasks, or ``auto``: a task for each CPU of this machine, or for each that is free in the Ray
    cluster that ``address`` or RAY_ADDRESS means.
    """

    def __init__(self, cells: Sequence[Cell], *, at_once: int | str, address: str | None) -> None:
        self._cells, self._at_once, self._address = cells, at_once, address
        self._session: Session | None = None
        self.stopped = False

    def stop(self) -> None:
        """End at the next cycle boundary; the runs that have not ended are lost."""
        self.stopped = True
        if self._session is not None:
            self._session.interrupt()

    def __iter__(self) -> Iterator[tuple[int, Ran | Failed]]:
        """The place of each cell and how its run ended, as they end. Raises RayStartError where Ray cannot be had."""
        left = dict(enumerate(self._cells))
        if self._at_once != "inline":
            for place, ended in self._on_ray(left):
                del left[place]
                yield place, ended
        for place, cell in left.items():
            if self.stopped:
                return
            ended = one_run(cell, self._hold)
            self._session = None
            if not self.stopped:
                yield place, ended

    def _hold(self, session: Session) -> None:
        self._session = session
        if self.stopped:
            session.interrupt()

    def _on_ray(self, cells: dict[int, Cell]) -> Iterator[tuple[int, Ran | Failed]]:
        """As far as Ray goes: what is lost with it is left over."""
        from emulator.runtime.driver_process import RayGone
        from emulator.runtime.link_messages import Lost
        from emulator.runtime.ray_calls import Calls

        calls = Calls(self._address, None if self._at_once == "auto" else int(self._at_once))
        try:
            for place, answer in calls.all(_TASK, dict(cells), lambda: self.stopped):
                ended: Any = answer
                yield place, Failed(f"Ray lost its task: {answer.words}") if isinstance(answer, Lost) else ended
        except RayGone as gone:
            if not self.stopped:
                logger.warning("Ray is gone (%s): the runs that are left go on in this process, one after the other", gone)
        finally:
            calls.close()
