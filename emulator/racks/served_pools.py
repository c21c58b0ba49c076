"""What pools of replicas are called: the service, and the unit of the topology that the pool is in."""

from collections.abc import Sequence
from dataclasses import dataclass

from emulator.racks.served import Served


@dataclass(frozen=True)
class ServedPools:
    """Services by number, with the blocks of KV memory of a replica of each. A unit of ``level`` holds a pool of each service."""

    names: tuple[str, ...] = ()
    kv_blocks: tuple[int, ...] = ()
    level: str = "site"


def served_pools(services: Sequence[Served], level: str) -> ServedPools:
    """Of these services, whose pools are in units of ``level``."""
    return ServedPools(tuple([one.name for one in services]), tuple([one.limits.blocks for one in services]), level)
