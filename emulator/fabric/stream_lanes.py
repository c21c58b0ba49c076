"""Streams: what some hosts send to others, as keys and values go from the replicas that compute prompts to those that answer.

A stream is a fluid: every sending GPU sends an equal part to every receiving GPU. It has as many lanes as the smaller side has GPUs, so a
lane is a NIC of that side, and shares links with the lanes of training jobs on equal terms. Traffic runs on the rail of the receiver
(NCCL's PXN forwards inside the sender's domain to get there).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emulator.draws.sums import add_along, add_up
from emulator.fabric.job_lanes import LaneCounter, Row
from emulator.fabric.pairs import Pairs
from topology.cluster import Float64, Int64


@dataclass(frozen=True, eq=False)
class StreamLanes:
    """A stream by domain. ``send``: lanes that leave each, wherever they go; ``receive``: lanes that come to each, by rail."""

    blocks: Int64  # (domains,): the block of each one's first host
    host_types: frozenset[int]
    total: float  # lanes
    send: Float64  # (domains,)
    receive: Float64  # (domains, rails)

    def crossing(self, unit: Int64, units: int) -> tuple[Float64, Float64]:
        """Lanes up and down, shape (units, rails), where the domains are in these units, numbered from 0."""
        send, receive = np.zeros(units), np.zeros((units, self.receive.shape[1]))
        np.add.at(send, unit, self.send)
        np.add.at(receive, unit, self.receive)
        by_rail = add_along(receive, axis=0)
        up = send[:, None] / self.total * (by_rail - receive)
        return up, receive * (1.0 - send / self.total)[:, None]

    def pairs(self, unit: Int64, units: int) -> tuple[Pairs, ...]:
        """Lanes from unit to unit, for every rail."""
        send, receive = np.zeros(units), np.zeros((units, self.receive.shape[1]))
        np.add.at(send, unit, self.send)
        np.add.at(receive, unit, self.receive)
        found = []
        for rail in range(receive.shape[1]):
            lanes = send[:, None] / self.total * receive[None, :, rail]
            source, target = np.nonzero((lanes > 0.0) & ~np.eye(units, dtype=np.bool_))
            found.append(Pairs(source, target, lanes[source, target]))
        return tuple(found)


def stream_lanes(counter: LaneCounter, first_host: Int64, senders: Sequence[Row], receivers: Sequence[Row]) -> StreamLanes:
    """The stream from the GPUs of some rows to those of others, neither of them empty. ``first_host`` is that of each domain."""
    source, gives = counter.by_domain(senders)
    target, gets = counter.by_domain(receivers)
    domains = np.union1d(source, target)
    lanes = float(min(int(gives.sum()), int(gets.sum())))
    send, receive = np.zeros(len(domains)), np.zeros((len(domains), gets.shape[1]))
    send[np.searchsorted(domains, source)] = lanes * gives.sum(axis=1, dtype=np.int64) / int(gives.sum())
    receive[np.searchsorted(domains, target)] = lanes * gets / int(gets.sum())
    blocks, kinds = counter.blocks_of(first_host[domains])
    return StreamLanes(blocks, kinds, lanes, send, receive)


def lanes_by_plane(counter: LaneCounter, stream: StreamLanes) -> dict[int, float]:
    """NICs by which the stream leaves its domains, by plane, ascending."""
    by_rail = add_along(stream.receive, axis=0)
    leaving = stream.send[:, None] / stream.total * (by_rail - stream.receive)  # (domains, rails)
    planes, parts = counter.planes_of(stream.blocks)  # (domains, rails, planes of a rail)
    loads = leaving[:, :, None] * parts
    return {plane: add_up(loads[planes == plane]) for plane in np.unique(planes[(planes >= 0) & (loads > 0.0)]).tolist()}


def lane_count(rows: Sequence[Row]) -> int:
    """GPUs of these rows."""
    return sum([hosts.bit_count() * gpus.bit_count() for _, hosts, gpus in rows])
