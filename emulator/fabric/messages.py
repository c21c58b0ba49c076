"""Messages to and from a fabric plane, as columns."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class FlowOrder(IntEnum):
    """What an order of `FlowOrders` does, and what its ``flow`` and ``cap`` mean with it."""

    ADD = 0  # a flow that the plane already has is replaced
    REMOVE = 1
    SCALE_LINK = 2  # flow is a channel (under adaptive routing a link); cap is the factor of its healthy capacity that is left, 0 to 1
    SET_RATE = 3  # cap is the rate that the flow has from now on, from a problem that was solved over several planes
    TELL = 4  # report the flow's component as an open one


@dataclass(frozen=True, eq=False)
class FlowOrders:
    """Shape (orders,), with the links of order i at ``start[i]:start[i + 1]``.

    A flow is one job's traffic, or a stream's: at rate x (bytes per second per lane) it puts ``weight * x`` on each of its directed
    channels (``fabric.channels``: 2 * channel is up, 2 * channel + 1 down), and x on each of its ``lanes`` NICs in either direction. A
    plane is told the piece of it that lies in the plane, and whether there are pieces elsewhere; the rate is one for all of them.
    """

    time_ns: NDArray[np.int64]
    kind: NDArray[np.int8]
    flow: NDArray[np.int64]  # job id; of streams a number beyond all of these
    cap: NDArray[np.float64]  # bytes per second per lane
    lanes: NDArray[np.float64]  # NICs of this plane that the flow sends by, in the mean; 0 where the order is no ADD
    spans: NDArray[np.bool_]  # the flow loads links of other planes too
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
    lanes: float = 0
    link: NDArray[np.int32] = NO_LINKS
    weight: NDArray[np.float64] = NO_WEIGHTS
    spans: bool = False


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
        lanes=np.array([row.lanes for row in rows], dtype=np.float64),
        spans=np.array([row.spans for row in rows], dtype=np.bool_),
        start=start,
        link=np.concatenate([row.link for row in rows]) if rows else NO_LINKS,
        weight=np.concatenate([row.weight for row in rows]) if rows else NO_WEIGHTS,
    )


@dataclass(frozen=True, eq=False)
class FlowRows:
    """Rows of a max-min problem: flow i loads the directed links ``link[start[i]:start[i + 1]]``, those of them that are contended."""

    flow: NDArray[np.int64]  # (flows,) ascending
    cap: NDArray[np.float64]  # (flows,)
    start: NDArray[np.int64]  # (flows + 1,)
    link: NDArray[np.int32]  # directed
    weight: NDArray[np.float64]
    capacity: NDArray[np.float64]  # of the link of each entry, bytes per second of payload

    def __len__(self) -> int:
        return len(self.flow)


NO_ROWS = FlowRows(
    flow=np.empty(0, np.int64), cap=np.empty(0), start=np.zeros(1, np.int64), link=NO_LINKS, weight=NO_WEIGHTS, capacity=np.empty(0)
)


@dataclass(frozen=True, eq=False)
class FabricReport:
    """Rates that differ from those last reported (for a new flow: from its cap), in order of flow.

    ``open`` are whole components that the plane cannot solve alone, for one of their flows spans planes (``fabric.spanning``), and those
    that it was asked to tell.
    """

    until_ns: int
    flow: NDArray[np.int64]
    rate: NDArray[np.float64]
    open: FlowRows = NO_ROWS


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
    carried_bytes: NDArray[np.float64]  # (tiers,) since the start, both directions; NaN where loads alone were read
    flows: int


@dataclass(frozen=True, eq=False)
class LinkReadings:
    """The switch links of a plane, by id: what they carry, have carried since the start, and were ever asked to carry and carried at once.

    ``peak_demand`` is the most that the flows on a link would have sent, each at its cap: where it is more than the link's capacity, flows
    were held back. ``peak_load`` is the most that they carried at any instant; of a link whose cables are channels of their own (ECMP), the
    sum of its cables' peaks.
    """

    link: NDArray[np.int32]  # (links,) ascending
    load_bytes_per_second: NDArray[np.float64]  # (links, 2) up and down
    carried_bytes: NDArray[np.float64]  # (links, 2)
    peak_demand_bytes_per_second: NDArray[np.float64]  # (links, 2)
    peak_load_bytes_per_second: NDArray[np.float64]  # (links, 2)
