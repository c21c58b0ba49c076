"""How many replicas a service should have: the rule of Kubernetes' HorizontalPodAutoscaler, with a forecast of what is to come.

    wanted = ceil(replicas metric / target)

where the metric is within the tolerance of its target nothing changes (k8s.io, "Horizontal Pod Autoscaling", algorithm details). Down only
to the most that was wanted within the cool-down, up at most by a factor at a time.
"""

from collections import deque
from dataclasses import dataclass, field

from emulator.racks.latencies import quantile_seconds
from emulator.racks.serving_messages import Int64, Latency, Tally

#: Metrics that are proportional to the load of a replica.
TARGETS = ("none", "concurrency", "queue", "kv", "ttft", "tpot")
#: Part by which a metric may differ from its target without anything to change (the HPA's default).
TOLERANCE = 0.1
#: At most so many times as many replicas at once.
MOST_FACTOR = 4.0
#: Holt's linear method: how fast the level and the trend follow (assumed).
LEVEL_RATIO, TREND_RATIO = 0.5, 0.2
#: Which part of the requests is to be within a target of latency.
QUANTILE = 0.9


@dataclass(frozen=True)
class Scaling:
    """``target`` of the metric: requests with each replica, of which ``queue`` counts those that wait; the part of the KV memory that is in
    use; or seconds that nine of ten requests stay within.

    ``lead_ns``: what is forecast is the load then. ``idle_ns``: after so long without requests there may be no replica at all; None: never.
    """

    metric: str = "none"
    target: float = 1.0
    least: int = 1
    most: int = 1
    up_ns: int = 0  # between two steps up
    down_ns: int = 300_000_000_000  # the HPA's stabilisation window
    lead_ns: int = 0
    idle_ns: int | None = None


@dataclass(frozen=True)
class Observed:
    """Of one interval: counts in bins by ``Latency``, requests by ``Tally``, and how many are with the replicas at its end."""

    counts: Int64
    tallies: Int64
    running: int
    waiting: int
    kv_ratio: float


@dataclass
class Scaler:
    """The state of one service's scaling."""

    scaling: Scaling
    interval_ns: int
    count: int  # what was asked for last, at first by the scenario
    _held: bool = False  # somebody has asked for it since the last look
    _level: float = -1.0
    _trend: float = 0.0
    _stepped_ns: int = -(2**62)
    _asked_ns: int = 0  # when the last request came
    _wanted: deque[tuple[int, int]] = field(default_factory=deque)  # (when, how many), within the cool-down

    def hold(self, count: int, at_ns: int) -> None:
        """Somebody asks for so many replicas; scaling goes on from there."""
        self.count, self._held, self._stepped_ns = count, True, at_ns
        self._wanted.clear()

    def look(self, at_ns: int, open_replicas: int, coming: int, seen: Observed) -> None:
        """Renew ``count``. ``open_replicas`` are up; ``coming`` wait for GPUs or start."""
        if self.scaling.metric != "none" and not self._held:
            self.count = self._by_metric(at_ns, open_replicas, coming, seen)
        self._held = False

    def _by_metric(self, at_ns: int, open_replicas: int, coming: int, seen: Observed) -> int:
        scaling, have = self.scaling, open_replicas + coming
        ahead = self._ahead(int(seen.tallies[Tally.ARRIVED]))
        if seen.tallies[Tally.ARRIVED] or seen.running or seen.waiting:
            self._asked_ns = at_ns
        elif scaling.idle_ns is not None and at_ns - self._asked_ns >= scaling.idle_ns:
            self._wanted.clear()
            return 0
        if not open_replicas:
            return max(have, 1, scaling.least)
        ratio = self._metric(seen, open_replicas) * ahead / scaling.target
        wanted = have if abs(ratio - 1.0) <= TOLERANCE else _ceil(open_replicas * min(ratio, MOST_FACTOR))
        wanted = max(scaling.least, min(scaling.most, wanted))
        while self._wanted and self._wanted[0][0] <= at_ns - scaling.down_ns:
            self._wanted.popleft()
        self._wanted.append((at_ns, wanted))
        if wanted > have:
            if at_ns - self._stepped_ns < scaling.up_ns:
                return have
            self._stepped_ns = at_ns
            return wanted
        return min(have, max(count for _, count in self._wanted))

    def _metric(self, seen: Observed, replicas: int) -> float:
        match self.scaling.metric:
            case "concurrency":
                return (seen.running + seen.waiting) / replicas
            case "queue":
                return seen.waiting / replicas
            case "kv":
                return seen.kv_ratio
            case "ttft":
                return quantile_seconds(seen.counts[Latency.TTFT], QUANTILE) or 0.0
            case _:
                return quantile_seconds(seen.counts[Latency.TPOT], QUANTILE) or 0.0

    def _ahead(self, arrived: int) -> float:
        """The arrivals ``lead_ns`` from now over those of now, by Holt's linear method (Holt 1957); at least 1, since what comes down can
        wait until it has.
        """
        if self._level < 0.0:
            self._level = float(arrived)
            return 1.0
        before = self._level
        self._level = LEVEL_RATIO * arrived + (1.0 - LEVEL_RATIO) * (before + self._trend)
        self._trend = TREND_RATIO * (self._level - before) + (1.0 - TREND_RATIO) * self._trend
        if self._level <= 0.0 or not self.scaling.lead_ns:
            return 1.0
        return max(1.0, (self._level + self._trend * (self.scaling.lead_ns / self.interval_ns)) / self._level)


def _ceil(number: float) -> int:
    whole = int(number)
    return whole if whole == number else whole + 1
