"""When a job can start where hosts are reserved at times, by the running jobs' estimates: before a window, beside it or once it is over."""

from emulator.scheduler.partition import Partition
from emulator.scheduler.shadow import Shadow
from emulator.scheduler.table import JobTable


def shadow_behind(table: JobTable, partition: Partition, head: int, ends: list[tuple[int, int]], now_ns: int, cycle_ns: int) -> Shadow:
    """The state at the first cycle at which the head, which does not fit now, will, on hosts that it sees then.

    ``ends`` as in ``Shadow.renew``. From one beginning or end of a window to the next it sees the same hosts, so each such span is looked
    at by itself, the earliest first.
    """
    views, expected_ns = partition.views, table.expected_on(head, partition.host_type)
    assert views is not None, "asked where hosts are reserved"
    shadow = None
    for span in views.spans(now_ns + cycle_ns, expected_ns, cycle_ns):
        shadow = Shadow.now(table, span.free, head)
        shadow.renew_from(table, ends, span.begin_ns, cycle_ns)
        if shadow.time_ns < span.end_ns:
            return shadow
    assert shadow is not None, "there is a span"
    return shadow  # the last span is open, so no end of a job lets the head in
