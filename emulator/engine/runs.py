"""What running jobs hold and when they will end: their power and activity, their progress, the orders to the racks."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from heapq import heappop, heappush

from emulator.engine.meter import Meter
from emulator.engine.network import Network
from emulator.engine.orders import RackOrderBuffer
from emulator.engine.settings import EngineSettings
from emulator.racks.messages import RackOrder
from emulator.racks.power import gpu_milliwatts
from emulator.scheduler.free import Row
from emulator.scheduler.table import ENDLESS, NEVER, JobTable
from emulator.workload.jobs import JobKind
from topology.cluster import Cluster

#: Draws of a GPU by its type and activity that are remembered, since jobs are alike.
DRAWS_KEPT = 10_000


class Runs:
    """One run of a job is from its start to its end, interruption or preemption. What becomes of a job after that is the engine's.

    ``draw`` is milliwatts per GPU and ``active`` SM activity in millionths of a GPU, by slot of a running job.
    """

    def __init__(
        self, cluster: Cluster, table: JobTable, network: Network, meter: Meter, orders: RackOrderBuffer, settings: EngineSettings
    ) -> None:
        self._cluster, self._table, self._network, self._meter, self._orders = cluster, table, network, meter, orders
        self._settings = settings
        self.active: dict[int, int] = {}
        self.draw: dict[int, int] = {}
        self._gpu_milliwatts: dict[tuple[int, float], int] = {}
        self._tenants: dict[Row, int] = {}  # shared GPU -> fractional jobs on it
        self._ends: list[tuple[int, int, int, int, bool]] = []  # (end, job id, slot, version, whether the time limit ends it)
        self._stalls: list[tuple[int, int, int, int]] = []  # (when it gives up, order, slot, version) of stalled jobs
        self._stalled = 0
        self._still_until: dict[int, int] = {}  # slot of a job that a flap stopped -> until when

    # -- when ---------------------------------------------------------------------------------------------------------------------

    def next_end_ns(self) -> int:
        """When the next run ends at present speeds; NEVER if none does."""
        ends, versions = self._ends, self._table.version
        while ends and versions[ends[0][2]] != ends[0][3]:
            heappop(ends)
        return ends[0][0] if ends else NEVER

    def take_end(self) -> tuple[int, int, bool]:
        """The run that ends next, of which ``next_end_ns`` has just told: when, whose, and whether its time limit ends it."""
        end_ns, _, slot, _, is_limit = heappop(self._ends)
        return end_ns, slot, is_limit

    def time_limit_ns(self, slot: int) -> int:
        """How long one run of the job may take, whatever passes in it; NEVER where there is no limit, as for a service without an end."""
        factor, estimate_ns = self._settings.time_limit_factor, self._table.estimate_ns[slot]
        if factor is None or estimate_ns == ENDLESS:
            return NEVER
        return estimate_ns if factor == 1.0 else max(1, int(estimate_ns * factor))

    def next_stall_ns(self) -> int:
        """The first instant at which a stalled job gives up; the entry may be of a job that has gone on since."""
        return self._stalls[0][0] if self._stalls else NEVER

    def take_stalls(self, until_ns: int) -> Iterator[int | None]:
        """Take the entries due by ``until_ns``: the job that gives up, or None for one that has gone on since."""
        while self._stalls and self._stalls[0][0] <= until_ns:
            _, _, slot, version = heappop(self._stalls)
            yield slot if self._table.version[slot] == version and slot in self.draw else None

    # -- runs ---------------------------------------------------------------------------------------------------------------------

    def start(self, slot: int, rows: Sequence[Row], at_ns: int) -> None:
        """A job begins to run on ``rows``."""
        table = self._table
        table.work_at_pace(slot)
        table.since_ns[slot] = at_ns
        table.speed[slot] = 1.0
        if table.shape[slot] >= 0:
            self._network.add(at_ns, slot, rows)
            table.speed[slot] = self._network.speed(slot)
        self._meter.held_milli_gpus.change(at_ns, table.size_gpus[slot] * table.milli_gpus[slot])
        draw = self._note_load(slot)
        shared = table.milli_gpus[slot] < 1000 and self._share_tenants(rows[0], 1) > 1
        self._orders.add(at_ns, RackOrder.RERATE if shared else RackOrder.OCCUPY, rows, draw)
        self._meter.hosts_milliwatts.change(at_ns, draw * table.size_gpus[slot])
        self._expect_end(slot, at_ns)

    def halt(self, slot: int, at_ns: int) -> None:
        """A run ends: its power and its flows are given back, and its time accounted for. The GPUs are the scheduler's to free."""
        table = self._table
        self.progress(slot, at_ns)
        table.version[slot] += 1
        table.run_ns[slot] += at_ns - table.start_ns[slot]
        self._meter.held_milli_gpus.change(at_ns, -table.size_gpus[slot] * table.milli_gpus[slot])
        self._meter.active_micro_gpus -= self.active.pop(slot)
        draw = self.draw.pop(slot)
        if table.milli_gpus[slot] < 1000 and self._share_tenants(table.rows[slot][0], -1):
            self._orders.add(at_ns, RackOrder.RERATE, table.rows[slot], -draw)
        else:
            self._orders.add(at_ns, RackOrder.RELEASE, table.rows[slot], draw)
        self._meter.hosts_milliwatts.change(at_ns, -draw * table.size_gpus[slot])
        if table.shape[slot] >= 0:
            self._network.remove(at_ns, slot)
            self._still_until.pop(slot, None)

    def move(self, before: Mapping[int, tuple[list[Row], int, int]], at_ns: int) -> None:
        """Runs of these jobs end as they were (placement, start and size), their work saved, and others begin as the table has them."""
        table = self._table
        for slot, was in before.items():
            now = table.rows[slot], table.start_ns[slot], table.size_gpus[slot]
            table.rows[slot], table.start_ns[slot], table.size_gpus[slot] = was
            self.halt(slot, at_ns)
            self.lose_work(slot, saved=True)
            table.rows[slot], table.start_ns[slot], table.size_gpus[slot] = now
        for slot in before:
            self.start(slot, table.rows[slot], at_ns)

    def progress(self, slot: int, at_ns: int) -> None:
        """Bring the job's remaining work to ``at_ns``."""
        table = self._table
        passed = at_ns - table.since_ns[slot]
        if overhead := min(passed, table.overhead_ns[slot]):
            table.overhead_ns[slot] -= overhead
            table.overhead_run_ns[slot] += overhead
            passed -= overhead
        speed = table.speed[slot]
        done = passed if speed == 1.0 else int(passed * speed)
        table.remaining_ns[slot] -= done
        table.work_ns[slot] += done
        table.since_ns[slot] = at_ns
        self._meter.active_micro_gpu_ns += self.active[slot] * passed

    def lose_work(self, slot: int, *, saved: bool = False) -> None:
        """What was done since the last checkpoint is lost, unless the job ``saved`` it; the next run begins with the restart overhead.

        A service without an end loses nothing.
        """
        table = self._table
        table.overhead_ns[slot] = self._settings.restart_overhead_ns
        if saved:
            return
        done = table.duration_ns[slot] - table.remaining_ns[slot] if table.duration_ns[slot] else 0
        every = table.checkpoint_ns[slot]
        lost = done % every if every else done
        table.remaining_ns[slot] += lost
        table.lost_ns[slot] += lost

    def set_speed(self, slot: int, speed: float, at_ns: int) -> None:
        """The network gives the job another speed from now on."""
        table = self._table
        self.progress(slot, at_ns)
        table.speed[slot] = speed
        self._network.set_speed(slot)
        change = -self.draw[slot]
        change += self._note_load(slot)
        self._orders.add(at_ns, RackOrder.RERATE, table.rows[slot], change)
        self._meter.hosts_milliwatts.change(at_ns, change * table.size_gpus[slot])
        self._expect_end(slot, at_ns)

    def stand_still(self, slot: int, at_ns: int, down_ns: int) -> None:
        """A flap shorter than a cycle stops the job for this time; several at once do not add up."""
        until_ns = at_ns + down_ns
        wait_ns = until_ns - max(at_ns, self._still_until.get(slot, 0))
        if wait_ns <= 0:
            return
        self._still_until[slot] = until_ns
        self.progress(slot, at_ns)
        lost = int(wait_ns * self._table.speed[slot])
        self._table.remaining_ns[slot] += lost
        self._table.work_ns[slot] -= lost
        self._expect_end(slot, at_ns)

    def _expect_end(self, slot: int, at_ns: int) -> None:
        """(Re)compute when a running job will end, its remaining work being as of ``at_ns``."""
        table = self._table
        speed = table.speed[slot]
        version = table.version[slot] = table.version[slot] + 1
        if not table.duration_ns[slot] and table.kind[slot] == JobKind.SERVICE:  # a service that runs until it is cancelled
            return
        end_ns, is_limit = NEVER, False
        if speed > 0.0:
            remaining = table.remaining_ns[slot]
            if remaining <= NEVER * speed:  # else far behind the clock's end
                wait = remaining if speed == 1.0 else -int(-remaining // speed)
                end_ns = at_ns + table.overhead_ns[slot] + wait
        else:
            self._stalled += 1
            heappush(self._stalls, (at_ns + self._settings.stall_timeout_ns, self._stalled, slot, version))
        if self._settings.time_limit_factor is not None:
            limit_ns = min(NEVER, table.start_ns[slot] + self.time_limit_ns(slot))
            is_limit = limit_ns < end_ns
            end_ns = min(end_ns, limit_ns)
        if end_ns != NEVER:
            heappush(self._ends, (end_ns, table.job_id[slot], slot, version, is_limit))

    # -- power and GPUs -----------------------------------------------------------------------------------------------------------

    def _note_load(self, slot: int) -> int:
        """Note the activity of a running job's GPUs, and their dynamic milliwatts each, which it returns: as they compute, less where they
        wait for the network.
        """
        table = self._table
        gpus, milli_gpus, utilization = table.size_gpus[slot], table.milli_gpus[slot], table.utilization[slot]
        computing = self._network.computing(slot)
        active = int(gpus * milli_gpus * 1000 * utilization * computing)
        self._meter.active_micro_gpus += active - self.active.get(slot, 0)
        self.active[slot] = active
        part = computing + (1.0 - computing) * self._settings.communication_power_ratio
        draw = self.draw[slot] = int(self._full_draw(table.host_type[slot], utilization) * part * milli_gpus / 1000)
        return draw

    def _full_draw(self, host_type: int, utilization: float) -> int:
        """Dynamic milliwatts of a GPU that computes all the time."""
        kind = host_type, utilization
        full = self._gpu_milliwatts.get(kind)
        if full is None:
            if len(self._gpu_milliwatts) == DRAWS_KEPT:
                self._gpu_milliwatts.clear()
            full = gpu_milliwatts(self._cluster.host_types[host_type], utilization, self._settings.power_gamma)
            self._gpu_milliwatts[kind] = full
        return full

    def _share_tenants(self, gpu: Row, change: int) -> int:
        """Count the fractional jobs on one GPU; returns how many there are after the change."""
        tenants = self._tenants[gpu] = self._tenants.get(gpu, 0) + change
        if not tenants:
            del self._tenants[gpu]
        return tenants

    def shared_gpu_surplus(self) -> int:
        """Running fractional jobs beyond one per GPU, which a plain count of their GPUs would count again."""
        return sum(self._tenants.values()) - len(self._tenants)

    def held_gpus(self, slots: Collection[int]) -> int:
        """GPUs that these running jobs hold; one that several share counts once."""
        table = self._table
        whole = sum(table.size_gpus[slot] for slot in slots if table.milli_gpus[slot] == 1000)
        return whole + len({table.rows[slot][0] for slot in slots if table.milli_gpus[slot] < 1000})
