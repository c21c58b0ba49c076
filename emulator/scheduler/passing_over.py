"""Jobs in order, where one that may not start or does not fit is passed over, until it has waited for too long."""

from collections.abc import Callable, Iterable
from typing import Any

from emulator.scheduler.draft import Draft
from emulator.scheduler.partition import Partition


def start_passing_over(draft: Draft, partition: Partition, slots: Iterable[int], allows: Callable[[int], bool], patience_ns: int) -> None:
    """Start those of ``slots`` that fit and that ``allows`` lets start, which is asked right before each start.

    Nobody passes a job that has waited for longer than ``patience_ns``, so none waits for ever.
    """
    table = draft.table
    unfit: set[tuple[Any, ...]] = set()
    for slot in slots:
        kind = draft.kind_of(partition, slot)
        rows = None
        if allows(slot) and kind not in unfit:
            if not draft.may_start(partition, slot):
                draft.wait_for_quota(partition, slot)
                continue
            rows = draft.choose(partition, slot)
            if rows is None:
                unfit.add(kind)
        if rows is not None:
            draft.start_in(partition, slot, rows)
        elif draft.now_ns - table.submit_ns[slot] > patience_ns:
            return
