"""Every connection of a job, one by one, which is what hashing needs. The cost is in proportion to the job's GPUs."""

from typing import NamedTuple

import numpy as np

from emulator.fabric.patterns import Float64, Int64, tree_degree, tree_parent
from emulator.workload.jobs import TrainingShape


class Connections(NamedTuple):
    """Shape (connections,): the lanes (places among the job's GPUs on a rail) that send and receive, and what part of a lane's bytes."""

    source: Int64
    target: Int64
    weight: Float64


def connections(gpus: Int64, shape: TrainingShape, stride: int, stage: int) -> Connections:
    """The connections on one rail whose domains, in order, have so many GPUs there; all-to-alls are left out (they count as sprayed).

    ``stride`` and ``stage`` are lanes of the rail between replicas and stages.
    """
    total, most = int(gpus.sum()), int(gpus.max())
    lanes = np.arange(total)
    found: list[Connections] = []
    if shape.ring_bytes > 0.0:
        part = shape.ring_bytes / shape.lane_bytes
        if stride > most:
            number, place = np.divmod(lanes, stride)
            count = -(-(total - place) // stride)
            found += _collective(shape.collective, place, number, count, stride, part)
        else:
            first = np.cumsum(gpus) - gpus
            for ring in range(most):
                member = first[gpus > ring] + ring
                number = np.arange(len(member))
                rings = _collective(shape.collective, 0 * number, number, np.full(len(member), len(member)), 1, part)
                found += [Connections(member[some.source], member[some.target], some.weight) for some in rings]
    if shape.pipeline_bytes > 0.0:
        source = lanes[(lanes % max(1, stride) + stage < stride) & (lanes + stage < total)]
        weight = np.full(len(source), shape.pipeline_bytes / shape.lane_bytes)
        found += [Connections(source, source + stage, weight), Connections(source + stage, source, weight)]
    if not found:
        return Connections(lanes[:0], lanes[:0], np.empty(0))
    return Connections(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _collective(name: str, place: Int64, number: Int64, count: Int64, stride: int, part: float) -> list[Connections]:
    """Rings or trees of the lanes ``place + number * stride``, where that ring has ``count`` members."""
    lane = place + number * stride
    if name == "ring":
        follower = np.where(number + 1 < count, lane + stride, place)
        apart = follower != lane
        return [Connections(lane[apart], follower[apart], np.full(int(apart.sum()), part))]
    found = []
    for members in np.unique(count[count > 1]).tolist():
        first, numbers = tree_parent(members), np.arange(members)
        if members % 2 == 0:
            second = np.where(first[::-1] < 0, -1, members - 1 - first[::-1])
        else:
            at = (numbers - 1) % members
            second = np.where(first[at] < 0, -1, (first[at] + 1) % members)
        mine = count == members
        for parent in (first, second):
            above = parent[number[mine]]
            child, up = lane[mine][above >= 0], (place[mine] + above * stride)[above >= 0]
            weight = np.full(len(child), part / float(tree_degree(members)))
            found += [Connections(child, up, weight), Connections(up, child, weight)]
    return found
