"""Services: at each interval the shards serve up to now, and the shares of the pools and the numbers of replicas are renewed.

Requests are split over the pools of a service by weights that stand until the next look, as real gateways split them; only within a pool
are they routed on what is the case at that very moment. A replica is a job of the scheduler like any other.
"""

from collections.abc import Callable, Mapping, Sequence
from math import fsum

import numpy as np

from emulator.draws import Stream, uniform
from emulator.engine.commands import Ask
from emulator.engine.ends import Ends
from emulator.engine.exchange import Exchange
from emulator.engine.kv_streams import Streams
from emulator.engine.network import Network
from emulator.engine.origins import Told, mixes
from emulator.engine.replica_traffic import ReplicaTraffic
from emulator.engine.replicas import Replicas
from emulator.engine.runs import Runs
from emulator.engine.scaling import Observed, Scaler
from emulator.engine.service_accounts import MILLI, RequestSample, ServiceAccount
from emulator.engine.service_settings import REPLICA_FIRST_ID, Service, ServingSettings
from emulator.engine.stops import Stops
from emulator.engine.weight_loads import WeightLoads
from emulator.racks.latencies import PS_PER_NS
from emulator.racks.serving_messages import Followed, Role, ServingOrder, ServingReport
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, JobColumns, JobKind, job_columns
from emulator.workload.serving.costs import StepCosts
from emulator.workload.serving.energy import dynamic_ratio

DOMAIN = LEVEL_NAMES.index("domain")
#: A pool gets at most so many times what its replicas are of all, and at least one part in so many, so that shares do not swing.
MOST_TILT = 1.25
#: What replicas draw is known in steps of this part of their GPUs' dynamic power, so that not every look changes it.
POWER_STEPS = 64


