"""Orders to the shards: collected at the head, and sent as columns in one message when a window needs them."""

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
        self._waiting: list[list[tuple[int, int, int, int, int, int, int]]] = [[] for _ in ranges]
        self.size = 0

    def add(self, time_ns: int, kind: RackOrder, rows: Sequence[Row], milliwatts: int, value_ns: int = 0) -> None:
        """One order per row, all with the same power per GPU."""
        waiting, shard_of_block = self._waiting, self.shard_of_block
        for block, host_mask, gpu_mask in rows:
            waiting[shard_of_block[block]].append((time_ns, kind, block, host_mask, gpu_mask, milliwatts, value_ns))
        self.size += len(rows)

    def take(self, shard: int) -> RackOrders:
        """Remove and return all orders that wait for ``shard``."""
        orders, self._waiting[shard] = self._waiting[shard], []
        self.size -= len(orders)
        columns: tuple[Sequence[int], ...] = tuple(zip(*orders, strict=True)) if orders else ((),) * 7
        return RackOrders(
            time_ns=np.array(columns[0], dtype=np.int64),
            kind=np.array(columns[1], dtype=np.int8),
            block=np.array(columns[2], dtype=np.int32),
            host_mask=np.array(columns[3], dtype=np.uint64),
            gpu_mask=np.array(columns[4], dtype=np.uint64),
            milliwatts=np.array(columns[5], dtype=np.int64),
            value_ns=np.array(columns[6], dtype=np.int64),
        )

    def waiting_shards(self) -> list[int]:
        return [shard for shard, orders in enumerate(self._waiting) if orders]
