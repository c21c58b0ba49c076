"""Slow and plain versions of the policies that rank jobs anew in every cycle, over the plain simulation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from tests.scheduler.oracle import Job, Simulation

HOUR = 3600
Span = tuple[int, int, int, int]  # tenant, GPUs, from, to


@dataclass
class Ranking(Simulation):
    """``decide`` for the policies that arrange (in turn or with backfilling) and those that share time. It decides at ``cycles`` alone."""

    cycles: Sequence[int] = ()
    domain_gpus: int = 8
    spans: list[Span] = field(default_factory=list)
    promoted: dict[int, tuple[int, int]] = field(default_factory=dict)  # job -> (ran, waited) when it began anew

    def run(self) -> "Ranking":
        coming = sorted(self.jobs, key=lambda job: (job.submit, job.number))
        faults = sorted((time, not down, host) for time, host, down in self.faults)
        for now in self.cycles:
            self.settle(now, faults)
            while coming and coming[0].submit <= now:
                self.queue.append(coming.pop(0))
            self.decide(now)
        return self

    def stop(self, job: Job, at: int) -> None:
        self.spans.append((job.tenant, job.gpus * job.milli, job.start, at))
        super().stop(job, at)

    def decide(self, now: int) -> None:
        if self.policy in ("srtf", "las", "tiresias"):
            self.share(now)
            return
        self.order(now)
        while self.queue and (place := self.where(self.state, self.queue[0])) is not None:
            self.start(now, self.queue[0], place)
        if self.policy != "largest-first" and len(self.queue) > 1:
            self.backfill(now)

    # -- orders ---------------------------------------------------------------------------------------------------------------------

    def order(self, now: int) -> None:
        self.queue.sort(key=lambda job: (job.submit, job.number))
        if self.policy == "largest-first":
            self.queue.sort(key=lambda job: (-job.priority, -job.gpus * job.milli))
        elif self.policy == "edf":
            self.queue.sort(key=lambda job: (-job.priority, job.submit + (job.deadline or 2 * job.estimate)))
        elif self.policy == "priority":
            self.queue.sort(key=lambda job: -(1000.0 * job.priority + 1000.0 * min(1.0, (now - job.submit) / (168 * HOUR))))
        elif self.policy == "fair-share":
            factor = self.factors(now)
            self.queue.sort(key=lambda job: (-job.priority, -factor[job.tenant]))
        elif self.policy == "drf":
            self.queue = self.progressive_filling(self.queue)

    def factors(self, now: int) -> dict[int, float]:
        """All tenants are of one queue, so the effective usage of each is its own and its part of the rest."""
        half_life, ln2 = 168 * HOUR, 0.6931471805599453
        spans = [*self.spans, *((job.tenant, job.gpus * job.milli, job.start, now) for job in self.running)]
        used = {job.tenant: 0.0 for job in self.queue} | {span[0]: 0.0 for span in spans}
        for tenant, gpus, start, end in spans:
            used[tenant] += gpus / 1000 * half_life / ln2 * (2 ** ((end - now) / half_life) - 2 ** ((start - now) / half_life))
        if not used:
            return {}
        total = sum(used.values()) or 1.0
        share = 1 / len(used)
        queue = 1.0 if any(used.values()) else 0.0
        return {tenant: 2 ** (-(mine / total + (queue - mine / total) * share) / share) for tenant, mine in used.items()}

    def progressive_filling(self, jobs: list[Job]) -> list[Job]:
        """Algorithm 1 of DRF, as if all could start, one priority after the other. Power follows GPUs here, so ports are the one other
        resource."""
        capacity = 1000 * self.state.per_host * len(self.state.mask)

        def demand(job: Job) -> tuple[int, int]:
            return job.gpus * job.milli, job.gpus * job.milli * (job.gpus > self.domain_gpus)

        held: dict[int, list[int]] = {job.tenant: [0, 0] for job in [*jobs, *self.running]}
        for job in self.running:
            held[job.tenant] = [have + more for have, more in zip(held[job.tenant], demand(job), strict=True)]
        filled = []
        jobs = list(jobs)
        while jobs:
            highest = max(job.priority for job in jobs)
            heads = {job.tenant: job for job in reversed(jobs) if job.priority == highest}
            job = min(heads.values(), key=lambda job: (max(Fraction(have, capacity) for have in held[job.tenant]), job.submit, job.number))
            held[job.tenant] = [have + more for have, more in zip(held[job.tenant], demand(job), strict=True)]
            jobs.remove(job)
            filled.append(job)
        return filled

    # -- time sharing ---------------------------------------------------------------------------------------------------------------

    def share(self, now: int) -> None:
        mine = [job for job in self.running if job.preemptible]
        ranked = sorted([*self.queue, *mine], key=lambda job: (-job.priority, *self.rank(job, now), job.submit, job.number))
        room = sum(self.state.free(host) for host in range(len(self.state.mask))) * 1000
        room += sum(left for left in self.state.milli.values()) + sum(job.gpus * job.milli for job in mine)
        chosen = []
        for job in ranked:
            if job.gpus * job.milli <= room:
                room -= job.gpus * job.milli
                chosen.append(job)
        losers = [job for job in reversed(ranked) if job in mine and job not in chosen]
        stopped: list[Job] = []
        for job in [job for job in chosen if job not in mine]:
            if self.where(self.state, job) is None:
                for victim in self.fewest(job, losers):
                    losers.remove(victim)
                    victim.saved += now - victim.start
                    self.stop(victim, now)
                    self.preempted.append((now, victim.number))
                    stopped.append(victim)
            place = self.where(self.state, job)
            if place is not None:
                self.start(now, job, place)
        self.queue += stopped

    def rank(self, job: Job, now: int) -> tuple[int, ...]:
        runs = job in self.running
        ran = job.ran + (now - job.start if runs else 0)
        if self.policy == "srtf":
            return (max(0, job.estimate - job.saved - (now - job.start if runs else 0)),)
        if self.policy == "las":
            return (ran // (30 * 60),)
        return (self.tiresias_queue(job, ran, now - job.submit - ran, runs),)

    def tiresias_queue(self, job: Job, ran: int, waited: int, runs: bool) -> int:
        before_ran, before_waited = self.promoted.get(job.number, (0, 0))
        ran, waited = ran - before_ran, waited - before_waited
        queue = sum(ran * job.gpus >= limit * HOUR for limit in (1, 10))
        if queue and not runs and waited > 8 * ran:
            self.promoted[job.number] = before_ran + ran, before_waited + waited
            return 0
        return queue
