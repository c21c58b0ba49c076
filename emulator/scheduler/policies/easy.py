"""EASY backfilling (Lifka 1995; Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

Jobs start in queue order until the head does not fit. It then gets a reservation: the *shadow time* is the first cycle at which, by the
running jobs' estimates, it will; what has run for longer than estimated is expected to end by the next cycle. A job behind the head *may
start* when it fits now, where the placement puts it, and either ends by the shadow time or leaves the head still fitting at that time.
The first in queue order that may start does, until none may: a second look at the same state therefore starts nothing.

"Fits" is a matter of whole hosts and not of GPU counts alone, so the state at the shadow time is kept host by host
(``emulator.scheduler.shadow``). Where no shadow time exists, since the head needs hosts that are down, nothing delays it.
"""

from dataclasses import dataclass

import numpy as np

from emulator.scheduler.pending import ScanQueue
from emulator.scheduler.preempt import make_room
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.table import NEVER
from emulator.scheduler.view import Plan, View

#: More GPUs than any job asks for.
_ANY_SIZE = 2**62


@dataclass
class Easy:
    """The policy, with the head's reservation as a cache: it is valid until its time, or until something differs from the estimates."""

    shadow: Shadow | None = None
    surprises: int = 0  # as of the shadow

    def __call__(self, view: View) -> Plan:
        """Start what fits in order, then backfill behind the head."""
        pending = view.pending
        assert isinstance(pending, ScanQueue), "EASY looks behind the head"
        while (head := pending.head()) >= 0 and view.has_turn(head):
            rows = view.choose(head) or make_room(view, head)
            if rows is None:
                break
            # What starts in turn was not in the reservation, which was for this job.
            self.shadow = None
            view.start(head, rows)
        if len(pending) > 1 and view.free.has_room() and not view.plan.preempted:
            shadow = self._reservation(view, head)
            self._backfill(view, pending, shadow)
            # The reservation is made again when its time has passed, even if nothing ended by then.
            view.plan.reconsider(shadow.time_ns)
        return view.plan

    def _reservation(self, view: View, head: int) -> Shadow:
        shadow = self.shadow
        if shadow is None or shadow.head != view.table.job_id[head] or shadow.time_ns <= view.now_ns or self.surprises != view.surprises:
            shadow = self.shadow = Shadow.of(view, head)
            self.surprises = view.surprises
        return shadow

    @staticmethod
    def _backfill(view: View, pending: ScanQueue, shadow: Shadow) -> None:
        milli_gpus = view.table.milli_gpus
        short_ns = shadow.time_ns - view.now_ns

        behind = pending.behind_head(view.free.most_that_could_fit(), short_ns, shadow.spare_gpus())
        if not len(behind.positions):
            return
        sizes, plain, long = behind.sizes, behind.plain, behind.estimates_ns > short_ns
        if shadow.time_ns == NEVER:  # nothing can delay the head further
            long[:] = False
        long_plain = long & plain
        # Free GPUs only shrink within a pass, so a job that did not fit will not fit later: neither from this size on, nor these jobs.
        no_room = _ANY_SIZE
        done: list[int] = []
        ready = np.ones(len(sizes), dtype=bool)  # not known to delay the head where it would go now, that is until the next start
        while ready[index := int(ready.argmax())]:
            slot = pending.slot_at(int(behind.positions[index]))
            rows = view.choose(slot)
            if rows is None:
                if plain[index]:
                    no_room = int(sizes[index])
                    ready[sizes >= no_room] = False
                else:
                    done.append(index)
                    ready[index] = False
            elif long[index] and not shadow.spares(rows, milli_gpus[slot]):
                ready[long_plain & (sizes == sizes[index]) if plain[index] else index] = False
            else:
                if not long[index]:
                    shadow.lends(rows, milli_gpus[slot])
                view.start(slot, rows)
                done.append(index)
                no_room = min(no_room, view.free.most_that_could_fit() + 1)
                ready = sizes < no_room
                ready[done] = False
