"""EASY backfilling (Lifka 1995; Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

Jobs start in queue order until the head does not fit. It then gets a reservation: the *shadow time* is the first cycle at which, by the
running jobs' estimates, it will. A job behind it may start now when it fits and either ends by the shadow time, or leaves the head
still fitting at that time. "Fits" is a matter of whole hosts and not of GPU counts alone, so the state at the shadow time is kept
host by host (``emulator.scheduler.shadow``).
"""

from dataclasses import dataclass

import numpy as np

from emulator.scheduler.pending import ScanQueue
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.view import Plan, View
from emulator.workload.jobs import ANY_LEVEL


@dataclass
class Easy:
    """The policy with its cache: the head's reservation, until something frees GPUs otherwise than expected."""

    shadow: Shadow | None = None

    def forget(self) -> None:
        """Something happened that the reservation did not foresee (a fault, a cancellation, an early end)."""
        self.shadow = None

    def plan(self, view: View) -> Plan:
        """Start what fits in order, then backfill behind the head."""
        pending = view.pending
        while (head := pending.head()) >= 0:
            rows = view.choose(head)
            if rows is None:
                break
            # What starts in turn was not in the reservation, which was for this job.
            self.shadow = None
            view.start(head, rows)
        if head >= 0 and len(pending) > 1 and view.free.free_gpus:
            self._backfill(view, head)
        if self.shadow is not None and view.now_ns < self.shadow.time_ns:
            # The reservation is made anew when it passes, whether or not anything ended by then.
            view.plan.reconsider_at_ns = self.shadow.time_ns
        return view.plan

    def _backfill(self, view: View, head: int) -> None:
        table, free, now = view.table, view.free, view.now_ns
        shadow = self.shadow
        if shadow is None or shadow.head != head or shadow.time_ns <= now:
            shadow = self.shadow = Shadow.of(view, head)
        pending = view.pending
        assert isinstance(pending, ScanQueue), "EASY looks behind the head"
        short_ns = shadow.time_ns - now
        positions, sizes, estimates = pending.behind_head(free.most_that_could_fit(), short_ns, shadow.spare_gpus())
        long = estimates > short_ns
        no_room = np.zeros(len(positions), dtype=bool)  # free GPUs only shrink within a pass: what did not fit will not
        delaying = np.zeros(len(positions), dtype=bool)  # would delay the head where it would go now, that is until the next start
        index = -1
        while len(ahead := np.flatnonzero(~(no_room | delaying)[index + 1 :])) and free.free_gpus:
            index += 1 + int(ahead[0])
            slot = pending.slot_at(int(positions[index]))
            plain = table.require_level[slot] == ANY_LEVEL and table.milli_gpus[slot] == 1000
            same = sizes == sizes[index] if plain else index
            rows = view.choose(slot)
            if rows is None:
                no_room[same] = True
            elif long[index] and not shadow.spares(rows, table.milli_gpus[slot]):
                delaying[same & long if plain else same] = True
            else:
                if not long[index]:
                    shadow.lends(rows)
                view.start(slot, rows)
                delaying[:] = False
