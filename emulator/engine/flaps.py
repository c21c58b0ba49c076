"""What a flap shorter than a cycle costs each job. Shares are constant within a cycle, so it is worked out as time that the job loses."""

from collections.abc import Iterable, Iterator

import numpy as np

from emulator.engine.link_health import Cut, LinkHealth
from emulator.engine.network import Network
from topology.cluster import TIERS, Cluster, Float64, Int64


def time_lost(cluster: Cluster, network: Network, health: LinkHealth, cuts: tuple[Cut, ...], down_ns: int) -> Iterator[tuple[int, int]]:
    """(slot, ns) of each running job that loses time by the flap of ``cuts``, which are all down for ``down_ns``, by job id.

    Packets that were under way on a cable are sent again over others as soon as the receiver sees the gap: microseconds, which count as
    nothing (selective repeat, as RoCE NICs have it beside adaptive routing; a NIC that waits for its timeout instead loses seconds: NCCL's
    default NCCL_IB_TIMEOUT of 20 is 4.3 s). What is left is a loss of capacity:

    - An endpoint's cable: the GPUs that it serves have what is left of their way out, often nothing, and their jobs wait for them.
    - Under adaptive routing the switch below sprays over what is left of its links of that tier; a job loses the part of the time by which
      these are too few for what is asked of them. A flap of one of many cables that are half empty costs nobody anything. That the other
      traffic does not give way in those seconds is assumed.
    - Under ECMP a flow stays on the cable that it was hashed to, and its job stands still until the cable is back (assumed: that is before
      the routing does without it).
    """
    tier = cluster.links.tier
    inside = [cut for cut in cuts if tier[cut.link] > 0]
    lost = network.part_lost_at_hosts(health.ways_out_without(cut for cut in cuts if tier[cut.link] == 0))
    channels = network.channels
    if not network.hashed:
        by_channel = _crowded(cluster, network, inside)
    else:
        by_channel = np.zeros(len(channels))
        for cut in inside:
            first, end = channels.start[cut.link : cut.link + 2].tolist()
            by_channel[[first + cable for cable in cut.cables] if cut.cables else slice(first, end)] = 1.0
    if by_channel.any():
        for slot, part in network.worst_of_jobs(by_channel):
            lost[slot] = max(part, lost.get(slot, 0.0))
    for slot in network.by_job_id(lost):
        if lost[slot] > 0.0:
            yield slot, round(lost[slot] * down_ns)


def _crowded(cluster: Cluster, network: Network, cuts: Iterable[Cut]) -> Float64:
    """By link, the part of the traffic on its switch's links of the same tier for which there is no room without the cut links."""
    links = cluster.links
    demand, capacity = network.demand_and_capacity()
    gone = np.zeros(len(links))
    for cut in cuts:
        gone[cut.link] = (len(cut.cables) or int(links.lanes[cut.link])) / int(links.lanes[cut.link])
    group: Int64 = links.u.astype(np.int64) * len(TIERS) + links.tier
    left, whole = np.bincount(group, capacity * (1.0 - gone)), np.bincount(group, capacity)
    asked = np.minimum(whole, np.maximum(*(np.bincount(group, way) for way in demand.T)))
    part = np.where(asked > left, 1.0 - left / np.where(asked > 0.0, asked, 1.0), 0.0)
    touched = np.bincount(group, gone) > 0.0
    return np.where(touched[group] & (links.tier > 0), part[group], 0.0)
