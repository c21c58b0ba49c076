"""A panel of the dashboard."""

from dataclasses import dataclass

#: The end of a recorded rate by emulated time.
PER_SECOND = "per_emulated_second1m{}"


@dataclass(frozen=True)
class Panel:
    """``queries`` are (expression, legend). ``unit`` is a Grafana unit; without one it is the first metric's.

    A metric's name followed by ``[]`` stands for a rate over ``$__rate_interval``; every selector gets the chosen clusters.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    unit: str = ""
    width: int = 8
    height: int = 7
    stacked: bool = False
    top: float | None = None
    note: str = ""
