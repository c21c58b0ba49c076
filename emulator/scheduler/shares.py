"""Taking and freeing the GPUs of one job: whole ones, or a share of one."""

from emulator.scheduler.free import FreeIndex, Row


def hold(free: FreeIndex, rows: list[Row], milli_gpus: int) -> None:
    """Take the GPUs of ``rows`` that the job needs."""
    if milli_gpus < 1000:
        free.take_share(*share_of(free, rows), milli_gpus)
    else:
        free.take(rows)


def let_go(free: FreeIndex, rows: list[Row], milli_gpus: int) -> None:
    """Free what ``hold`` took."""
    if milli_gpus < 1000:
        free.give_share(*share_of(free, rows), milli_gpus)
    else:
        free.give(rows)


def share_of(free: FreeIndex, rows: list[Row]) -> tuple[int, int]:
    """The (host, gpu) of a fractional job's placement."""
    block, host_mask, gpu_mask = rows[0]
    return free.first_host[block] + host_mask.bit_length() - 1, gpu_mask.bit_length() - 1
