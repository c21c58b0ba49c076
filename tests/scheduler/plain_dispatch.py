"""A plain, slow dispatcher: for every job it looks at every site anew, in sums over lists, and takes the best of those that are open."""

from dataclasses import dataclass, field

from emulator.racks.power import gpu_milliwatts, idle_milliwatts, switch_milliwatts
from emulator.scheduler.partition import Partition
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.sites import Sites
from emulator.scheduler.table import NEVER, State
from emulator.workload.jobs import SECOND, Locality

_NOWHERE = -1


@dataclass
class PlainDispatch:
    """What it remembers is where data is, which lines are taken until when, and since when jobs wait at a site."""

    scheduler: Scheduler
    sites: Sites
    there_ns: dict[tuple[int, int], int] = field(default_factory=dict)
    line_ns: dict[tuple[int, int], int] = field(default_factory=dict)
    since_ns: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, one in enumerate(self.sites.datasets):
            self.there_ns |= {(number, home): 0 for home in one.homes}

    def site_of(self, slot: int) -> int:
        numbers = self.scheduler.table.partitions[slot]
        return self.scheduler.partitions[numbers[0]].site if numbers else _NOWHERE

    def round(self, now_ns: int) -> list[tuple[int, int, int]]:
        """(job id, site, when its data is there) of those that are dispatched, in order."""
        scheduler, table, sites = self.scheduler, self.scheduler.table, self.sites
        pending = [slot for slot in table.slot_of.values() if table.state[slot] == State.PENDING]
        room = scheduler.room
        queued = [slot for slot in pending if not table.partitions[slot] and not room.keeps_from_dispatch(slot)]
        overdue = [
            slot
            for slot in pending
            if table.partitions[slot]
            and slot not in table.on_hold
            and table.first_start_ns[slot] < 0
            and self.since_ns[slot] + sites.move_after_ns <= now_ns
        ]
        at = {slot: self.site_of(slot) for slot in pending if table.partitions[slot] and slot not in overdue}
        found = []
        self.taken: dict[int, int] = {}  # slot -> site, of those dispatched in this round that have room there
        for slot in sorted([*queued, *overdue], key=lambda slot: (-table.priority[slot], table.submit_ns[slot], table.job_id[slot])):
            here, best, best_score = self.site_of(slot), _NOWHERE, 0.0
            for site in range(len(sites.names)):
                score = self.score(slot, site, at, now_ns)
                if score is not None and (best == _NOWHERE or score > best_score):
                    best, best_score = site, score
            if best == _NOWHERE:
                best = here
            if best == _NOWHERE:
                continue
            if best == here:
                self.since_ns[slot] = now_ns
                at[slot] = best
                continue
            arrive_ns, source = self.arrival(self.dataset(slot), best, now_ns)
            starts = arrive_ns == now_ns and self.room(slot, best, at, now_ns) >= self.milli(slot)
            (self.taken if starts else at)[slot] = best
            if source != _NOWHERE:
                self.there_ns[self.dataset(slot), best] = self.line_ns[source, best] = arrive_ns
            self.since_ns[slot] = arrive_ns
            found.append((table.job_id[slot], best, arrive_ns))
        return found

    def score(self, slot: int, site: int, at: dict[int, int], now_ns: int) -> float | None:
        """None where the site is not open to the job."""
        scheduler, table, sites = self.scheduler, self.scheduler.table, self.sites
        cluster, weights = scheduler.ledger.cluster, sites.weights
        wish, milli = table.locality.get(slot, Locality()), self.milli(slot)
        partition = self.partition(site)
        gpus = 1000 * partition.gpus
        if milli > gpus or (wish.site and wish.site != sites.names[site]):
            return None
        if self.room(slot, site, at, now_ns, largest=milli) <= -sites.backlog * gpus:
            return None
        arrive_ns, _ = self.arrival(self.dataset(slot), site, now_ns)
        if arrive_ns == NEVER:
            return None
        left, cap = 0.0, sites.cap_milliwatts[site] if sites.cap_milliwatts else None
        if cap is not None:
            hosts = int((cluster.level("site").host_unit == site).sum())
            coming = [other for other, where in (*at.items(), *self.taken.items()) if where == site]
            here = [*partition.running, *coming, slot]
            taken = sum(gpu_milliwatts(cluster.host_type, 1.0) * self.milli(other) // 1000 for other in here)
            switches = self.switches(site)
            left = (cap - hosts * idle_milliwatts(cluster.host_type) - switches - taken) / cap
            if left < 0:
                return None
        room = (self.room(slot, site, at, now_ns) - milli) / gpus
        hours = (arrive_ns - now_ns) / (3600 * SECOND)
        prefers = wish.prefer_site == sites.names[site]
        return weights.capacity * room + weights.power * left - weights.transfer * hours + weights.prefer * prefers

    def partition(self, site: int) -> Partition:
        return next(partition for partition in self.scheduler.partitions if partition.site == site)

    def room(self, slot: int, site: int, at: dict[int, int], now_ns: int, largest: int = NEVER) -> int:
        """Free, and of victims, without those ahead that wait and are no larger, and those that have just taken theirs."""
        scheduler, table, partition = self.scheduler, self.scheduler.table, self.partition(site)
        victims = [
            other
            for other in partition.running
            if scheduler.settings.preemption
            and table.preemptible[other]
            and table.priority[other] < table.priority[slot]
            and table.start_ns[other] + scheduler.settings.preempt_after_ns <= now_ns
        ]
        ahead = [other for other, where in at.items() if where == site and table.priority[other] >= table.priority[slot]]
        gone = [other for other in ahead if self.milli(other) <= largest]
        gone += [other for other, where in self.taken.items() if where == site]
        return 1000 * partition.free.free_gpus + sum(map(self.milli, victims)) - sum(map(self.milli, gone))

    def milli(self, slot: int) -> int:
        return self.scheduler.table.gpus[slot] * self.scheduler.table.milli_gpus[slot]

    def switches(self, site: int) -> int:
        """Of islands: the switches above the site's hosts, found one by one."""
        cluster = self.scheduler.ledger.cluster
        ends = cluster.level("domain").first_host[:-1]
        known = {node for node, host in enumerate(ends.tolist()) if cluster.level("site").host_unit[host] == site}
        pairs = list(zip(cluster.links.u.tolist(), cluster.links.v.tolist(), strict=True))
        while more := {v for u, v in pairs if u in known} | {u for u, v in pairs if v in known} - known:
            if more <= known:
                break
            known |= more
        draw = switch_milliwatts(cluster.links).tolist()
        return int(sum(draw[node] for node in known))

    def dataset(self, slot: int) -> int:
        name = self.scheduler.table.locality.get(slot, Locality()).dataset
        return [one.name for one in self.sites.datasets].index(name) if name else _NOWHERE

    def arrival(self, dataset: int, site: int, now_ns: int) -> tuple[int, int]:
        """When the dataset is there, and from where it is sent, if it is."""
        if dataset == _NOWHERE:
            return now_ns, _NOWHERE
        if (dataset, site) in self.there_ns:
            return max(now_ns, self.there_ns[dataset, site]), _NOWHERE
        found = (NEVER, _NOWHERE)
        for source in range(len(self.sites.names)) if self.sites.move_data else ():
            speed = float(self.sites.wan_bytes_per_second[source, site])
            if (dataset, source) not in self.there_ns or not speed:
                continue
            begin_ns = max(now_ns, self.there_ns[dataset, source], self.line_ns.get((source, site), 0))
            arrive_ns = begin_ns + round(self.sites.datasets[dataset].size_bytes / speed * SECOND)
            if arrive_ns < found[0]:
                found = arrive_ns, source
        return found