class Services:
    """``arrive(slot, at_ns)`` submits a job."""

    def __init__(
        self,
        settings: ServingSettings,
        replicas: Replicas,
        scheduler: Scheduler,
        runs: Runs,
        exchange: Exchange,
        *,
        stops: Stops,
        ends: Ends,
        arrive: Callable[[int, int], None],
        network: Network,
        seed: int,
    ) -> None:
        self.settings, self.replicas = settings, replicas
        self._scheduler, self._table, self._runs, self._exchange = scheduler, scheduler.table, runs, exchange
        self._stops, self._ends, self._arrive = stops, ends, arrive
        self.accounts = [ServiceAccount() for _ in settings.services]
        self.scalers = [Scaler(service.scaling, settings.interval_ns, service.initial) for service in settings.services]
        self.sample = RequestSample(settings.kept_requests, seed)
        self._seed = seed
        self._weight_milli: dict[int, int] = {}  # pool -> what it counts for
        self._shares: dict[int, tuple[float, float, int]] = {}  # pool -> its part of the arrivals, and how many of its requests are kept
        self._ways: dict[int, Told] = {}  # pool -> on which ways its requests come
        self._leader: dict[int, int] = {}  # pool -> the one that stands for it
        self._waiting: dict[int, int] = {}  # pool -> requests that waited at the last look
        self._power: dict[int, int] = {}  # pool -> what its replicas draw, in POWER_STEPS
        self._network = network
        self._streams = Streams(settings, replicas, self._table, network)
        self._traffic = ReplicaTraffic(settings, replicas, self._table, network)
        self.weight_loads = WeightLoads(settings, replicas, self._table, runs, network)
        self._next_id = REPLICA_FIRST_ID
        self.served_ns = 0  # up to when the shards have served
        self.next_ns = 0 if settings.services else NEVER
        self._looked_ns = 0
        self._work: dict[int, list[int]] = {}  # pool -> busy and multiplying picoseconds since the last look, and its replicas
        #: Number of a request that somebody follows -> its pool, and when it came as its client sees it.
        self._followed: dict[int, tuple[int, int]] = {}
        self._costs: dict[int, StepCosts] = {}  # by service, of those of which somebody follows a request
        self.on_followed: Callable[[Followed, Mapping[int, int]], None] | None = None  # with when each came

    # -- a look ---------------------------------------------------------------------------------------------------------------------

    def turn(self, at_ns: int) -> int:
        """Look at the services, everything up to now being settled. Returns how many jobs it submitted or ended."""
        changes = 0
        self.serve(at_ns)
        for account in self.accounts:
            account.turn()
        self._renew_power(at_ns)
        self._streams.look(at_ns)
        self._traffic.look(at_ns)
        for number, service in enumerate(self.settings.services):
            changes += self._scale(number, service, at_ns, looks=True)
            self.replicas.stir(number)
        self.next_ns = (at_ns // self.settings.interval_ns + 1) * self.settings.interval_ns
        return changes

    def serve(self, at_ns: int) -> None:
        """Have all pools run up to ``at_ns``, and settle what they report."""
        if at_ns <= self.served_ns:
            return
        reports = self._exchange.serve(at_ns, self.replicas.take_orders())
        self.served_ns = at_ns
        for account in self.accounts:
            account.begin()
        kv_blocks = [[0, 0] for _ in self.accounts]
        for report in reports:
            self._settle(report, at_ns, kv_blocks)
        for account, service, (used, count) in zip(self.accounts, self.settings.services, kv_blocks, strict=True):
            account.kv_ratio = used / (count * service.kv_blocks) if count else 0.0

    def _settle(self, report: ServingReport, at_ns: int, kv_blocks: list[list[int]]) -> None:
        units = self.replicas.units
        for row, pool in enumerate(report.pool.tolist()):
            self.accounts[pool // units].add(report, row, self._weight_milli.get(pool, MILLI))
            self._waiting[pool] = int(report.waiting[row])
            self._streams.note(pool, int(report.moving_ps[row]))
            here = slice(*np.searchsorted(report.replica_pool, (pool, pool + 1)).tolist())
            count = here.stop - here.start
            if count:
                kv = kv_blocks[pool // units]
                kv[0] += int(report.kv_blocks[here].sum())
                kv[1] += count
                work = self._work.setdefault(pool, [0, 0, 0])
                work[0] += int(report.busy_ps[here].sum())
                work[1] += int(report.multiply_ps[here].sum())
                work[2] = count
                self._traffic.note(pool, int(report.crossed_ps[here].sum()), count)
        self.sample.add(report.kept)
        for job_id in report.drained.tolist():
            slot = self._table.slot_of.get(job_id, -1)
            if slot in self.replicas.of and self.replicas.of[slot].up:
                self._finish(slot, at_ns)
        if len(report.followed.number):
            if self.on_followed is not None:
                self.on_followed(report.followed, {number: self._followed[number][1] for number in report.followed.number.tolist()})
            for number in report.followed.number[report.followed.how >= 0].tolist():
                del self._followed[number]

    def _renew_power(self, at_ns: int) -> None:
        """Every replica draws from now on what those of the pool that stands for its own drew in the mean since the last look."""
        for pool, (busy_ps, multiply_ps, count) in self._work.items():
            whole_ps = PS_PER_NS * (at_ns - self._looked_ns) * count
            self._power[pool] = round(dynamic_ratio(busy_ps / whole_ps, multiply_ps / whole_ps) * POWER_STEPS)
        self._work.clear()
        self._looked_ns = at_ns
        for service in self.replicas.services:
            for slot, own in service.up.items():
                ratio = self._power.get(self._leader.get(own, own), 0) / POWER_STEPS
                if ratio != self._table.utilization[slot]:
                    self._runs.set_utilization(slot, ratio, at_ns)

    def ended(self, slot: int) -> None:
        """The job has ended for good."""
        if (replica := self.replicas.of.get(slot)) is not None:
            account, lives = self.accounts[replica.service], self._table.lives
            account.ended_dynamic += lives.dynamic_energy[slot]
            account.ended_held += lives.run_ns[slot] * self._table.size_gpus[slot]
            self.replicas.forget(slot)

    def _finish(self, slot: int, at_ns: int) -> None:
        """A replica has finished what it had, and gives back its GPUs."""
        self._runs.halt(slot, at_ns)
        self._scheduler.finish(slot, at_ns=at_ns)
        self._ends.end(slot, at_ns, State.FINISHED)

    # -- requests that somebody follows ---------------------------------------------------------------------------------------------

    def due_ns(self) -> int:
        """When the services are to be looked at next; as soon as can be while somebody follows a request."""
        return self.served_ns + 1 if self._followed else self.next_ns

    def ask(self, asked: Ask) -> None:
        """A request comes to one of the pools that are run, drawn by their shares."""
        first, last = asked.service * self.replicas.units, (asked.service + 1) * self.replicas.units
        shares = [(pool, high - low) for pool, (low, high, _) in sorted(self._shares.items()) if first <= pool < last and high > low]
        left = float(uniform(self._seed, Stream.REQUEST_POOL, asked.number, 0)) * fsum([share for _, share in shares])
        pool = first
        while shares and left >= 0.0:
            pool, share = shares.pop(0)
            left -= share
        arrival_ns = max(asked.arrival_ns, self.served_ns)
        self._followed[asked.number] = pool, arrival_ns - self._delay_ns(asked.service, asked.prompt_tokens)
        what = asked.number, asked.prompt_tokens, asked.output_tokens, float(asked.priority)
        self.replicas.tell(arrival_ns, ServingOrder.ASK, pool, *what)

    def _delay_ns(self, number: int, prompt_tokens: int) -> int:
        """By which a client sees each token later than its step ends."""
        served = self.settings.services[number].served
        if number not in self._costs:
            self._costs[number] = served.steps.costs()
        return int(served.engine_delay_ps(self._costs[number], np.array([prompt_tokens]))[0]) // PS_PER_NS

    def go_away(self, number: int, at_ns: int) -> None:
        """Nobody follows this request any more: its client has gone."""
        if number in self._followed:
            self.replicas.tell(max(at_ns, self.served_ns), ServingOrder.GO, self._followed[number][0], number)

    # -- replicas -------------------------------------------------------------------------------------------------------------------

    def _scale(self, number: int, service: Service, at_ns: int, *, looks: bool = False) -> int:
        of, account = self.replicas.services[number], self.accounts[number]
        for slot in [slot for slot in of.slots if self.replicas.of[slot].leaving and not self.replicas.of[slot].up]:
            self._stops.cancel(slot, at_ns)  # it was lost while it finished what it had
        staying = [slot for slot in of.slots if not self.replicas.of[slot].leaving]
        if at_ns and looks:
            seen = Observed(account.last_counts, account.last_tallies, account.running, account.waiting, account.kv_ratio)
            up = len(of.up)
            self.scalers[number].look(at_ns, up, len(staying) - up, seen)
        more = self.scalers[number].count - len(staying)
        if more > 0:
            self._submit(number, service, more, at_ns)
        elif more < 0:
            self._leave(self.replicas.who_leave(number, staying, -more), at_ns)
        return abs(more)

    def set_replicas(self, number: int, count: int, at_ns: int) -> None:
        """Somebody asks for so many replicas, within what the service may have; scaling goes on from there."""
        self.scalers[number].hold(count, at_ns)
        self._scale(number, self.settings.services[number], at_ns)

    def _submit(self, number: int, service: Service, count: int, at_ns: int) -> None:
        for slot in self._scheduler.add(self._jobs(service, count, at_ns)):
            self.replicas.note(slot, number)
            self._arrive(slot, at_ns)
            if self._table.state[slot] != State.PENDING:
                self.replicas.forget(slot)

    def _jobs(self, service: Service, count: int, at_ns: int) -> JobColumns:
        first, self._next_id = self._next_id, self._next_id + count
        return job_columns(
            count,
            job_id=np.arange(first, first + count),
            submit_ns=at_ns,
            gpus=service.gpus,
            duration_ns=0,
            kind=int(JobKind.SERVICE),
            priority=service.priority,
            utilization=0.0,
            require_level=service.level,
            slice_gpus=service.gpus // service.domains if service.domains > 1 else 0,
            slice_level=DOMAIN if service.domains > 1 else ANY_LEVEL,
            preemptible=service.preemptible,
            host_type=service.host_type,
            queues=(service.queue,),
            tenants=(service.tenant,),
            names=tuple([f"{service.name}-{one - REPLICA_FIRST_ID}" for one in range(first, first + count)]),
        )

    def _leave(self, slots: list[int], at_ns: int) -> None:
        for slot in slots:
            if self.replicas.of[slot].up:
                if self.replicas.drain(slot, at_ns):
                    self._finish(slot, at_ns)
            else:
                self._stops.cancel(slot, at_ns)

    # -- shares ---------------------------------------------------------------------------------------------------------------------

    def load_fabric(self, at_ns: int) -> None:
        """Renew the streams between replicas and within them, before the fabric is shared."""
        for number in sorted(self.replicas.moved):
            if self.settings.services[number].prefill:
                self._streams.renew(number, at_ns, self._leader)
            if self.settings.services[number].domains > 1:
                self._traffic.renew(number, at_ns, self._leader)
        self.replicas.moved.clear()
        self.weight_loads.renew(at_ns)

    def share(self, at_ns: int) -> None:
        """Renew the shares of the services of which a replica has come or gone, or that have been looked at; and how fast streams are."""
        stirred = self._network.take_stirred()
        self._streams.tell(at_ns, [number for number in stirred if number < self.replicas.pools])
        self._traffic.tell(at_ns, [number for number in stirred if number >= REPLICA_FIRST_ID])
        self.weight_loads.retime(at_ns)
        for number in sorted(self.replicas.stirred):
            self._share(number, at_ns)
        self.replicas.stirred.clear()

    def _share(self, number: int, at_ns: int) -> None:
        first = number * self.replicas.units
        replicas: dict[int, int] = {}
        for pool in self.replicas.services[number].up.values():
            replicas[pool] = replicas.get(pool, 0) + 1
        pools = sorted(replicas) or [first]
        counts = [replicas.get(pool, 0) for pool in pools]
        service = self.settings.services[number]
        able = [
            _able(service, self.replicas.services[number].kinds.get(pool, ()), count) for pool, count in zip(pools, counts, strict=True)
        ]
        before = [self._leader.get(pool) == pool for pool in pools]
        leaders = leaders_of([pool - first for pool in pools], counts, service.run_one_in, before)
        weights = weights_of(able, [self._waiting.get(pools[leader], 0) / max(1, counts[leader]) for leader in leaders])
        whole = fsum(weights) or 1.0
        edges = [0.0]
        for weight in weights[:-1]:
            edges.append(min(1.0, edges[-1] + weight / whole))
        edges.append(1.0)
        grouped = [0] * len(pools)  # by the place of who stands for them
        for count, leader in zip(counts, leaders, strict=True):
            grouped[leader] += count
        shares: dict[int, tuple[float, float, int]] = {}
        for place, pool in enumerate(pools):
            self._leader[pool] = pools[leaders[place]]
            if leaders[place] == place:
                self.replicas.run(pool, at_ns)
                shares[pool] = edges[place], edges[place + 1], self.sample.shift
                self._weight_milli[pool] = grouped[place] * MILLI // max(1, counts[place]) if grouped[place] else MILLI
        for pool in sorted({pool for pool in self._shares if pool // self.replicas.units == number} | set(shares)):
            now = shares.get(pool, (0.0, 0.0, self.sample.shift))
            if now != self._shares.get(pool):
                self._shares[pool] = now
                self.replicas.tell(at_ns, ServingOrder.SHARE, pool, -1, now[2], low=now[0], high=now[1])
        if service.origins:
            sites = [self.replicas.site_of_unit[pool - first] for pool in pools]
            for place, told in mixes(service.origins, service.served.ways, sites, edges, leaders).items():
                self._tell_ways(pools[place], told, at_ns)

    def _tell_ways(self, pool: int, told: Told, at_ns: int) -> None:
        """Its requests come on these ways from now on."""
        if told != self._ways.get(pool):
            self._ways[pool] = told
            for place, (way, below) in enumerate(told):
                self.replicas.tell(at_ns, ServingOrder.WAY, pool, place, way, high=below)


def weights_of(replicas: Sequence[float], waiting: Sequence[float]) -> list[float]:
    """By what requests are split over pools, of so many replicas, behind each of which so many waited at the last look: by replicas, and
    less where more waits than in the mean of all.
    """
    mean = fsum([count * each for count, each in zip(replicas, waiting, strict=True)]) / max(1.0, fsum(replicas))
    tilts = [min(MOST_TILT, max(1.0 / MOST_TILT, (mean + 1.0) / (each + 1.0))) for each in waiting]
    return [count * tilt for count, tilt in zip(replicas, tilts, strict=True)]


def _able(service: Service, kinds: Sequence[int], count: int) -> float:
    """How many replicas of both kinds in their right proportion do what these can: the scarcer kind is the bound."""
    if not service.prefill or not kinds:
        return float(count)
    of, prefill = service.prefill_of, service.prefill
    return min(kinds[Role.PREFILL] * of / prefill, kinds[Role.DECODE] * of / (of - prefill))


def leaders_of(units: Sequence[int], replicas: Sequence[int], every: int, before: Sequence[bool]) -> list[int]:
    """For each pool, in order of the units that they are in, the place of the one that is run and stands for it: of the pools in the same
    ``every`` units the one that did so ``before``, as long as it has half as many replicas as the largest, otherwise that.

    So a few replicas never stand for many, and a pool that comes or goes changes nothing for those far from it.
    """
    blocks: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        blocks.setdefault(unit // every, []).append(place)
    leaders = [0] * len(units)
    for places in blocks.values():
        largest = max(places, key=lambda place: (replicas[place], -place))
        stays = [place for place in places if before[place] and 2 * replicas[place] >= replicas[largest]]
        for place in places:
            leaders[place] = stays[0] if stays else largest
    return leaders
