"""Strict head of line: jobs start in queue order, and the queue stops at the first job that does not fit.

``fifo`` orders by submission and ``sjf`` by estimate; both are this pass over a queue in that order. The rule is the one of the reference
schedules of Helios (Hu et al., SC'21, artifact) and of the Philly comparison there.
"""

from emulator.scheduler.preempt import make_room
from emulator.scheduler.view import Plan, View


def plan(view: View) -> Plan:
    """Start the head of the queue as long as it fits."""
    pending = view.pending
    while (slot := pending.head()) >= 0 and view.has_turn(slot):
        rows = view.choose(slot) or make_room(view, slot)
        if rows is None:
            break
        view.start(slot, rows)
    return view.plan
