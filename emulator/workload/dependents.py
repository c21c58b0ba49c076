"""Jobs of one submission that depend on others of it: whom a refused job takes with it."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.workload.jobs import Dependency


def dependents(refused: Collection[int], after: NDArray[np.integer], places: Sequence[Sequence[Dependency]]) -> list[int]:
    """The rows that depend on one of ``refused``, on one that does so, or on one that is not before them; in order.

    ``after`` has the entry of ``places`` for each row, -1 for none. It takes as long as there are rows and places in the entries, however
    many rows share an entry.
    """
    entries_of: dict[int, list[int]] = {}  # by place
    for entry, others in enumerate(places):
        for place, _ in others:
            entries_of.setdefault(place, []).append(entry)
    last = [max((place for place, _ in others), default=-1) for others in places]
    lost = {entry for place in refused for entry in entries_of.get(place, ())}
    lost |= {entry for entry, others in enumerate(places) if any(place < 0 for place, _ in others)}
    found = []
    for row, entry in enumerate(after.tolist()):
        if entry >= 0 and row not in refused and (entry in lost or last[entry] >= row):
            found.append(row)
            lost.update(entries_of.get(row, ()))
    return found
