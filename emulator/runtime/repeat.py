"""Doing again what a journal holds: each input is handed to the engine before its cycle, as fast as the engine can."""

from collections.abc import Callable, Iterator

from emulator.engine.loop import Loop
from emulator.runtime.inputs import Inputs
from emulator.store.journal import Input


def repeat(loop: Loop, inputs: Inputs, records: Iterator[Input], up_to_ns: int, after_step: Callable[[], None]) -> None:
    """Make every step of ``loop`` up to ``up_to_ns``, with the inputs of ``records``; inputs of later cycles wait in the engine.

    An input is handed over as late as can be, when every cycle before its own has been run: it may name a job that came with one of them.
    """
    record = next(records, None)
    while True:
        while record is not None and record.stamp_ns <= loop.next_ns():
            inputs.take_up(record)
            record = next(records, None)
        if loop.finished or loop.next_ns() > up_to_ns:
            break
        loop.step()
        after_step()
    while record is not None:
        inputs.take_up(record)
        record = next(records, None)
