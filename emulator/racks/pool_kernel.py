"""The loop of a pool as machine code."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

from emulator.racks import pool_batch, pool_cache, pool_ends, pool_queues, pool_routes, pool_run, pool_steps
from emulator.racks.pool_layout import Ints
from emulator.workload.serving import costs

#: The modules whose functions the loop calls, and those whose numbers it has in it.
MODULES = (pool_queues, pool_cache, pool_routes, pool_batch, pool_ends, pool_steps, pool_run)
FOLDER = Path(__file__).parent
SOURCES = (*(FOLDER / f"{module.__name__.rpartition('.')[2]}.py" for module in MODULES), FOLDER / "pool_layout.py", Path(costs.__file__))


def entry(version: int, run: Callable[..., int]) -> Callable[..., int]:
    """``run`` in a function that has ``version`` in it: numba looks at nothing else of it when it looks for what it kept on disk."""

    def run_pool(  # noqa: PLR0913, PLR0917
        task: int,
        place: int,
        until: int,
        state: Ints,
        table: Ints,
        replica: Ints,
        slot: Ints,
        seat: Ints,
        inbox: Ints,
        asks: Ints,
        log: Ints,
        due: Ints,
        leaving: Ints,
        again: Ints,
        opened: Ints,
        tree: Ints,
        hashed: Ints,
        piece: Ints,
        bucket: Ints,
    ) -> int:
        version  # noqa: B018 - see above
        return run(
            task, place, until, state, table, replica, slot, seat, inbox, asks, log, due, leaving, again, opened, tree, hashed, piece,
            bucket,
        )  # fmt: skip

    return run_pool


#: Nothing is allocated, so nothing needs to be counted; no divisor is 0, so none needs a look.
OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy"}

#: Short functions, and those with many arguments: calling them would take longer than what they do.
INLINE = {
    *("settle", "begin", "begin_step", "take_in", "arrive", "take_place", "write_down", "line_up", "leave_seat", "join", "end", "cut"),
    *("step_out", "seat_in", "seat_out", "take_slot", "ask"),
}


@cache
def compiled_pool() -> Callable[..., int]:
    """``run_pool`` as machine code, of whole numbers only, so with the same results."""
    import numba  # imported here because only runs that serve need it
    from numba.extending import register_jitable

    for module in MODULES:
        for one in vars(module).values():
            if isinstance(one, FunctionType) and one.__module__ == module.__name__:
                register_jitable(forceinline=one.__name__ in INLINE, **OPTIONS)(one)
    number, row, rows, seats = numba.int64, numba.int64[::1], numba.int64[:, ::1], numba.int64[:, :, ::1]
    signature = number(*[number] * 3, row, *[rows] * 3, seats, *[rows] * 6, *[row] * 2, *[rows] * 3)
    version = int.from_bytes(sha256(b"".join(path.read_bytes() for path in SOURCES)).digest()[:7])
    run = entry(version, pool_run.run_pool)
    try:
        compiled: Callable[..., int] = numba.njit(signature, cache=True, **OPTIONS)(run)
    except Exception:  # noqa: BLE001 - nowhere to keep it, a full disk, a damaged file: none of them is worth a run
        compiled = numba.njit(signature, **OPTIONS)(run)
    return compiled
