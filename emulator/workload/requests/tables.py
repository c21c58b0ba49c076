"""What is fitted to a trace of requests, and how its tables are laid out."""

from dataclasses import dataclass

#: A table is spread over this many cells of equal chance, among whose ends are all its points.
CELLS = 1024
#: The chances of a table's points, in cells: 64 steps, the last of them in ever smaller ones, since the tail is long.
POINTS = (*(CELLS // 64 * step for step in range(64)), 1016, 1020, 1022, 1023, CELLS)


@dataclass(frozen=True)
class Fitted:
    """Quantiles of the prompt's tokens at POINTS, those of the output's for each quartile of the prompt, and how bursty the arrivals are.

    A length of n tokens counts as spread evenly from n to n + 1, so that drawn numbers are rounded down.
    """

    prompt: tuple[int, ...]
    output: tuple[tuple[int, ...], ...]
    burst_shape: float
    burst_period_seconds: float
