"""The replicas of services, which are jobs: where each is, whether it serves, and the orders that tell the shards so."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from emulator.engine.service_settings import Service, ServingSettings
from emulator.engine.shards import ShardRange
from emulator.power.clocks import FULL
from emulator.racks.serving_messages import OrderRow, Role, ServingOrder, ServingOrders, serving_orders
from emulator.scheduler.free import Row
from emulator.scheduler.table import JobTable
from topology.cluster import Cluster, Level


@dataclass
class Replica:
    """One that holds GPUs, or waits for them."""

    service: int
    pool: int = -1  # once it has been placed
    up: bool = False  # it takes requests
    leaving: bool = False  # it is to finish what it has
    role: Role = Role.BOTH
    clock: int = FULL  # of its GPUs (``power.clocks``)
    token_ps: int = 0  # that what a token sends over the fabric takes


@dataclass
class OfService:
    """The replicas of one service, by slot."""

    slots: set[int] = field(default_factory=set)
    up: dict[int, int] = field(default_factory=dict)  # slot -> pool, of those that are up and stay
    kinds: dict[int, list[int]] = field(default_factory=dict)  # pool -> how many of these there are by Role


class Replicas:
    """``Runs`` tells what becomes of the jobs. ``units`` is how many pools a service can have."""

    def __init__(self, settings: ServingSettings, cluster: Cluster, table: JobTable, ranges: Sequence[ShardRange]) -> None:
        self._settings, self._table = settings, table
        level = cluster.level(settings.pool_level)
        self.units = len(level)
        self.pools = len(settings.services) * self.units  # their numbers are below this
        self._unit_of_block: list[int] = level.host_unit[cluster.block.first_host[:-1]].tolist()
        self.site_of_unit: list[int] = cluster.level("site").host_unit[level.first_host[:-1]].tolist()
        self._building_of_unit: list[int] = _building(cluster).host_unit[level.first_host[:-1]].tolist()
        edges = np.array([one.first_host for one in ranges])
        self.shard_of_unit: list[int] = (np.searchsorted(edges, level.first_host[:-1], side="right") - 1).tolist()
        self._orders: list[list[OrderRow]] = [[] for _ in ranges]
        self.of: dict[int, Replica] = {}  # by slot
        self.services = [OfService() for _ in settings.services]
        self.stirred = set[int]()  # services of which a replica has come up, or no longer serves, since their shares were renewed
        self.moved = set[int]()  # the same, since their streams were
        self._placed: dict[int, int] = {}  # slot -> how long it would read weights, of those that may get them from others instead
        self._run = set[int]()  # pools that shards know; of services whose pools are not all run

    def note(self, slot: int, service: int) -> None:
        """The job is a replica of this service."""
        self.of[slot] = Replica(service)
        self.services[service].slots.add(slot)

    def forget(self, slot: int) -> None:
        """The job has ended for good."""
        if (replica := self.of.pop(slot, None)) is not None:
            self.services[replica.service].slots.discard(slot)

    def service_of(self, slot: int) -> Service | None:
        """The service of which the job is a replica."""
        replica = self.of.get(slot)
        return None if replica is None else self._settings.services[replica.service]

    # -- what becomes of them -------------------------------------------------------------------------------------------------------

    def placed(self, slot: int, rows: Sequence[Row], clock: int, read_ns: int) -> None:
        """The replica has GPUs, which run at this clock. It would read its weights from storage for so long in the end; 0: it has them."""
        replica, service = self.of[slot], self._settings.services[self.of[slot].service]
        replica.pool, replica.clock = replica.service * self.units + self._unit_of_block[rows[0][0]], clock
        replica.token_ps = service.token_ps
        if read_ns and service.weights_from_peers:
            self._placed[slot] = read_ns

    def set_clock(self, slot: int, at_ns: int, clock: int) -> None:
        """If the job is a replica: its GPUs run at this clock from now on."""
        replica = self.of.get(slot)
        if replica is not None and replica.clock != clock:
            replica.clock = clock
            self._pace(slot, at_ns)

    def set_token_ps(self, slot: int, at_ns: int, token_ps: int) -> None:
        """What a token of a step sends over the fabric takes so long from now on."""
        if self.of[slot].token_ps != token_ps:
            self.of[slot].token_ps = token_ps
            self._pace(slot, at_ns)

    def take_placed(self) -> dict[int, int]:
        """Replicas that may get their weights from others, since this was last asked for, and how long they would read them."""
        taken, self._placed = self._placed, {}
        return taken

    def nearest(self, pool: int, pools: Collection[int]) -> int:
        """Of these pools those at its site, and of them itself, or one in its building, or the one of the nearest number; -1: none."""
        units, site, building = self.units, self.site_of_unit, self._building_of_unit
        here = pool % units
        near = [other for other in pools if site[other % units] == site[here]]
        return min(near, key=lambda other: (building[other % units] != building[here], abs(other - pool), other), default=-1)

    def ready(self, slot: int, at_ns: int) -> None:
        """Its weights are loaded: it takes requests."""
        replica = self.of[slot]
        if replica.up or replica.leaving:
            return
        replica.up = True
        of, service = self.services[replica.service], self._settings.services[replica.service]
        of.up[slot] = replica.pool
        kinds = of.kinds.setdefault(replica.pool, [0] * len(Role))
        if service.prefill:
            wanted = service.prefills(int(sum(kinds)) + 1)
            replica.role = Role.PREFILL if kinds[Role.PREFILL] < wanted else Role.DECODE
        kinds[replica.role] += 1
        self.stir(replica.service)
        if self.is_run(replica.pool):
            self._open(slot, at_ns)

    def _open(self, slot: int, at_ns: int) -> None:
        replica = self.of[slot]
        self.tell(at_ns, ServingOrder.OPEN, replica.pool, self._table.job_id[slot], replica.role)
        if replica.clock != FULL or replica.token_ps:
            self._pace(slot, at_ns)

    def _pace(self, slot: int, at_ns: int) -> None:
        """Tell the shard of a replica that is up how fast it is."""
        replica = self.of[slot]
        if replica.up and self.is_run(replica.pool):
            self.tell(at_ns, ServingOrder.PACE, replica.pool, self._table.job_id[slot], replica.clock, replica.token_ps)

    def is_run(self, pool: int) -> bool:
        """Its shard knows the pool. What is the weighted copy of another needs no shard."""
        return self._settings.services[pool // self.units].run_one_in == 1 or pool in self._run

    def run(self, pool: int, at_ns: int) -> None:
        """The pool is run request by request from now on."""
        if not self.is_run(pool):
            self._run.add(pool)
            for slot in [slot for slot, own in self.services[pool // self.units].up.items() if own == pool]:
                self._open(slot, at_ns)

    def gone(self, slot: int, at_ns: int) -> None:
        """It serves no longer; what it had is lost, if it had not finished it."""
        replica = self.of[slot]
        if replica.up:
            if self.is_run(replica.pool):
                self.tell(at_ns, ServingOrder.LOSE, replica.pool, self._table.job_id[slot])
            self._leave(slot, replica)
        replica.up = False

    def drain(self, slot: int, at_ns: int) -> bool:
        """It takes no more requests, and finishes those that it has; True where it has none, since its pool is not run."""
        replica = self.of[slot]
        replica.leaving = True
        if runs := self.is_run(replica.pool):
            self.tell(at_ns, ServingOrder.DRAIN, replica.pool, self._table.job_id[slot])
        self._leave(slot, replica)
        return not runs

    def _leave(self, slot: int, replica: Replica) -> None:
        of = self.services[replica.service]
        if of.up.pop(slot, None) is not None:
            of.kinds[replica.pool][replica.role] -= 1
        self.stir(replica.service)

    def stir(self, service: int) -> None:
        """Its shares and streams are to be renewed."""
        self.stirred.add(service)
        self.moved.add(service)

    def who_leave(self, number: int, slots: Sequence[int], count: int) -> list[int]:
        """Of these replicas of a service, which ``count`` are to go: those that do not serve yet, and then the youngest, but of the kind of
        which the pool has more than its part.
        """
        service = self._settings.services[number]
        order = sorted(slots, key=lambda slot: (self.of[slot].up, -self._table.job_id[slot]))
        if not service.prefill:
            return order[:count]
        kinds = {pool: list(counts) for pool, counts in self.services[number].kinds.items()}
        leave = [slot for slot in order if not self.of[slot].up][:count]
        up = [slot for slot in order if self.of[slot].up]
        while len(leave) < count and up:
            for slot in up:
                replica = self.of[slot]
                prefill, decode = kinds[replica.pool][Role.PREFILL], kinds[replica.pool][Role.DECODE]
                too_many = Role.PREFILL if prefill > service.prefills(prefill + decode - 1) or not decode else Role.DECODE
                if replica.role == too_many:
                    kinds[replica.pool][replica.role] -= 1
                    leave.append(slot)
                    up.remove(slot)
                    break
        return leave

    # -- orders ---------------------------------------------------------------------------------------------------------------------

    def tell(
        self, at_ns: int, kind: ServingOrder, pool: int, replica: int, value: int = 0, more: int = 0, low: float = 0.0, high: float = 0.0
    ) -> None:
        """Give an order to the pool's shard; it waits until the shards serve."""
        self._orders[self.shard_of_unit[pool % self.units]].append((at_ns, kind, pool, replica, value, more, low, high))

    def take_orders(self) -> dict[int, ServingOrders]:
        """By shard, all that wait; every shard has some, if only none."""
        found = {shard: serving_orders(waiting) for shard, waiting in enumerate(self._orders)}
        for waiting in self._orders:
            waiting.clear()
        return found


def _building(cluster: Cluster) -> Level:
    """The level of buildings, or of sites where these are not told apart."""
    return next(level for level in cluster.levels if level.name in {"building", "site"})
