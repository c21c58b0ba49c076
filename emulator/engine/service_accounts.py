"""What has become of the requests of each service, so far and in the last interval.

Where one of several pools stands for others, what it did counts with its weight, in thousandths, so that sums stay whole.
"""

import numpy as np

from emulator.draws import Stream, bits
from emulator.racks.latencies import BINS
from emulator.racks.serving_messages import LATENCIES, TALLIES, KeptRequests, ServingReport, Tally, chosen, joined, no_kept_requests

MILLI = 1_000


class ServiceAccount:
    """Of one service. ``tallies`` and ``counts`` are in thousandths of a request or token; those that begin with ``last_`` are of the last
    interval.
    """

    def __init__(self) -> None:
        self.tallies = np.zeros(TALLIES, np.int64)
        self.counts = np.zeros((LATENCIES, BINS), np.int64)
        self.last_tallies = np.zeros(TALLIES, np.int64)
        self.last_counts = np.zeros((LATENCIES, BINS), np.int64)
        self._tallies, self._counts = self.last_tallies.copy(), self.last_counts.copy()  # of the interval that goes on
        self.run_requests = 0  # of those that arrived, how many were run
        self.running = self.waiting = 0
        self.kv_ratio = 0.0
        #: Of the replicas that have ended, in milliwatt nanoseconds above idle, and GPU nanoseconds.
        self.ended_dynamic = self.ended_held = 0

    def begin(self) -> None:
        """Reports follow, one of each shard."""
        self.running = self.waiting = 0

    def turn(self) -> None:
        """The interval is over."""
        self.last_tallies, self.last_counts = self._tallies, self._counts
        self._tallies, self._counts = np.zeros_like(self._tallies), np.zeros_like(self._counts)

    def add(self, report: ServingReport, row: int, weight_milli: int) -> None:
        """What pool ``row`` of a report did."""
        of_pool = slice(*np.searchsorted(report.count_pool, (report.pool[row], report.pool[row] + 1)).tolist())
        tallies = report.tallies[row] * weight_milli
        self._tallies += tallies
        self.tallies += tallies
        self.run_requests += int(report.tallies[row, Tally.ARRIVED])
        of, bins, count = report.count_of[of_pool], report.count_bin[of_pool], report.count[of_pool] * weight_milli
        self._counts[of, bins] += count
        self.counts[of, bins] += count
        self.running += int(report.running[row]) * weight_milli // MILLI
        self.waiting += int(report.waiting[row]) * weight_milli // MILLI

    @property
    def run_ratio(self) -> float:
        """Part of the requests that arrived which was run one by one; 1 of none."""
        return run_ratio(self.run_requests, int(self.tallies[Tally.ARRIVED]))

    @property
    def ended(self) -> int:
        """Requests that ended, but for those whose clients went away, in thousandths."""
        return sum([int(self.tallies[one]) for one in ENDS])

    @property
    def attainment_ratio(self) -> float | None:
        """Part of them that finished within the service's objectives."""
        return int(self.tallies[Tally.GOOD]) / self.ended if self.ended else None


def run_ratio(run: int, arrived_milli: int) -> float:
    """Of requests that arrived, in thousandths, the part that was run one by one; 1 of none."""
    return run * MILLI / arrived_milli if arrived_milli else 1.0


#: How requests end; those whose client went away are nobody's fault.
ENDS = (Tally.FINISHED, Tally.REJECTED, Tally.TIMED_OUT, Tally.LOST, Tally.TOO_LONG)


class RequestSample:
    """At most ``most`` of the requests that ended, each in it or not by a draw of its own: one in ``2**shift``."""

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed
        self._parts: list[KeptRequests] = []
        self._rows = 0
        self.shift = 0

    def add(self, part: KeptRequests) -> None:
        """Requests that ended."""
        if not self._most or not len(part.pool):
            return
        self._parts.append(part)
        self._rows += len(part.pool)
        while self._rows > self._most:
            self.shift += 1
            whole = self.columns()
            stays = bits(self._seed, Stream.REQUEST_KEPT, whole.pool, whole.number) >> np.uint64(64 - self.shift) == 0
            self._parts = [chosen(whole, stays)]
            self._rows = int(stays.sum())

    def columns(self) -> KeptRequests:
        """All of them, in order of their arrival."""
        whole = joined(KeptRequests, [no_kept_requests(), *self._parts])
        return chosen(whole, np.lexsort((whole.number, whole.pool, whole.arrival_ns)))
