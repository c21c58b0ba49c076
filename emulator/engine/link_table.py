"""Every link with its load, its counters and its health: what link listings, ``links.parquet`` and pictures are made from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from emulator.engine.link_health import SECOND_NS, LinkHealth
from emulator.engine.network import Network
from emulator.fabric.messages import LinkReadings
from topology.cluster import Float64, Int64


@dataclass(frozen=True, eq=False)
class LinkTable:
    """Shape (links, 2) is up (lower node to upper) and down, shape (links,) is both. Reading it changes no counter."""

    load_bytes_per_second: Float64  # (links, 2)
    carried_bytes: Float64  # (links, 2) since the start
    peak_demand_bytes_per_second: (
        Float64  # (links,) highest demand of the busier direction, each flow at its cap; endpoint links are never contended: 0
    )
    peak_load_bytes_per_second: Float64  # (links,) highest load of the busier direction at any instant; not kept for endpoint links: 0
    in_service_seconds: Float64  # (links,) since both of its ends are in service, in a cluster under construction
    healthy_ratio: Float64  # (links,)
    downs: Int64  # (links,) faults that took the link or one of its cables
    down_seconds: Float64  # (links,) in parts of the link


def link_table(
    network: Network, health: LinkHealth, planes: Sequence[LinkReadings], running: Iterable[int], in_service_ns: Int64, at_ns: int
) -> LinkTable:
    """Endpoint links from the running and the ended jobs, switch links from the planes."""
    load, carried = network.endpoint_links(running, at_ns)
    demand, peak, ratio = np.zeros(len(load)), np.zeros(len(load)), np.ones(len(load))
    downs, down_seconds = np.zeros(len(load), dtype=np.int64), np.zeros(len(load))
    for plane in planes:
        load[plane.link], carried[plane.link] = plane.load_bytes_per_second, plane.carried_bytes
        demand[plane.link] = plane.peak_demand_bytes_per_second.max(axis=1, initial=0.0)
        peak[plane.link] = plane.peak_load_bytes_per_second.max(axis=1, initial=0.0)
    for link, part in health.ratio.items():
        ratio[link] = part
    for link in health.touched():
        downs[link], down_seconds[link] = health.downs.get(link, 0), health.down_seconds(link, at_ns)
    return LinkTable(load, carried, demand, peak, np.maximum(0, at_ns - in_service_ns) / SECOND_NS, ratio, downs, down_seconds)
