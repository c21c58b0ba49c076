"""What a row of the metric table is: a metric with its type, unit, help and labels, and how it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from emulator.engine.snapshot import Histogram, Snapshot
from emulator.fabric.messages import FabricReadings
from emulator.racks.messages import RackReadings

#: Label values of one series, in the order of the metric's labels -> its value.
Values = Mapping[tuple[str, ...], float]


class Kind(StrEnum):
    """Prometheus's types of metrics, as TYPE lines name them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Scope(StrEnum):
    """Who serves a metric: the head, or the actor that holds the racks or the fabric plane."""

    HEAD = "head"
    SHARD = "shard"


@dataclass(frozen=True)
class Metric:
    """``unit`` is a base unit (seconds, watts, joules, bytes_per_second, ratio, flag) or what is counted."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...]

    @property
    def scope(self) -> Scope:
        return Scope.HEAD if isinstance(self, HeadMetric) else Scope.SHARD


@dataclass(frozen=True)
class HeadMetric(Metric):
    """``read`` takes it out of the head's snapshot: values by their labels, or a histogram."""

    read: Callable[[Snapshot], Values | Histogram]


@dataclass(frozen=True)
class RackMetric(Metric):
    """``labels`` begin with those that ``read`` keys its columns by; the rack's own (``RACK_LABELS``) follow.

    A column has shape (racks,) and holds integers that count ``10 ** -decimals`` units.
    """

    read: Callable[[RackReadings], Mapping[tuple[str, ...], NDArray[np.int64]]]
    decimals: int = 0


@dataclass(frozen=True)
class PlaneMetric(Metric):
    """``labels`` begin with ``plane``; ``read`` keys its values by the rest."""

    read: Callable[[FabricReadings], Values]


#: Labels of every rack's series. ``pod`` is absent where the cluster has no pods.
RACK_LABELS = ("rack", "pod", "site")
