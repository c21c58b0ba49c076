"""Prints a hash of the bits of every function of ``emulator.draws``, and of numpy's exp, on many inputs: one line a function."""

import hashlib
from collections.abc import Callable

import numpy as np

from emulator import draws
from emulator.draws import exact, sums
from emulator.draws.normal import normal_quantile

COUNT = 100_000
#: Evenly spread numbers in (0, 1).
EVEN = draws.uniform(1, 0, np.arange(COUNT), 0)
WIDE = (EVEN * 2.0 - 1.0) * np.ldexp(1.0, (draws.bits(1, 0, np.arange(COUNT), 1) % 40).astype(np.int32) - 20)
TABLE = WIDE.reshape(-1, 8)

FUNCTIONS: dict[str, Callable[[], object]] = {
    "log": lambda: exact.log(np.concatenate((EVEN, np.abs(WIDE), EVEN * 2.0**-1040))),
    "exp": lambda: exact.exp(np.concatenate((EVEN, WIDE, WIDE * 1e-3))),
    "exp2": lambda: exact.exp2(np.concatenate((EVEN, WIDE, WIDE * 1e-3))),
    "power": lambda: exact.power(EVEN, np.abs(WIDE[::-1])),
    "sine_of_turns": lambda: exact.sine_of_turns(WIDE),
    "normal_quantile": lambda: normal_quantile(EVEN),
    "add_up": lambda: [sums.add_up(WIDE[:length]) for length in (*range(200), 1_000, 99_999)],
    "add_along": lambda: [sums.add_along(TABLE, axis) for axis in (0, 1)],
    "add_runs": lambda: sums.add_runs(TABLE, np.flatnonzero(EVEN[: len(TABLE)] > 0.9)),
    "matrix_product": lambda: sums.matrix_product(TABLE[:40], TABLE[40:80].T),
    "interpolate": lambda: sums.interpolate(EVEN, np.arange(101) / 100.0, WIDE[:101]),
    "cumsum": lambda: np.cumsum(WIDE),
    "bincount": lambda: np.bincount(np.arange(COUNT) % 97, WIDE),
    "equal keys": lambda: [np.argsort(np.floor(EVEN * 50), kind="stable"), np.lexsort((np.floor(EVEN * 5), np.floor(EVEN[::-1] * 5)))],
    "numpy's exp": lambda: np.exp(EVEN),
}

if __name__ == "__main__":
    for name, function in FUNCTIONS.items():
        found = function()
        parts = found if isinstance(found, list) else [found]
        print(f"{hashlib.sha256(b''.join(np.asarray(part).tobytes() for part in parts)).hexdigest()} {name}")
