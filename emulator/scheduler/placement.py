"""What a placement is: a pure choice of GPUs for one job, and what it is told of the job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.packing import RACK
from emulator.scheduler.scoring import Scorer
from emulator.workload.jobs import ANY_LEVEL


class Ask(NamedTuple):
    """What a job asks for. Levels are indexes into LEVEL_NAMES, or ANY_LEVEL."""

    gpus: int
    milli_gpus: int = 1000  # of each; less than 1000 only of a single GPU
    require_level: int = ANY_LEVEL
    prefer_level: int = ANY_LEVEL
    job_id: int = 0


#: (index, what is asked for) -> rows of the index, or None where it does not fit now. It takes nothing, and depends on nothing else but
#: its options. It may refuse no job that ``topology`` would place: policies count on that what fits is placed.
PlaceFunction = Callable[[FreeIndex, Ask], list[Row] | None]


@dataclass(frozen=True)
class Placement:
    """``scorer`` where the placement scores single hosts; ``file`` is where one of others comes from, "" for those on the shelf."""

    name: str
    place: PlaceFunction
    scorer: Scorer | None = None
    file: str = ""

    @property
    def may_score(self) -> bool:
        """Whether it scores hosts, or may ask one that does."""
        return self.scorer is not None or bool(self.file)


def could_ever_fit(free: FreeIndex, gpus: int, require_level: int) -> bool:
    """Whether the gang fits on the empty, healthy hosts of the type, including hosts that are not in service yet."""
    needed = -(-gpus // free.gpus_per_host)
    if require_level == ANY_LEVEL or needed <= 1:
        return needed <= free.host_count
    depth = free.depths[require_level]
    if depth == 0:
        return require_level == RACK and needed <= max((end - start for start, end in free.racks()), default=0)
    return needed <= free.levels[depth - 1].most_capacity()
