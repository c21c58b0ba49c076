"""Placements as ranges of hosts, which is how programs outside write them, and as the rows of the index of free GPUs."""

from collections.abc import Iterable, Iterator, Sequence

from emulator.scheduler.free import Row
from emulator.scheduler.ledger import Ledger
from emulator.scheduler.rules import Refused, Rule

#: Of each of ``count`` hosts from ``first`` on, the GPUs of ``mask``: (first, count, mask).
HostRange = tuple[int, int, int]


def ranges_of(first_host: Sequence[int], rows: Iterable[Row]) -> list[HostRange]:
    """``rows`` as ranges, in their order; ``first_host`` is that of every block."""
    return [(first_host[block] + first, count, mask) for block, hosts, mask in rows for first, count in _runs(hosts)]


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    """Place and length of every run of set bits, lowest first."""
    place = 0
    while mask:
        skipped = (mask & -mask).bit_length() - 1
        mask >>= skipped
        count = (~mask & (mask + 1)).bit_length() - 1  # the ones at its low end
        mask >>= count
        yield place + skipped, count
        place += skipped + count


def rows_of(ledger: Ledger, ranges: Iterable[HostRange]) -> list[Row]:
    """``ranges`` as rows: those next to each other with the same block and mask are one row.

    Raises Refused for what is no placement whatever is free: hosts or GPUs that do not exist or are named twice, hosts of several types.
    """
    rows: list[Row] = []
    named: dict[int, list[Row]] = {}  # by block
    for block, hosts, mask in _by_block(ledger, ranges):
        partition = ledger.partitions[ledger.block_partition[block]]
        if not 0 < mask <= partition.free.full:
            allowed = f"masks are {1:#b} to {partition.free.full:#b}"
            raise Refused(Rule.SIZE, f"{mask:#b} are no GPUs of a {partition.name} host: {allowed}")
        if rows and ledger.block_partition[rows[0][0]] != ledger.block_partition[block]:
            other = ledger.partitions[ledger.block_partition[rows[0][0]]]
            raise Refused(Rule.TYPE, f"a job runs on hosts of one type, and these are {other.name} and {partition.name}")
        in_block = named.setdefault(block, [])
        if any(hosts & before and mask & taken for _, before, taken in in_block):
            raise Refused(Rule.FREE, "a GPU is named twice")
        in_block.append((block, hosts, mask))
        if rows and rows[-1][0] == block and rows[-1][2] == mask:
            rows[-1] = (block, rows[-1][1] | hosts, mask)
        else:
            rows.append((block, hosts, mask))
    return rows


def _by_block(ledger: Ledger, ranges: Iterable[HostRange]) -> Iterator[Row]:
    first_host, host_block, last = ledger.first_host, ledger.host_block, len(ledger.host_block) - 1
    for first, count, mask in ranges:
        host, end = first, first + count
        if first < 0 or count < 1 or end - 1 > last:
            raise Refused(Rule.OFFERED, f"there are no {count} hosts from {first} on: the cluster has hosts 0 to {last}")
        while host < end:
            block = host_block[host]
            stop = min(end, first_host[block + 1])
            yield block, ((1 << (stop - host)) - 1) << (host - first_host[block]), mask
            host = stop
