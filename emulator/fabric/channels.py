"""What flows load: trunks if packets are sprayed, single cables if flows are hashed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.fabric.settings import FabricSettings
from topology.cluster import Cluster, Float64, Int32


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of link i are ``start[i]`` up to ``start[i + 1]``; a directed channel is ``2 * channel`` (u to v, up) or one more.

    Adaptive routing spreads packets evenly over a trunk, so a trunk is one channel. Under ECMP each cable is one. A link at an
    endpoint is one channel always: a lane belongs to one GPU, and is capped rather than contended.
    """

    start: Int32  # (links + 1,)
    link: Int32  # (channels,)
    bytes_per_second: Float64  # (channels,) one direction, at line rate
    tier: NDArray[np.int8]  # (channels,)
    plane: Int32  # (channels,)

    def __len__(self) -> int:
        return len(self.link)


def channels(cluster: Cluster, settings: FabricSettings) -> Channels:
    """The channels of ``cluster`` under the routing of ``settings``, in order of link."""
    links = cluster.links
    cables = links.lanes if settings.routing == "ecmp" else np.ones(len(links), dtype=np.int32)
    count = np.where(links.tier == 0, 1, cables)
    link = np.repeat(np.arange(len(links), dtype=np.int32), count)
    return Channels(
        start=np.concatenate(([0], np.cumsum(count))).astype(np.int32),
        link=link,
        bytes_per_second=links.bytes_per_second[link] / count[link],
        tier=links.tier[link],
        plane=links.plane[link],
    )
