"""Hot spares: hosts that no job is given, so that they can stand in for broken ones at once.

ByteRobust (arXiv 2509.16293) keeps 4 for each 1,024 GPUs. The pool is the cluster's: a job that loses a host is given the nearest spare,
and the broken host, once it is repaired, takes that one's place in the pool.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.scheduler.ledger import Ledger, Withheld
from topology.cluster import Cluster


class Spares:
    """``per_1024_gpus`` hosts for so many GPUs of a partition, at least one where it has two, spread evenly; at 0 there are none."""

    def __init__(self, cluster: Cluster, ledger: Ledger, per_1024_gpus: int) -> None:
        self._cluster, self._ledger = cluster, ledger
        self._wanted = [0] * len(ledger.partitions)  # by partition
        if not per_1024_gpus:
            return
        hosts: list[list[int]] = [[] for _ in ledger.partitions]
        for host, block in enumerate(ledger.host_block[: ledger.first_host[-1]]):
            hosts[ledger.block_partition[block]].append(host)
        for partition, own in zip(ledger.partitions, hosts, strict=True):
            wanted = max(1, len(own) * partition.free.gpus_per_host * per_1024_gpus // 1024)
            wanted = self._wanted[partition.number] = min(wanted, len(own) - 1)
            for number in range(wanted):
                ledger.withhold(own[(number + 1) * len(own) // wanted - 1], Withheld.SPARE)

    def stand_ins(self, broken: Sequence[int]) -> list[int]:
        """A spare for each of these hosts, the nearest in turn; none where there are not enough."""
        ledger = self._ledger
        spares = np.array(sorted(ledger.withheld(Withheld.SPARE)), dtype=np.int64)
        found: list[int] = []
        for host in broken:
            partition = ledger.partition_of_host(host)
            near = (one for one in self._nearest(spares, host) if one not in found and ledger.partition_of_host(one) is partition)
            stand_in = next((one for one in near if self._stands_by(one)), None)
            if stand_in is None:
                return []
            found.append(stand_in)
        return found

    def _stands_by(self, host: int) -> bool:
        """Whether nothing else keeps the spare from use: a repaired host may still have jobs on it whose GPUs were whole."""
        free = self._ledger.partition_of_host(host).free
        return self._ledger.reasons_of(host) == [Withheld.SPARE] and free.unheld_mask(host) == free.full

    def _nearest(self, spares: NDArray[np.int64], host: int) -> list[int]:
        """Spares in the order in which they would stand in for ``host``: by the first level, from the inside, of which both are in one
        unit; then by how far their numbers are apart, the lower one first.
        """
        levels = self._cluster.levels
        apart = np.full(len(spares), len(levels))
        for number, level in reversed(list(enumerate(levels))):
            apart[level.host_unit[spares] == level.host_unit[host]] = number
        nearest: list[int] = spares[np.lexsort((spares, np.abs(spares - host), apart))].tolist()
        return nearest

    def use(self, hosts: Collection[int]) -> None:
        """These are hosts as all others from now on."""
        for host in hosts:
            self._ledger.release(host, Withheld.SPARE)

    def put_back(self, hosts: Collection[int]) -> None:
        """These are spares again, since nothing came of it."""
        for host in hosts:
            self._ledger.withhold(host, Withheld.SPARE)

    def note_repair(self, host: int) -> None:
        """The host is about to be whole again: it is a spare where one has been used."""
        ledger, number = self._ledger, self._ledger.partition_of_host(host).number
        if wanted := self._wanted[number]:
            spare = ledger.withheld(Withheld.SPARE)
            if host not in spare and sum([ledger.partition_of_host(one).number == number for one in spare]) < wanted:
                ledger.withhold(host, Withheld.SPARE)
