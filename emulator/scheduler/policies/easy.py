"""EASY backfilling (Lifka 1995; Mu'alem and Feitelson, IEEE TPDS 2001, section 2).

Jobs start in queue order until the head does not fit. It then gets a reservation: the *shadow time* is the first cycle at which, by the
running jobs' estimates, it will. A job behind it may start now when it fits and either ends by the shadow time, or leaves the head
still fitting at that time. "Fits" is a matter of whole hosts and not of GPU counts alone, so the state at the shadow time is kept
host by host (``emulator.scheduler.shadow``).
"""

from dataclasses import dataclass

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
        short_ns = shadow.time_ns - now
        positions, sizes = pending.behind_head(free.most_that_could_fit(), short_ns, shadow.spare_gpus())  # type: ignore[union-attr]
        index = 0
        torn: set[tuple[int, int]] = set()  # (gpus, level) of long jobs that would delay the head, as of the last start
        while index < len(positions):
            slot = pending.slot_at(int(positions[index]))  # type: ignore[union-attr]
            shape = table.gpus[slot], table.require_level[slot]
            long = table.estimate_ns[slot] > short_ns
            rows = None if long and shape in torn and table.milli_gpus[slot] == 1000 else view.choose(slot)
            if rows is None:
                if shape[1] == ANY_LEVEL and table.milli_gpus[slot] == 1000 and not (long and shape in torn):
                    # Free GPUs only shrink within a pass: no other job of this size fits either.
                    behind = sizes[index + 1 :] != shape[0]
                    positions, sizes, index = positions[index + 1 :][behind], sizes[index + 1 :][behind], 0
                else:
                    index += 1
                continue
            if long and not shadow.spares(rows, table.milli_gpus[slot]):
                torn.add(shape)
            else:
                if not long:
                    shadow.lends(rows)
                view.start(slot, rows)
                torn.clear()
                if not free.free_gpus:
                    break
            index += 1

