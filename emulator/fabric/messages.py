"""What goes into a fabric plane and what comes out, as columns."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class FlowOrder(IntEnum):
    ADD = 0
    REMOVE = 1
    SCALE_LINK = 2  # flow is a link id; cap is the factor of its healthy capacity that is left, 0 to 1


@dataclass(frozen=True, eq=False)
class FlowOrders:
    """Shape (orders,), with the links of order i at ``start[i]:start[i + 1]``.

    A flow is one job's traffic in one plane: at rate x (bytes per second per ring lane) it puts ``weight * x`` on each of its directed
    links (2 * link is up, 2 * link + 1 down).
    """

    time_ns: NDArray[np.int64]
    kind: NDArray[np.int8]
    flow: NDArray[np.int64]  # job id
    cap: NDArray[np.float64]  # bytes per second per lane
    start: NDArray[np.int64]  # (orders + 1,)
    link: NDArray[np.int32]  # directed
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.time_ns)


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
    """Load by tier, in the order of ``topology.cluster.TIERS``, and the links with most load."""

    at_ns: int
    plane: int
    load_bytes_per_second: NDArray[np.float64]  # (tiers,) both directions
    capacity_bytes_per_second: NDArray[np.float64]  # (tiers,)
    peak_utilization: NDArray[np.float64]  # (tiers,) the most loaded directed link
    flows: int
