"""What queues and tenants have used, and what tenants hold: the ledger books every start and stop here, for policies that ask."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import exp2, power
from emulator.power.facility import it_cap_milliwatts
from emulator.power.series import Series
from emulator.racks.power import GAMMA, gpu_milliwatts, idle_milliwatts, switch_milliwatts
from emulator.scheduler.history import History
from emulator.scheduler.table import JobTable
from emulator.workload.jobs import SECOND
from topology.cluster import Cluster

_LN2 = 0.6931471805599453
#: (queue, tenant).
Account = tuple[int, int]


class Usage:
    """GPU time by queue and tenant, half of which is forgotten after ``half_life_ns``: what was used x ago counts 2^(-x / half-life).

    Slurm forgets in the same way, in steps of PriorityCalcPeriod ("Classic Fairshare Algorithm", Normalized Usage).
    """

    def __init__(self, table: JobTable, half_life_ns: int) -> None:
        self._table, self._half_life_ns = table, half_life_ns
        self._place: dict[Account, int] = {}
        self._gpu_seconds = np.zeros(8)
        self._milli_gpus = np.zeros(8, dtype=np.int64)
        self._since_ns = np.zeros(8, dtype=np.int64)

    @property
    def accounts(self) -> Collection[Account]:
        """All that have run a job or were asked for, in that order."""
        return self._place.keys()

    def place(self, account: Account) -> int:
        """Of the account in ``gpu_seconds``; it is there from now on."""
        place = self._place.setdefault(account, len(self._place))
        if place == len(self._since_ns):
            self._gpu_seconds = np.pad(self._gpu_seconds, (0, place))
            self._milli_gpus, self._since_ns = np.pad(self._milli_gpus, (0, place)), np.pad(self._since_ns, (0, place))
        return place

    def book(self, slot: int, sign: int, at_ns: int) -> None:
        """The job starts (``sign`` 1) or stops (-1)."""
        table = self._table
        place = self.place((table.queue[slot], table.tenant[slot]))
        self._gpu_seconds[place] = self._at(at_ns, slice(place, place + 1))[0]
        self._since_ns[place] = at_ns
        self._milli_gpus[place] += sign * table.size_gpus[slot] * table.milli_gpus[slot]

    def gpu_seconds(self, now_ns: int) -> NDArray[np.float64]:
        """As of now, shape (accounts,)."""
        return self._at(now_ns, slice(0, len(self._place)))

    def _at(self, now_ns: int, which: slice) -> NDArray[np.float64]:
        """The integral of what is held, times what is left of it by then."""
        left = exp2((self._since_ns[which] - now_ns) / self._half_life_ns)
        lasting_seconds = (1.0 - left) * (self._half_life_ns / SECOND / _LN2)
        return self._gpu_seconds[which] * left + self._milli_gpus[which] / 1000 * lasting_seconds


@dataclass(frozen=True)
class SitePower:
    """Of the scenario's section ``power``. ``cap_milliwatts`` is the facility's; None: it has none."""

    gamma: float = GAMMA
    pue: float = 1.0
    cap_milliwatts: int | None = None
    carbon: Series[float] | None = None  # grams of CO2 per kWh; None: the scenario says nothing of it


NO_CAP = SitePower()


@dataclass(frozen=True)
class PowerBudget:
    """``most_milliwatts``: what jobs may add to the IT power of an idle site until the facility draws its cap; below 0 where that does."""

    cap_milliwatts: int
    most_milliwatts: int
    taken_milliwatts: Callable[[], int]  # by the jobs that run now

    def left_milliwatts(self) -> int:
        return self.most_milliwatts - self.taken_milliwatts()


class Demands:
    """What jobs take of each resource, as columns: milli-GPUs; milliwatts above idle; and ports, in milli-GPUs whose NICs they use, which
    are all of a job that is larger than a domain and none of any other.
    """

    def __init__(self, cluster: Cluster, table: JobTable, power_gamma: float) -> None:
        self._types, self._table, self._gamma = cluster.host_types, table, power_gamma
        gpus = [hosts * kind.gpus for hosts, kind in zip(cluster.type_hosts, cluster.host_types, strict=True)]
        watts = sum(count * gpu_milliwatts(kind, 1.0, power_gamma) for count, kind in zip(gpus, cluster.host_types, strict=True))
        #: Of the whole cluster, shape (3,).
        self.capacity = np.array([1000 * sum(gpus), watts, 1000 * sum(gpus)], dtype=np.int64)

    def of(self, slots: Sequence[int], host_type: int) -> NDArray[np.int64]:
        """Of jobs that wait for, or run on, hosts of this type, shape (jobs, 3)."""
        kind, table = self._types[host_type], self._table
        gpus = np.array([table.size_gpus[slot] for slot in slots], dtype=np.int64)
        milli = gpus * np.array([table.milli_gpus[slot] for slot in slots], dtype=np.int64)
        part = power(np.array([table.utilization[slot] for slot in slots]), self._gamma)
        watts = np.rint(gpu_milliwatts(kind, 1.0, self._gamma) * part).astype(np.int64) * milli // 1000
        return np.stack((milli, watts, np.where(gpus > kind.domain_gpus, milli, 0)), axis=1)


@dataclass
class Holdings:
    """What each tenant holds, by tenant."""

    demands: Demands
    table: JobTable
    held: dict[int, NDArray[np.int64]] = field(default_factory=dict)  # tenant -> shape (3,), as in Demands

    def book(self, slot: int, sign: int) -> None:
        """The job starts (``sign`` 1) or stops (-1)."""
        demand = self.demands.of((slot,), self.table.host_type[slot])[0]
        tenant = self.table.tenant[slot]
        self.held[tenant] = self.held.get(tenant, 0) + sign * demand


class Books:
    """What is booked, each from the first time that somebody asks for it: a policy that wants all of it asks in its first cycle."""

    def __init__(self, cluster: Cluster, table: JobTable, site_power: SitePower) -> None:
        self._table = table
        self.demands = Demands(cluster, table, site_power.gamma)
        self._cluster, self._site_power = cluster, site_power
        self._jobs_milliwatts: int | None = None
        self._usage: Usage | None = None
        self._holdings: Holdings | None = None
        self._history: History | None = None

    @property
    def carbon(self) -> Series[float] | None:
        """Of the grid, in grams of CO2 per kWh; None where the scenario says nothing of it."""
        return self._site_power.carbon

    def usage(self, half_life_ns: int) -> Usage:
        if self._usage is None:
            self._usage = Usage(self._table, half_life_ns)
        return self._usage

    def holdings(self) -> Holdings:
        if self._holdings is None:
            self._holdings = Holdings(self.demands, self._table)
        return self._holdings

    def power_budget(self, cap_milliwatts: int | None = None) -> PowerBudget | None:
        """What running jobs may draw; None where the facility has no cap. ``cap_milliwatts`` goes before the site's.

        All hosts count as idle at least, and all switches, in service or not. Asked for before the first job starts.
        """
        if self._jobs_milliwatts is None:
            self._jobs_milliwatts = 0
        cap = self._site_power.cap_milliwatts if cap_milliwatts is None else cap_milliwatts
        if cap is None:
            return None
        return PowerBudget(
            cap, it_cap_milliwatts(cap, self._site_power.pue) - self._standing_milliwatts, lambda: self._jobs_milliwatts or 0
        )

    @cached_property
    def _standing_milliwatts(self) -> int:
        """What the site draws before PUE while no job runs."""
        cluster = self._cluster
        idle = sum(hosts * idle_milliwatts(kind) for hosts, kind in zip(cluster.type_hosts, cluster.host_types, strict=True))
        return idle + int(switch_milliwatts(cluster.links).sum(dtype=np.int64))

    def history(self) -> History:
        if self._history is None:
            self._history = History(self._table)
        return self._history

    def note(self, slot: int, sign: int, at_ns: int) -> None:
        """The job starts (``sign`` 1) or stops (-1)."""
        if self._jobs_milliwatts is not None:
            self._jobs_milliwatts += sign * int(self.demands.of((slot,), self._table.host_type[slot])[0, 1])
        if self._usage is not None:
            self._usage.book(slot, sign, at_ns)
        if self._holdings is not None:
            self._holdings.book(slot, sign)

    def finish(self, slot: int) -> None:
        """The job, which has stopped, has done all its work."""
        if self._history is not None:
            self._history.book(slot)
