"""Streams: flows that are not a job's, from some hosts to others, as of keys and values from the replicas that compute prompts."""

from dataclasses import dataclass

from emulator.engine.ways_out import WaysOut, lanes_left
from emulator.fabric.stream_lanes import lane_count
from emulator.fabric.traffic import NO_GROUPS, Piece, Traffic
from emulator.scheduler.free import Row

#: Ids of the flows of streams start here, above those of all jobs.
STREAM_FIRST_ID = 1 << 50


@dataclass(frozen=True, eq=False)
class Stream:
    """From the GPUs of ``senders`` to those of ``receivers``, as many lanes as the smaller side has GPUs.

    It sends during the part ``ratio`` of the time, in bursts: what others find on their links is that part of its traffic, but whatever it
    sends then goes at the rate that the lanes of its links share.
    """

    senders: tuple[Row, ...]
    receivers: tuple[Row, ...]
    ratio: float
    whole: Traffic  # as if it sent at all times

    @property
    def lanes(self) -> int:
        return min(lane_count(self.senders), lane_count(self.receivers))

    def traffic(self) -> Traffic:
        """What it loads in the mean."""
        ratio, groups = self.ratio, self.whole.groups
        if not ratio:
            return self.whole._replace(pieces=(), groups=NO_GROUPS)
        pieces = [Piece(piece.plane, piece.links, ratio * piece.weights, ratio * piece.lanes) for piece in self.whole.pieces]
        return self.whole._replace(pieces=tuple(pieces), groups=groups._replace(lanes=ratio * groups.lanes))

    def cap(self, ways: WaysOut) -> float:
        """Bytes per second of a lane that the NICs of either side have. One that has lost some slows nothing but what it sends itself."""
        least = min(lanes_left(self.senders, ways), lanes_left(self.receivers, ways))
        return self.whole.cap * min(1.0, least / self.lanes)
