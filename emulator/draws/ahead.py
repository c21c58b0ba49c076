"""Draws made ahead, for entities with neighbouring numbers together: an array of a thousand costs some ten times what one draw costs."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

#: So many neighbours are drawn for together, and of so many such blocks the draws are kept.
TOGETHER, BLOCKS_KEPT = 1_024, 16

Drawn = TypeVar("Drawn")
Drawn_co = TypeVar("Drawn_co", covariant=True)


class InARow(Protocol[Drawn_co]):
    """A list, or an array."""

    def __getitem__(self, place: int, /) -> Drawn_co: ...


class Ahead(Generic[Drawn]):
    """``draw`` gives what it draws for each of these entities. It depends on their numbers alone, so to draw again changes nothing."""

    def __init__(self, draw: Callable[[NDArray[np.int64]], InARow[Drawn]]) -> None:
        self._draw = draw
        self._blocks: dict[int, InARow[Drawn]] = {}

    def of(self, entity: int) -> Drawn:
        """What is drawn for this entity."""
        block, place = divmod(entity, TOGETHER)
        found = self._blocks.get(block)
        if found is None:
            if len(self._blocks) == BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
            found = self._blocks[block] = self._draw(np.arange(block * TOGETHER, (block + 1) * TOGETHER))
        return found[place]
