"""What a placement is: a pure choice of GPUs for one job, and what it is told of the job."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from emulator.scheduler.free import FreeIndex, Row
from emulator.scheduler.packing import RACK
from emulator.scheduler.scoring import Scorer
from emulator.scheduler.slices import cut_of, is_possible, most_slices, pack_slices
from emulator.workload.jobs import ANY_LEVEL


class Ask(NamedTuple):
    """What a job asks for. Levels are indexes into LEVEL_NAMES, or ANY_LEVEL."""

    gpus: int
    milli_gpus: int = 1000  # of each; less than 1000 only of a single GPU
    require_level: int = ANY_LEVEL
    prefer_level: int = ANY_LEVEL
    slice_gpus: int = 0  # 0: the job is not cut
    slice_level: int = ANY_LEVEL
    job_id: int = 0
    #: What a job that uses the fabric would get on rows, as a part of what it could use, 0 to 1; None where nothing is known of that.
    probe: Callable[[list[Row]], float] | None = None


#: (index, what is asked for) -> rows of the index, or None where it does not fit now. It takes nothing, and depends on nothing else but
#: its options. It may refuse no job that ``topology`` would place: policies count on that what fits is placed.
PlaceFunction = Callable[[FreeIndex, Ask], list[Row] | None]


@dataclass(frozen=True)
class Placement:
    """``scorer`` where the placement scores single hosts; ``file`` is where one of others comes from, "" for those on the shelf.

    ``slices``: it cuts jobs into slices by itself; others are not asked where slices go. ``asks_fabric``: it reads ``Ask.probe``.
    """

    name: str
    place: PlaceFunction
    scorer: Scorer | None = None
    file: str = ""
    slices: bool = False
    asks_fabric: bool = False

    def choose(self, free: FreeIndex, ask: Ask) -> list[Row] | None:
        """Where the job goes now. What is cut into slices goes where ``topology`` puts it, unless the placement cuts by itself."""
        if ask.slice_gpus:
            require_level, cut = cut_of(ask.gpus, ask.require_level, ask.slice_gpus, ask.slice_level, free.gpus_per_host)
            if cut is None:
                ask = ask._replace(require_level=require_level, slice_gpus=0, slice_level=ANY_LEVEL)
            elif not self.slices:
                return pack_slices(free, ask.gpus, require_level, ask.prefer_level, cut)
        return self.place(free, ask)

    @property
    def may_score(self) -> bool:
        """Whether it scores hosts, or may ask one that does."""
        return self.scorer is not None or bool(self.file)


def could_ever_fit(free: FreeIndex, gpus: int, require_level: int, slice_gpus: int = 0, slice_level: int = ANY_LEVEL) -> bool:
    """Whether the gang fits on the empty, healthy hosts of the type, including hosts that are not in service yet."""
    if slice_gpus:
        if not is_possible(gpus, slice_gpus, free.gpus_per_host):
            return False
        require_level, cut = cut_of(gpus, require_level, slice_gpus, slice_level, free.gpus_per_host)
        if cut is not None:
            return gpus // slice_gpus <= most_slices(free, require_level, cut)
    needed = -(-gpus // free.gpus_per_host)
    if require_level == ANY_LEVEL or needed <= 1:
        return needed <= free.host_count
    depth = free.depths[require_level]
    if depth == 0:
        return require_level == RACK and needed <= max((end - start for start, end in free.racks()), default=0)
    return needed <= free.levels[depth - 1].most_capacity()
