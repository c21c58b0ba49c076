"""Results do not depend on how the built-in ``sum`` adds floats: in turn up to Python 3.11, compensated from 3.12 on."""

import builtins
import functools
import math
import operator
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest

from emulator.runtime.opening import open_session
from emulator.scenario.load import load


def in_turn(values: Iterable[Any], start: Any = 0) -> Any:
    return functools.reduce(operator.add, values, start)


def compensated(values: Iterable[Any], start: Any = 0) -> Any:
    values = list(values)
    return math.fsum((start, *values)) if any(type(value) is float for value in values) else in_turn(values, start)


def test_the_two_ways_differ() -> None:
    assert in_turn([0.1] * 10) != compensated([0.1] * 10)


@pytest.mark.parametrize("preset", ["eagle", "frontier"])
def test_a_run_is_the_same_either_way(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for way in (in_turn, compensated):
        monkeypatch.setattr(builtins, "sum", way)
        with closing(open_session(load(preset, ["clock.until=6h", "seed=1", "runtime.actors=inline"]))) as session:
            found.add(session.run_to_end().digest)
        monkeypatch.undo()
    assert len(found) == 1
