"""Whom a refused job takes with it, against a plain search until nothing changes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.dependents import dependents

ROWS = 8
ENTRIES = st.lists(st.lists(st.tuples(st.integers(-1, ROWS), st.booleans()), max_size=3), max_size=5)


@given(st.sets(st.integers(0, ROWS - 1)), ENTRIES, st.data())
def test_as_a_plain_search_finds(refused: set[int], places: list[list[tuple[int, bool]]], data: st.DataObject) -> None:
    after = data.draw(st.lists(st.integers(-1, len(places) - 1), min_size=ROWS, max_size=ROWS))
    lost = set(refused)
    while True:
        more = {
            row
            for row, entry in enumerate(after)
            if row not in lost and entry >= 0 and any(not 0 <= place < row or place in lost for place, _ in places[entry])
        }
        if not more:
            break
        lost |= more
    assert dependents(refused, np.array(after), places) == sorted(lost - refused)
