"""Orders to the shards: collected at the head, and sent as columns in one message when a window needs them."""

from collections.abc import Sequence
from struct import Struct

import numpy as np

from emulator.engine.shards import ShardRange
from emulator.racks.messages import RackOrder, RackOrders
from emulator.scheduler.free import Row

#: An order while it waits, by the columns of ``RackOrders``; ``_PACK`` gives its bytes.
_ORDER = np.dtype(
    [
        ("time_ns", "<i8"),
        ("kind", "<i1"),
        ("block", "<i4"),
        ("host_mask", "<u8"),
        ("gpu_mask", "<u8"),
        ("milliwatts", "<i8"),
        ("value_ns", "<i8"),
        ("cause", "<i2"),
        ("scope", "<i1"),
    ]
)
_PACK = Struct("<qbiQQqqhb").pack


class RackOrderBuffer:
    """Rack orders by shard. ``shard_of_block[b]`` is the shard that holds block b."""

    def __init__(self, ranges: Sequence[ShardRange], first_host: Sequence[int]) -> None:
        starts = np.array([r.first_host for r in ranges])
        self.shard_of_block: list[int] = (np.searchsorted(starts, np.asarray(first_host[:-1]), side="right") - 1).tolist()
        self._waiting = [bytearray() for _ in ranges]
        self.size = 0

    def add(
        self, time_ns: int, kind: RackOrder, rows: list[Row], milliwatts: int, value_ns: int = 0, cause: int = 0, scope: int = 0
    ) -> None:
        """One order per row, all with the same power per GPU."""
        for block, host_mask, gpu_mask in rows:
            order = _PACK(time_ns, kind, block, host_mask, gpu_mask, milliwatts, value_ns, cause, scope)
            self._waiting[self.shard_of_block[block]].extend(order)
        self.size += len(rows)

    def take(self, shard: int) -> RackOrders:
        """Remove and return all orders that wait for ``shard``."""
        orders, self._waiting[shard] = np.frombuffer(self._waiting[shard], dtype=_ORDER), bytearray()
        self.size -= len(orders)
        return RackOrders(**{name: orders[name].copy() for name in _ORDER.fields or ()})

    def waiting_shards(self) -> list[int]:
        return [shard for shard, orders in enumerate(self._waiting) if orders]
