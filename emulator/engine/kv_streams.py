"""The streams of services whose replicas are of two kinds: in each pool from those that compute prompts to those that answer.

A stream sends in bursts. What it is busy for, as the shards report of the interval before, is the part of the time that it loads its links
for; a burst has the max-min share of its links, as the lanes of training jobs have.
"""

from collections.abc import Mapping

from emulator.engine.network import Network
from emulator.engine.replicas import Replicas
from emulator.engine.service_settings import ServingSettings
from emulator.racks.latencies import PS_PER_NS, PS_PER_SECOND
from emulator.racks.serving_messages import Role, ServingOrder
from emulator.scheduler.free import Row
from emulator.scheduler.table import JobTable

#: The part of the time that a stream sends is in such units, of which so many binary digits are known, rounded up: within a sixteenth, so
#: that not every look changes it.
DUTY_UNITS, DUTY_DIGITS = 1 << 20, 5


class Streams:
    """One for each pool that has replicas of both kinds, known to the network by the pool's number."""

    def __init__(self, settings: ServingSettings, replicas: Replicas, table: JobTable, network: Network) -> None:
        self._settings, self._replicas, self._table, self._network = settings, replicas, table, network
        self._moving_ps: dict[int, int] = {}  # pool -> since the last look
        self._looked_ns = 0
        self._duty: dict[int, int] = {}  # pool -> in DUTY_UNITS
        self._pairs: dict[int, int] = {}  # pool -> replicas of the scarcer kind
        self._told: dict[int, tuple[int, int]] = {}  # pool -> its speed as the shard knows it

    def note(self, pool: int, moving_ps: int) -> None:
        """So long keys and values of the pool were on their way since this was last told."""
        if self._settings.services[pool // self._replicas.units].prefill:
            self._moving_ps[pool] = self._moving_ps.get(pool, 0) + moving_ps

    def look(self, at_ns: int) -> None:
        """The services are looked at: what was told since the last look is what streams are busy for until the next."""
        passed_ps = PS_PER_NS * (at_ns - self._looked_ns)
        self._duty = {pool: rounded_up(-(-moving_ps * DUTY_UNITS // passed_ps)) for pool, moving_ps in self._moving_ps.items()}
        self._moving_ps.clear()
        self._looked_ns = at_ns

    def renew(self, at_ns: int, leader: Mapping[int, int]) -> None:
        """Of the services of which a replica has come or gone, or that have been looked at. Pools follow their leader."""
        for number in sorted(self._replicas.moved):
            if self._settings.services[number].prefill:
                self._renew(number, at_ns, leader)
        self._replicas.moved.clear()

    def _renew(self, number: int, at_ns: int, leader: Mapping[int, int]) -> None:
        rows: dict[int, dict[Role, list[Row]]] = {}
        of = self._replicas.services[number]
        for slot, pool in of.up.items():
            rows.setdefault(pool, {}).setdefault(self._replicas.of[slot].role, []).extend(self._table.rows[slot])
        before = [pool for pool in self._pairs if pool // self._replicas.units == number]
        for pool in sorted({*before, *rows}):
            ends = rows.get(pool, {})
            if len(ends) < 2:
                self._network.end_stream(at_ns, pool)
                self._pairs.pop(pool, None)
                continue
            pairs = min(of.kinds[pool][Role.PREFILL], of.kinds[pool][Role.DECODE])
            if pairs != self._pairs.get(pool):
                self._network.stir_stream(pool)
            self._pairs[pool] = pairs
            ratio = self._duty.get(leader.get(pool, pool), 0) / DUTY_UNITS
            self._network.set_stream(at_ns, pool, ends[Role.PREFILL], ends[Role.DECODE], ratio)

    def tell_speeds(self, at_ns: int) -> None:
        """Tell the shards how fast keys and values move from now on, where that has changed."""
        for pool in self._network.take_stirred():
            if pool >= self._replicas.pools:  # it moves no keys and values
                continue
            speed = self._speed(pool)
            if speed != self._told.get(pool):
                self._told[pool] = speed
                self._replicas.tell(at_ns, ServingOrder.SPEED, pool, -1, *speed)

    def _speed(self, pool: int) -> tuple[int, int]:
        """Picoseconds that the keys and values of a token take, and how many pairs of replicas send at once; 0 where nothing moves."""
        rate = self._network.stream_rate(pool)
        if not rate:
            return 0, 1
        exact = self._settings.services[pool // self._replicas.units].kv_bytes * PS_PER_SECOND / rate
        return int(exact) + (exact > int(exact)), self._pairs[pool]


def rounded_up(units: int) -> int:
    """To as many binary digits as are known, and at most the whole time."""
    shift = max(0, units.bit_length() - DUTY_DIGITS)
    return min(DUTY_UNITS, -(-units // (1 << shift)) << shift)
