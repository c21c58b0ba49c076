"""Which links could ever be full: those that the endpoints below (or beyond) them can outrun."""

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.settings import FabricSettings
from emulator.fabric.uplinks import lane_bytes_per_second, uplinks
from topology.cluster import Cluster, Float64

#: Relative slack of every "does it fit" question, so that a link exactly as fast as its endpoints is never called contended because of
#: rounding. A link may be loaded beyond its capacity by this much at most.
SLACK = 1e-9


def hose_bound_bytes_per_second(cluster: Cluster) -> Float64:
    """The most that can ever cross each link in one direction, at line rate, shape (links,); 0 for endpoint links.

    The hose model (Duffield et al., SIGCOMM'99): every ring that crosses out of a unit occupies one lane inside it and one
    outside, so per rail it is the lanes of the smaller side. Endpoint links are left out: a lane belongs to one GPU, and a flow's cap is
    its lane.
    """
    bound = np.zeros(len(cluster.links))
    for table in uplinks(cluster):
        inside = np.diff(table.level.first_host).astype(np.float64)
        smaller = np.minimum(1.0, (cluster.host_count - inside) / inside)  # of the unit's lanes, those that find one outside
        np.add.at(bound, table.link, table.lanes.sum(axis=1) * smaller[table.unit])
    return bound * lane_bytes_per_second(cluster)


def contendable_links(
    cluster: Cluster, settings: FabricSettings, *, scale: Float64 | None = None, bound: Float64 | None = None
) -> NDArray[np.bool_]:
    """The directed links (2 * link up, 2 * link + 1 down) that could be full, shape (2 * links,).

    ``scale`` is the part of each link's healthy capacity that is left, shape (links,), and ``bound`` a kept
    ``hose_bound_bytes_per_second``. A flow that crosses none of these links runs at its cap, whatever else runs.
    """
    if bound is None:
        bound = hose_bound_bytes_per_second(cluster)
    capacity = cluster.links.bytes_per_second if scale is None else cluster.links.bytes_per_second * scale
    return np.repeat(outrun(capacity * settings.efficiency, bound * settings.efficiency), 2)


def outrun(capacity: Float64, bound: Float64) -> NDArray[np.bool_]:
    """Whether links of this capacity can be full when at most ``bound`` can ever cross them (same units)."""
    return np.asarray(capacity * (1.0 + SLACK) < bound)
