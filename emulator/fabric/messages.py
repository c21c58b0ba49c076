"""What goes into a fabric plane and what comes out, as columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class FlowOrder(IntEnum):
    ADD = 0  # a flow that is there already is replaced
    REMOVE = 1
    SCALE_LINK = 2  # flow is a link id; cap is the factor of its healthy capacity that is left, 0 to 1


@dataclass(frozen=True, eq=False)
class FlowOrders:
    """Shape (orders,), with the links of order i at ``start[i]:start[i + 1]``.

    A flow is one job's traffic in one plane: at rate x (bytes per second per ring lane) it puts ``weight * x`` on each of its directed
    links (2 * link is up, 2 * link + 1 down), and x on each of its ``lanes`` NICs in either direction.
    """

    time_ns: NDArray[np.int64]
    kind: NDArray[np.int8]
    flow: NDArray[np.int64]  # job id
    cap: NDArray[np.float64]  # bytes per second per lane
    lanes: NDArray[np.int64]  # NICs of this plane in rings of the job; 0 where the order is no ADD
    start: NDArray[np.int64]  # (orders + 1,)
    link: NDArray[np.int32]  # directed
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_ns)


NO_LINKS: NDArray[np.int32] = np.empty(0, dtype=np.int32)
NO_WEIGHTS: NDArray[np.float64] = np.empty(0, dtype=np.float64)


class Order(NamedTuple):
    """One row of ``FlowOrders``."""

    time_ns: int
    kind: int
    flow: int
    cap: float = 0.0
    lanes: int = 0
    link: NDArray[np.int32] = NO_LINKS
    weight: NDArray[np.float64] = NO_WEIGHTS


def pack_orders(orders: Iterable[Order]) -> FlowOrders:
    """Rows to columns, in the order given (which is the order in which a plane applies them)."""
    rows = list(orders)
    start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row.link) for row in rows], out=start[1:])
    return FlowOrders(
        time_ns=np.array([row.time_ns for row in rows], dtype=np.int64),
        kind=np.array([row.kind for row in rows], dtype=np.int8),
        flow=np.array([row.flow for row in rows], dtype=np.int64),
        cap=np.array([row.cap for row in rows], dtype=np.float64),
        lanes=np.array([row.lanes for row in rows], dtype=np.int64),
        start=start,
        link=np.concatenate([row.link for row in rows]) if rows else NO_LINKS,
        weight=np.concatenate([row.weight for row in rows]) if rows else NO_WEIGHTS,
    )


@dataclass(frozen=True, eq=False)
class FabricReport:
    """Rates that are not what was last reported (or, for a new flow, that are below its cap), in order of flow."""

    until_ns: int
    flow: NDArray[np.int64]
    rate: NDArray[np.float64]
    contendable: NDArray[np.int32]  # directed links that could saturate now (whole list; sent when it changed)
    contendable_changed: bool


@dataclass(frozen=True, eq=False)
class FabricReadings:
    """Load by tier, in the order of ``topology.cluster.TIERS``.

    Capacity is what is healthy, before the routing's efficiency: a link that can carry no more stands at that efficiency (0.95), not at 1.
    The peak of tier host_leaf is that of the most loaded lane.
    """

    at_ns: int
    plane: int
    load_bytes_per_second: NDArray[np.float64]  # (tiers,) both directions
    capacity_bytes_per_second: NDArray[np.float64]  # (tiers,) both directions
    peak_utilization: NDArray[np.float64]  # (tiers,) the most loaded directed link
    flows: int
