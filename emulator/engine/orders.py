"""Orders to the shards: collected at the head, and sent as columns in one message when a window needs them."""

from array import array
from collections.abc import Sequence

import numpy as np

from emulator.engine.shards import ShardRange
from emulator.racks.messages import RackOrder, RackOrders
from emulator.scheduler.free import Row


class RackOrderBuffer:
    """Rack orders by shard. ``shard_of_block[b]`` is the shard that holds block b."""

    def __init__(self, ranges: Sequence[ShardRange], first_host: Sequence[int]) -> None:
        starts = np.array([r.first_host for r in ranges])
        self.shard_of_block: list[int] = (np.searchsorted(starts, np.asarray(first_host[:-1]), side="right") - 1).tolist()
        #: By shard, two columns of numbers: of each order its time, kind, block, milliwatts and value; and its masks of hosts and GPUs.
        self._waiting = [_no_orders() for _ in ranges]
        self.size = 0

    def add(self, time_ns: int, kind: RackOrder, rows: Sequence[Row], milliwatts: int, value_ns: int = 0) -> None:
        """One order per row, all with the same power per GPU."""
        waiting, shard_of_block = self._waiting, self.shard_of_block
        for block, host_mask, gpu_mask in rows:
            numbers, masks = waiting[shard_of_block[block]]
            numbers.extend((time_ns, kind, block, milliwatts, value_ns))
            masks.extend((host_mask, gpu_mask))
        self.size += len(rows)

    def take(self, shard: int) -> RackOrders:
        """Remove and return all orders that wait for ``shard``."""
        (numbers, masks), self._waiting[shard] = self._waiting[shard], _no_orders()
        time_ns, kind, block, milliwatts, value_ns = np.array(numbers, dtype=np.int64).reshape(-1, 5).T
        host_mask, gpu_mask = np.array(masks, dtype=np.uint64).reshape(-1, 2).T
        self.size -= len(time_ns)
        return RackOrders(
            time_ns=time_ns.copy(),
            kind=kind.astype(np.int8),
            block=block.astype(np.int32),
            host_mask=host_mask.copy(),
            gpu_mask=gpu_mask.copy(),
            milliwatts=milliwatts.copy(),
            value_ns=value_ns.copy(),
        )

    def waiting_shards(self) -> list[int]:
        return [shard for shard, (numbers, _) in enumerate(self._waiting) if numbers]


def _no_orders() -> "tuple[array[int], array[int]]":
    return array("q"), array("Q")
