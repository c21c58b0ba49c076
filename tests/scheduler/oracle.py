"""A slow and plain scheduler to hold the real one to: a list of free-GPU masks by host, everything looked for anew at every question.

Nothing here knows of blocks' masks, heaps, counters, shadows or caches; hosts are scanned, states are copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Self

from emulator.workload.jobs import LEVEL_NAMES
from topology.cluster import Cluster, Level

INFINITE = 10**30
RACK = LEVEL_NAMES.index("rack")
#: (host, mask of GPUs) of each host, in any order.
Place = list[tuple[int, int]]


def lowest(mask: int, count: int) -> int:
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    return sum(1 << bit for bit in bits[:count])


@dataclass
class Plain:
    """Free GPUs of every host as a mask; ``milli`` has what is left of GPUs that are shared."""

    per_host: int
    levels: list[list[range]]  # to search, innermost first; every unit a range of hosts
    named: dict[str, list[range]]  # levels by name
    mask: list[int]
    offered: list[bool]
    milli: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, cluster: Cluster) -> Self:
        def ranges(level: Level) -> list[range]:
            edges = level.first_host.tolist()
            return [range(start, end) for start, end in pairwise(edges)]

        named = {level.name: ranges(level) for level in cluster.levels}
        levels = [ranges(cluster.block)]
        for units in named.values():
            if len(units) < len(levels[-1]) and all(any(inner[0] in unit and inner[-1] in unit for unit in units) for inner in levels[-1]):
                levels.append(units)
        full = (1 << cluster.gpus_per_host) - 1
        return cls(cluster.gpus_per_host, levels, named, [full] * cluster.host_count, [True] * cluster.host_count)

    @property
    def full(self) -> int:
        return (1 << self.per_host) - 1

    def copy(self) -> Self:
        return replace(self, mask=list(self.mask), offered=list(self.offered), milli=dict(self.milli))

    def free(self, host: int) -> int:
        """Free GPUs of a host, as they count for placing."""
        return self.mask[host].bit_count() if self.offered[host] else 0

    def take(self, place: Place, milli: int = 1000) -> None:
        for host, gpus in place:
            if milli < 1000:
                key = host, gpus.bit_length() - 1
                left = self.milli.get(key, 1000)
                self.milli[key] = left - milli
                assert self.milli[key] >= 0
                if left < 1000:
                    continue
            assert self.mask[host] & gpus == gpus
            self.mask[host] &= ~gpus

    def give(self, place: Place, milli: int = 1000) -> None:
        for host, gpus in place:
            if milli < 1000:
                key = host, gpus.bit_length() - 1
                self.milli[key] += milli
                if self.milli[key] < 1000:
                    continue
                del self.milli[key]
            assert self.mask[host] & gpus == 0
            self.mask[host] |= gpus

    # -- placement ----------------------------------------------------------------------------------------------------------------

    def place(
        self, rule: str, gpus: int, milli: int = 1000, require: int = -1, prefer: int = -1, slice_gpus: int = 0, slice_level: int = -1
    ) -> Place | None:
        if milli < 1000:
            fitting = [(left, key) for key, left in self.milli.items() if left >= milli and self.offered[key[0]]]
            if fitting:
                host, gpu = min(fitting)[1]
                return [(host, 1 << gpu)]
            require = prefer = -1
        if slice_gpus > self.per_host:
            return self.sliced(gpus // self.per_host, require, prefer, slice_gpus // self.per_host, slice_level)
        if rule == "consolidate" and require == prefer == -1:
            return self.consolidate(gpus)
        return self.topology(gpus, require, prefer)

    def part(self, host: int, gpus: int) -> tuple[int, int]:
        return host, lowest(self.mask[host], gpus)

    def consolidate(self, gpus: int) -> Place | None:
        hosts, rest = divmod(gpus, self.per_host)
        if gpus <= self.per_host:
            fitting = [(self.free(host), host) for host in range(len(self.mask)) if self.free(host) >= gpus]
            return [self.part(min(fitting)[1], gpus)] if fitting else None
        order = sorted(range(len(self.mask)), key=lambda host: -self.free(host))  # sorted() is stable
        chosen = order[: hosts + (rest > 0)]
        needs = [self.per_host] * hosts + [rest] * (rest > 0)
        if len(chosen) < len(needs) or any(self.free(host) < need for host, need in zip(chosen, needs, strict=True)):
            return None
        return [self.part(host, need) for host, need in zip(chosen, needs, strict=True)]

    def wholes(self, unit: range) -> list[int]:
        return [host for host in unit if self.free(host) == self.per_host]

    def splits(self, unit: Sequence[int], gpus: int) -> list[int]:
        """Hosts in part free that hold ``gpus``, the best fit first."""
        return sorted((host for host in unit if gpus <= self.free(host) < self.per_host), key=lambda host: (self.free(host), host))

    def holds(self, unit: range, hosts: int, rest: int) -> bool:
        whole = len(self.wholes(unit))
        return whole > hosts or (whole == hosts and (not rest or bool(self.splits(unit, rest))))

    def topology(self, gpus: int, require: int = -1, prefer: int = -1) -> Place | None:
        hosts, rest = divmod(gpus, self.per_host)
        everywhere = range(len(self.mask))
        if gpus < self.per_host:
            split = self.splits(everywhere, gpus)
            if split:
                return [self.part(split[0], gpus)]
            whole = self.search(self.levels, 1, 0)
            return [self.part(whole[0][0], gpus)] if whole else None
        if gpus == self.per_host:
            require = prefer = -1
        racks = self.named["rack"]
        small = len(racks) > len(self.levels[0])
        if small and LEVEL_NAMES.index("rack") in (require, prefer) and (require == -1 or self.within(require) or require == 2):
            inside = self.search([racks], hosts, rest)
            if inside or LEVEL_NAMES[require] == "rack":
                return inside
        return self.search(self.levels if require == -1 else self.within(require), hosts, rest)

    def sliced(self, hosts: int, require: int, prefer: int, size: int, level: int) -> Place | None:
        """Slices of ``size`` hosts, each inside one unit of the level: a *part*."""
        if hosts == size:
            return self.topology(hosts * self.per_host, level, prefer)
        racks, parts = self.named["rack"], self.named[next(name for name in LEVEL_NAMES[level:] if name in self.named)]
        small = len(racks) > len(self.levels[0])
        if small and require == RACK:
            return self.search([racks], hosts, 0) if level == RACK else None
        levels = self.levels if require == -1 else self.within(require)
        finer = [units for units in levels if all(any(unit[0] in part and unit[-1] in part for part in parts) for unit in units)]
        coarser = [units for units in levels if units not in finer]
        below = [units for units in finer if units != parts]

        def room(unit: range) -> int:
            return sum(len(self.wholes(part)) // size for part in parts if part[0] in unit)

        def fill(depth: int, unit: range, count: int) -> Place:
            if depth < 0:
                return [(host, self.full) for host in self.fill(below, unit, count * size)]
            inner = sorted((part for part in [parts, *coarser][depth] if part[0] in unit), key=lambda part: -room(part))
            place: Place = []
            while room(inner[0]) < count:
                part = inner.pop(0)
                place += fill(depth - 1, part, room(part))
                count -= room(part)
            fitting = [part for part in inner if room(part) >= count]
            return place + fill(depth - 1, min(fitting, key=lambda part: (room(part), len(self.wholes(part)), part[0])), count)

        if small and prefer == RACK and (inside := self.search([racks], hosts, 0)):
            return inside
        if inside := self.search(finer, hosts, 0):
            return inside
        for depth, units in enumerate(coarser):
            fitting = [unit for unit in units if room(unit) >= hosts // size]
            if fitting:
                return fill(depth, min(fitting, key=lambda unit: (room(unit), len(self.wholes(unit)), unit[0])), hosts // size)
        return None

    def within(self, require: int) -> list[list[range]]:
        """Levels whose units each lie in one unit of the level required, or of the next coarser where there is none so called."""
        names = [name for name in LEVEL_NAMES[require:] if name in self.named]
        outer = self.named[names[0]]
        return [units for units in self.levels if all(any(unit[0] in out and unit[-1] in out for out in outer) for unit in units)]

    def search(self, levels: list[list[range]], hosts: int, rest: int) -> Place | None:
        for depth, units in enumerate(levels):
            fitting = [(len(self.wholes(unit)), number) for number, unit in enumerate(units) if self.holds(unit, hosts, rest)]
            if fitting:
                unit = units[min(fitting)[1]]
                place = self.fill(levels[:depth], unit, hosts)
                if not rest:
                    return [(host, self.full) for host in place]
                own = [host for inner in levels[0] if set(inner) & set(place) for host in inner if host in unit]
                near, far = self.splits(own, rest), self.splits(unit, rest)
                if not near and len(self.wholes(unit)) > hosts:
                    *place, last = self.fill(levels[:depth], unit, hosts + 1)
                else:
                    last = (near or far)[0]
                return [*((host, self.full) for host in place), self.part(last, rest)]
        return None

    def fill(self, finer: list[list[range]], unit: range, hosts: int) -> list[int]:
        if not finer:
            return self.wholes(unit)[:hosts]
        inner = [part for part in finer[-1] if part[0] in unit and part[-1] in unit]
        inner.sort(key=lambda part: -len(self.wholes(part)))  # stable: of equal ones the first
        place = []
        while len(self.wholes(inner[0])) < hosts:
            part = inner.pop(0)
            place += self.fill(finer[:-1], part, len(self.wholes(part)))
            hosts -= len(self.wholes(part))
        last = min((part for part in inner if len(self.wholes(part)) >= hosts), key=lambda part: (len(self.wholes(part)), part[0]))
        return place + self.fill(finer[:-1], last, hosts)


@dataclass
class Job:
    number: int
    submit: int
    gpus: int
    duration: int
    estimate: int = -1
    milli: int = 1000
    priority: int = 0
    require: int = -1
    prefer: int = -1
    preemptible: bool = True
    tenant: int = 0
    slice_gpus: int = 0
    slice_level: int = -1
    reservation: str = ""
    deadline: int = 0  # after its submission; 0: none
    start: int = -1
    ran: int = 0  # in runs that ended
    saved: int = 0  # of them, what need not be done again
    place: Place | None = None

    def __post_init__(self) -> None:
        if self.estimate < 0:
            self.estimate = self.duration

    @property
    def end(self) -> int:
        """When it ends, as it runs."""
        return self.start + self.duration - self.saved

    @property
    def held(self) -> Place:
        """What it holds; it runs."""
        assert self.place is not None
        return self.place


@dataclass
class Simulation:
    """Cycle by cycle from the definitions. Times are whole units; ``faults`` are (time, host, down). Interrupted work starts anew."""

    state: Plain
    jobs: list[Job]
    policy: str
    rule: str
    cycle: int
    faults: list[tuple[int, int, bool]] = field(default_factory=list)
    preempt_after: int | None = None
    every_cycle: bool = True  # else: only where something happened, and once more at the next
    log: list[tuple[int, int, tuple[tuple[int, int], ...]]] = field(default_factory=list)  # (time, job, hosts and masks)
    preempted: list[tuple[int, int]] = field(default_factory=list)
    queue: list[Job] = field(default_factory=list)
    running: list[Job] = field(default_factory=list)
    shadow: int = INFINITE

    def run(self) -> Self:
        coming = sorted(self.jobs, key=lambda job: (job.submit, job.number))
        faults = sorted((time, not down, host) for time, host, down in self.faults)
        now = 0
        while coming or self.running or (self.queue and (faults or self.hosts_to_come(now))):
            happened = self.settle(now, faults)
            while coming and coming[0].submit <= now:
                self.queue.append(coming.pop(0))
                happened = True
            started = len(self.log) + len(self.preempted)
            if self.every_cycle or happened or now >= self.shadow:
                self.decide(now)
            started -= len(self.log) + len(self.preempted)
            if self.every_cycle or started or self.shadow <= now:
                now += self.cycle
                continue
            due = [job.submit for job in coming[:1]] + [job.end for job in self.running] + [time for time, *_ in faults[:1]]
            now = max(now + self.cycle, min(self.shadow, -(-min(due, default=now) // self.cycle) * self.cycle))
        return self

    def hosts_to_come(self, now: int) -> bool:
        """Whether hosts come back by themselves."""
        return False

    def settle(self, now: int, faults: list[tuple[int, bool, int]]) -> bool:
        happened = False
        while True:
            ends = sorted((job.end, job.number, job) for job in self.running)
            end = ends[0][0] if ends else INFINITE
            fault = faults[0][0] if faults else INFINITE
            if min(end, fault) > now:
                return happened
            happened = True
            if end <= fault:
                self.stop(ends[0][2], end)
                continue
            _, up, host = faults.pop(0)
            self.state.offered[host] = up
            for job in [job for job in self.running if not up and any(host == on for on, _ in job.held)]:
                self.stop(job, fault)
                job.saved = 0
                self.queue.append(job)

    def stop(self, job: Job, at: int) -> None:
        job.ran += at - job.start
        self.running.remove(job)
        self.state.give(job.held, job.milli)

    def where(self, state: Plain, job: Job) -> Place | None:
        return state.place(self.rule, job.gpus, job.milli, job.require, job.prefer, job.slice_gpus, job.slice_level)

    def start(self, now: int, job: Job, place: Place) -> None:
        self.queue.remove(job)
        self.state.take(place, job.milli)
        job.start, job.place = now, place
        self.running.append(job)
        self.log.append((now, job.number, tuple(sorted(place))))

    def decide(self, now: int) -> None:
        self.shadow = INFINITE

        def key(job: Job) -> tuple[int, ...]:
            return (-job.priority, job.estimate * (self.policy == "sjf"), job.submit, job.number)

        self.queue.sort(key=key)
        older = list(self.running)
        victims: list[Job] = []
        while self.queue:
            head = self.queue[0]
            if any(key(victim) < key(head) for victim in victims):
                break
            place = self.where(self.state, head)
            if place is None and self.preempt_after is not None:
                ripe_at = now - self.preempt_after
                chosen = self.victims(ripe_at, head, [job for job in older if job not in victims])
                for victim in chosen:
                    self.stop(victim, now)
                    self.preempted.append((now, victim.number))
                victims += chosen
                place = self.where(self.state, head)
            if place is None:
                break
            self.start(now, head, place)
        if self.policy == "easy" and len(self.queue) > 1 and not victims:
            self.backfill(now)
        self.queue += victims

    def victims(self, ripe_at: int, head: Job, running: list[Job]) -> list[Job]:
        """The running jobs, started up to ``ripe_at``, to stop for the head."""
        ripe = [job for job in running if job.preemptible and job.priority < head.priority and job.start <= ripe_at]
        ripe.sort(key=lambda job: (job.priority, -job.start, -job.number))
        return self.fewest(head, ripe)

    def fewest(self, head: Job, ripe: list[Job]) -> list[Job]:
        """The first of ``ripe`` that are enough, without those that are not needed."""

        def fits_without(stopped: list[Job]) -> bool:
            state = self.state.copy()
            for job in stopped:
                state.give(job.held, job.milli)
            return self.where(state, head) is not None

        for count in range(1, len(ripe) + 1):
            if fits_without(ripe[:count]):
                chosen = ripe[:count]
                for job in reversed(ripe[:count]):
                    rest = [other for other in chosen if other is not job]
                    if fits_without(rest):
                        chosen = rest
                return chosen
        return []

    def backfill(self, now: int) -> None:
        head = self.queue[0]
        then, at = self.state.copy(), None
        ends = sorted(
            (max(-(-(job.start + job.estimate) // self.cycle) * self.cycle, now + self.cycle), job.number) for job in self.running
        )
        by_number = {job.number: job for job in self.running}
        for end, number in ends:
            if at is not None and end > at:
                break
            job = by_number[number]
            then.give(job.held, job.milli)
            if at is None and self.where(then, head) is not None:
                at = end
        self.shadow = INFINITE if at is None else at
        while self.backfill_one(now, head, then, at):
            pass

    def backfill_one(self, now: int, head: Job, then: Plain, at: int | None) -> bool:
        known = {}  # jobs that ask for the same go to the same place with the same effect
        for job in self.queue[1:]:
            asked = job.gpus, job.milli, job.require, job.prefer, job.slice_gpus, job.slice_level
            if asked not in known:
                place = self.where(self.state, job)
                known[asked] = place, place is not None and at is not None and not self.delays(head, then, place, job.milli)
            place, harmless = known[asked]
            if place is None:
                continue
            if at is None or now + job.estimate <= at:
                self.start(now, job, place)
                return True
            if harmless:
                then.take(place, job.milli)
                self.start(now, job, place)
                return True
        return False

    def delays(self, head: Job, then: Plain, place: Place, milli: int) -> bool:
        trial = then.copy()
        trial.take(place, milli)
        return self.where(trial, head) is None
