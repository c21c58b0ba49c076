"""Queues, their quotas, and the sites to which jobs are dispatched, as the API shows them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class QuotaView:
    """How a queue stands with one kind of GPU, in GPUs; shares of a GPU count as such."""

    flavor: str  # the host types whose GPUs are counted together, joined by a plus sign; "*": all
    nominal_gpus: float
    used_gpus: float
    borrowed_gpus: float
    lent_gpus: float
    available_gpus: float  # that a job may start with now, as far as this quota goes
    borrowing_limit_gpus: float | None  # None: no limit
    lending_limit_gpus: float | None


@dataclass(frozen=True)
class QueueView:
    """How many jobs of one queue wait and run, and on how many GPUs; ended jobs count no more."""

    name: str
    pending_jobs: int
    pending_gpus: int
    running_jobs: int
    running_gpus: int
    cohort: str = ""
    held_jobs: int = 0  # of those that wait: held back by the quota, or by the limit of their tenant
    quotas: tuple[QuotaView, ...] = ()  # none: it is not limited


@dataclass(frozen=True)
class SiteView:
    """One site, where jobs are dispatched to sites. Demand is GPUs that jobs hold or wait for at the site, over its GPUs;
    a job of the global queue is demand of all sites that it could go to, by their GPUs.
    """

    name: str
    gpus: int
    free_gpus: int
    pending_jobs: int  # in its queue, or waiting for their data on the way there
    pending_gpus: int
    dispatched_jobs: int  # so far, each time that a job was
    moved_jobs: int  # so far, that went to another site from its queue
    received_bytes: int  # so far: data of jobs
    demand_ratio: float
    mean_demand_ratio: float  # over time
    mean_high_demand_ratio: float  # of jobs of high priority (scheduler.sites.high_priority)


@dataclass(frozen=True)
class SitesView:
    """The global queue, and the sites to which its jobs are dispatched. The mean is over time and over the cluster's GPUs."""

    sites: tuple[SiteView, ...]
    queued_jobs: int
    queued_gpus: float
    mean_queued_ratio: float

    @property
    def overload_ratio(self) -> float:
        """Demand over supply of the most overloaded site for jobs of high priority, as MAST gives it (Choudhury et al., OSDI'24)."""
        return max(site.mean_high_demand_ratio for site in self.sites)
