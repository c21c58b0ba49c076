"""Submissions of many clients, handed in together: what arrives while one lot is in hand is the next."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.engine.control import Control
from emulator.engine.errors import ControlError
from emulator.engine.job_control import JobView, Submission, Submitted
from emulator.service.calls import Calls
from emulator.service.convert import Intake

#: Most submissions of one lot, and most jobs where it has more than one submission: the emulation stands still while they are taken in.
MOST_SUBMISSIONS, MOST_JOBS = 256, 4096
#: Wall seconds from lot to lot under load: handing over costs as much for one submission as for many.
PACE_SECONDS = 0.005


@dataclass(frozen=True, eq=False)
class Handled:
    """What became of the jobs of one draft: per job its id or -1, the errors by index, and the first accepted job as it stands."""

    job_ids: NDArray[np.int64]
    errors: dict[int, ControlError]
    job: JobView | None


@dataclass(frozen=True, eq=False)
class _Order:
    convert: Callable[[], Intake]
    request_id: str
    jobs: int
    handled: "asyncio.Future[Handled]"


class Gathering:
    """The submissions of one event loop, which are accepted in the order in which they arrive. ``call`` has one thread, for them alone."""

    def __init__(self, control: Control, call: Calls) -> None:
        self._control, self._call = control, call
        self._waiting: deque[_Order] = deque()
        self._handing: asyncio.Task[None] | None = None
        self.in_hand = 0  # calls that wait for their answer

    async def hand_in(self, convert: Callable[[], Intake], request_id: str, jobs: int) -> Handled:
        """Submit what is sound of ``convert()``, a draft of ``jobs`` jobs. Raises what that raises."""
        order = _Order(convert, request_id, jobs, asyncio.get_running_loop().create_future())
        self._waiting.append(order)
        if self._handing is None or self._handing.done():
            self._handing = asyncio.create_task(self._hand_in_all())
        self.in_hand += 1
        try:
            return await order.handled
        finally:
            self.in_hand -= 1

    def close(self) -> None:
        """What waits is not submitted; whoever waits for it has gone."""
        self._waiting.clear()
        if self._handing is not None:
            self._handing.cancel()

    async def _hand_in_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            next_at = loop.time() + PACE_SECONDS
            lot = self._next_lot()
            try:
                answers: list[Handled | Exception] = await self._call(self._handled, lot)
            except Exception as error:  # noqa: BLE001 - raised by each of those who wait
                answers = [error] * len(lot)
            for order, answer in zip(lot, answers, strict=True):
                if order.handled.done():
                    continue
                if isinstance(answer, Handled):
                    order.handled.set_result(answer)
                else:
                    order.handled.set_exception(answer)
            # A client that submits one job after the other is not slowed; as soon as two meet, they are gathered.
            if len(lot) > 1 and len(self._waiting) < MOST_SUBMISSIONS and (early := next_at - loop.time()) > 0:
                await asyncio.sleep(early)

    def _next_lot(self) -> list[_Order]:
        """Those that have waited for longest; a call whose client has gone away meanwhile is not made."""
        lot: list[_Order] = []
        jobs = 0
        while self._waiting and len(lot) < MOST_SUBMISSIONS and (not lot or jobs + self._waiting[0].jobs <= MOST_JOBS):
            order = self._waiting.popleft()
            if not order.handled.done():
                lot.append(order)
                jobs += order.jobs
        return lot

    def _handled(self, lot: list[_Order]) -> list[Handled | Exception]:
        intakes: list[Intake | Exception] = []
        for order in lot:
            try:
                intakes.append(order.convert())
            except Exception as error:  # noqa: BLE001 - an error of one submission is that one's alone
                intakes.append(error)
        wanted = [
            Submission(intake.columns, order.request_id)
            for order, intake in zip(lot, intakes, strict=True)
            if isinstance(intake, Intake) and len(intake.rows)
        ]
        try:
            answers = iter(self._control.submit_all(wanted))
        except ControlError as error:
            answers = iter([error] * len(wanted))
        return [
            intake if isinstance(intake, Exception) else _handled(intake, next(answers) if len(intake.rows) else None) for intake in intakes
        ]


def _handled(intake: Intake, answer: Submitted | ControlError | None) -> Handled:
    """``answer`` is to the sound jobs of ``intake``; None where there are none."""
    job_ids, errors = np.full(len(intake.rows) + len(intake.errors), -1, dtype=np.int64), intake.errors
    if answer is None:
        return Handled(job_ids, errors, None)
    if isinstance(answer, ControlError):
        return Handled(job_ids, errors | dict.fromkeys(intake.rows.tolist(), answer), None)
    job_ids[intake.rows] = answer.result.job_ids
    refused = {int(intake.rows[index]): error for index, error in answer.result.errors.items()}
    job_ids[list(refused)] = -1
    return Handled(job_ids, errors | refused, answer.job)
