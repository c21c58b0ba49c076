"""Conservative backfilling over the plain simulation: states at every time are made anew from who holds what when."""

from dataclasses import dataclass, field

from tests.scheduler.oracle import INFINITE, Job, Place, Plain, Simulation

#: From when to when a job holds a place.
Holding = tuple[int, int, Job, Place]


@dataclass
class Conservative(Simulation):
    """``reserved`` and ``expected`` by job number: a start and a place; and when a running job was last thought to end."""

    reserved: dict[int, tuple[int, Place]] = field(default_factory=dict)
    expected: dict[int, int] = field(default_factory=dict)
    offered: list[bool] = field(default_factory=list)
    depth: int = 0
    seen: set[int] = field(default_factory=set)  # who was in the queue at the last decision
    promised: list[tuple[int, dict[int, int]]] = field(default_factory=list)  # (time, job -> start) after each decision

    def length(self, job: Job) -> int:
        return max(1, -(-job.estimate // self.cycle)) * self.cycle

    def holdings(self, but: Job | None = None) -> list[Holding]:
        running = [(0, self.expected[job.number], job, job.held) for job in self.running]
        waiting = [(job, *self.reserved[job.number]) for job in self.queue if job.number in self.reserved and job is not but]
        return [*running, *((start, start + self.length(job), job, place) for job, start, place in waiting)]

    def window(self, holdings: list[Holding], start: int, end: int) -> Plain:
        """What nobody holds at any time from ``start`` to ``end``. Of a shared GPU the most that is held at once counts."""
        state = Plain(
            self.state.per_host, self.state.levels, self.state.named, [self.state.full] * len(self.state.mask), self.state.offered
        )
        inside = [holding for holding in holdings if holding[0] < end and holding[1] > start]
        for begin, _, job, place in inside:
            if job.milli == 1000:
                for host, gpus in place:
                    state.mask[host] &= ~gpus
            else:
                ((host, gpus),) = place
                at = max(begin, start)
                held = sum(other.milli for a, b, other, where in inside if a <= at < b and other.milli < 1000 and where == place)
                key = host, gpus.bit_length() - 1
                state.mask[host] &= ~gpus
                state.milli[key] = min(state.milli.get(key, 1000), 1000 - held)
        for _, _, job, place in inside:
            for key in [
                key for key in state.milli if job.milli == 1000 and any(key[0] == host and gpus >> key[1] & 1 for host, gpus in place)
            ]:
                del state.milli[key]
        return state

    def fits(self, job: Job, start: int, place: Place) -> bool:
        """Whether the place is free for the job from ``start`` on."""
        state = self.window(self.holdings(job), start, start + self.length(job))
        for host, gpus in place:
            key = host, gpus.bit_length() - 1
            if not state.offered[host]:
                return False
            if state.mask[host] & gpus != gpus and not (job.milli < 1000 and state.milli.get(key, 0) >= job.milli):
                return False
        return True

    def earliest(self, job: Job, now: int) -> tuple[int, Place] | None:
        holdings = self.holdings(job)
        for start in sorted({now, *(end for _, end, _, _ in holdings if end > now), *self.hosts_back(now)}):
            place = self.where(self.window(holdings, start, start + self.length(job)), job)
            if place is not None:
                return start, place
        return None

    def hosts_back(self, now: int) -> set[int]:
        """When hosts come back by themselves."""
        return set()

    def compress(self, now: int, jobs: list[Job]) -> None:
        moved = True
        while moved:
            moved = False
            for job in jobs:
                if job.number in self.reserved:
                    start, place = self.earliest(job, now) or (INFINITE, [])
                    if start < self.reserved[job.number][0]:
                        self.reserved[job.number] = start, place
                        moved = True

    def decide(self, now: int) -> None:
        def key(job: Job) -> tuple[int, ...]:
            return -job.priority, job.submit, job.number

        self.queue.sort(key=key)
        alive = {job.number: job.start + self.length(job) for job in self.running}
        came_free = any(number not in alive and end > now for number, end in self.expected.items())
        self.expected = {number: end if end > now else now + self.cycle for number, end in alive.items()}
        came_free |= self.offered != self.state.offered
        self.offered = list(self.state.offered)
        if self.preempt_after is not None and self.push_out(now, key):
            return
        broken = [job for job in self.queue if job.number in self.reserved and not self.fits(job, *self.reserved[job.number])]
        new = [job for job in self.queue if job.number not in self.seen]
        first = min((self.queue.index(job) for job in [*broken, *new]), default=len(self.queue))
        for job in self.queue[first:]:
            came_free |= self.reserved.pop(job.number, None) is not None
        if came_free:
            self.compress(now, self.queue[:first])
        for job in self.queue:
            if self.depth and len(self.reserved) >= self.depth:
                break
            if job.number not in self.reserved and (found := self.earliest(job, now)) is not None:
                self.reserved[job.number] = found
        for job in list(self.queue):
            if job.number in self.reserved and self.reserved[job.number][0] <= now:
                _, place = self.reserved.pop(job.number)
                self.start(now, job, place)
                self.expected[job.number] = now + self.length(job)
        self.seen = {job.number for job in self.queue}
        self.promised.append((now, {number: start for number, (start, _) in self.reserved.items()}))

    def push_out(self, now: int, key: object) -> bool:
        """Stop jobs for the heads of the queue. Whether any were."""
        assert callable(key)
        assert self.preempt_after is not None
        older, stopped = list(self.running), list[Job]()
        while self.queue and not any(key(victim) < key(self.queue[0]) for victim in stopped):
            head = self.queue[0]
            if self.where(self.state, head) is not None:
                break
            victims = self.victims(now - self.preempt_after, head, [job for job in older if job not in stopped])
            if not victims:
                break
            for victim in victims:
                self.stop(victim, now)
                self.preempted.append((now, victim.number))
            stopped += victims
            place = self.where(self.state, head)
            assert place is not None
            self.start(now, head, place)
            self.expected[head.number] = now + self.length(head)
        if stopped:
            self.reserved.clear()
            self.seen.clear()
            self.queue += stopped
        return bool(stopped)
