"""What replicas over several domains send between them, tokens to experts and from stage to stage: one stream of the fabric each.

As streams of keys and values do (``kv_streams``), it sends in bursts: it loads its links for the part of the time that sending takes of a
replica's steps, as the shards report of the interval before, and a burst has the max-min share of its links. That every GPU sends as much
to every other is what all-to-alls do; a pipeline is taken for one.
"""

from collections.abc import Iterable, Mapping

from emulator.engine.kv_streams import DUTY_UNITS, rounded_up
from emulator.engine.network import Network
from emulator.engine.replicas import Replicas
from emulator.engine.service_settings import ServingSettings
from emulator.racks.latencies import PS_PER_NS, PS_PER_SECOND
from emulator.scheduler.table import JobTable

#: A token takes no longer than this, also where nothing gets through: steps under way are not shortened when links come back.
SLOWEST_TOKEN_PS = 10**10


class ReplicaTraffic:
    """Streams are known to the network by the id of the replica's job."""

    def __init__(self, settings: ServingSettings, replicas: Replicas, table: JobTable, network: Network) -> None:
        self._settings, self._replicas, self._table, self._network = settings, replicas, table, network
        self._crossed_ps: dict[int, tuple[int, int]] = {}  # pool -> since the last look, in the mean of so many replicas
        self._looked_ns = 0
        self._duty: dict[int, int] = {}  # pool -> of one of its replicas, in DUTY_UNITS
        self._sending: list[set[int]] = [set() for _ in settings.services]  # ids of jobs

    def note(self, pool: int, crossed_ps: int, count: int) -> None:
        """So long ``count`` replicas of the pool, all together, sent to other domains since this was last told."""
        if self._settings.services[pool // self._replicas.units].domains > 1:
            before = self._crossed_ps.get(pool, (0, 0))[0]
            self._crossed_ps[pool] = before + crossed_ps, count

    def look(self, at_ns: int) -> None:
        """What was told since the last look is what streams are busy for until the next."""
        passed_ps = PS_PER_NS * (at_ns - self._looked_ns)
        self._duty = {
            pool: rounded_up(-(-crossed_ps * DUTY_UNITS // (passed_ps * count))) for pool, (crossed_ps, count) in self._crossed_ps.items()
        }
        self._crossed_ps.clear()
        self._looked_ns = at_ns

    def renew(self, number: int, at_ns: int, leader: Mapping[int, int]) -> None:
        """Of a service of which a replica has come or gone, or that has been looked at. Pools follow their leader."""
        domains, up = self._settings.services[number].domains, self._replicas.services[number].up
        ids = {self._table.job_id[slot]: slot for slot in up}
        for job_id in sorted(self._sending[number] - ids.keys()):
            self._network.end_stream(at_ns, job_id)
        self._sending[number] = set(ids)
        for job_id, slot in sorted(ids.items()):
            ratio = self._duty.get(leader.get(up[slot], up[slot]), 0) / DUTY_UNITS
            # Of what a stream sends from every GPU to every GPU a part stays in its domain: here all of it leaves.
            self._network.set_stream(at_ns, job_id, self._table.rows[slot], self._table.rows[slot], ratio * domains / (domains - 1))

    def tell(self, at_ns: int, job_ids: Iterable[int]) -> None:
        """Tell the shards what a token takes from now on, of the replicas whose streams may have another rate."""
        for job_id in job_ids:
            rate = self._network.stream_rate(job_id)
            slot = self._table.slot_of.get(job_id, -1)
            if rate is None or slot not in self._replicas.of:
                continue
            service = self._settings.services[self._replicas.of[slot].service]
            exact = service.fabric_bytes * PS_PER_SECOND * service.gpus / rate if rate else SLOWEST_TOKEN_PS
            self._replicas.set_token_ps(slot, at_ns, min(SLOWEST_TOKEN_PS, round(exact)))
