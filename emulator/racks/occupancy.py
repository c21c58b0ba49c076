"""Which GPUs are busy, as a count per GPU, so that late orders in any order lead to the same state.

A job that takes whole hosts adds one to the host; only a job that takes part of a host is counted GPU by GPU. A GPU is busy where either
count is above zero, so several jobs may share one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt64 = NDArray[np.uint64]

#: Orders are expanded to hosts in pieces of this many, which bounds the memory of a long message.
_PIECE = 16_384


def mask_bits(mask: UInt64) -> NDArray[np.bool_]:
    """Bit i of mask j at [j, i]; shape (masks, 64)."""
    octets = np.ascontiguousarray(mask, dtype="<u8").view(np.uint8).reshape(-1, 8)
    return np.unpackbits(octets, axis=1, bitorder="little").view(np.bool_)


def hosts_of(first_host: NDArray[np.int64], host_mask: UInt64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every (row, host) of masks over the hosts from ``first_host`` on; hosts of a row rise."""
    row, bit = np.nonzero(mask_bits(host_mask))
    return row, first_host[row] + bit


class Occupancy:
    """Counts for hosts of ``gpus`` GPUs, shape (hosts,)."""

    def __init__(self, gpus: NDArray[np.int32]) -> None:
        hosts, most = len(gpus), int(gpus.max())
        self.gpus, self._most = gpus, most
        self._full = (np.uint64(1) << gpus.astype(np.uint64)) - np.uint64(1)
        #: Jobs on all GPUs of the host, shape (hosts,); negative while a release has overtaken its start.
        self.whole = np.zeros(hosts, np.int16)
        #: Jobs on each GPU that do not hold the whole host, shape (hosts, most GPUs of a host).
        self.part = np.zeros((hosts, most), np.int16)

    def change(self, first_host: NDArray[np.int64], host_mask: UInt64, gpu_mask: UInt64, sign: NDArray[np.int16]) -> None:
        """Add ``sign`` (+1 taken, -1 freed) to the GPUs of each row."""
        for start in range(0, len(sign), _PIECE):
            rows = slice(start, start + _PIECE)
            row, host = hosts_of(first_host[rows], host_mask[rows])
            masks, signs = gpu_mask[rows][row], sign[rows][row]
            whole = masks == self._full[host]
            np.add.at(self.whole, host[whole], signs[whole])
            row, gpu = np.nonzero(mask_bits(masks[~whole]))
            np.add.at(self.part.reshape(-1), host[~whole][row] * self._most + gpu, signs[~whole][row])

    def busy(self) -> NDArray[np.int32]:
        """Busy GPUs of each host."""
        return np.where(self.whole > 0, self.gpus, (self.part > 0).sum(axis=1, dtype=np.int32)).astype(np.int32)

    def arrays(self) -> dict[str, NDArray[np.int16]]:
        """The whole state, by name; ``load`` takes it back."""
        return {"whole": self.whole, "part": self.part}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.whole, self.part = arrays["whole"].copy(), arrays["part"].copy()
