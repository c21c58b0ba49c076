"""The queues of the section ``scheduler``, the cohorts that they share quota in, and the limits of tenants. The words are Kueue's."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from emulator.scenario.cluster import MOST_HOSTS
from emulator.scenario.section import Int, Section, as_int
from emulator.scheduler.quota import check_cohorts

#: Names all kinds of GPU together, as one figure does.
ALL_GPUS = "*"

Name = Annotated[str, Field(min_length=1, max_length=253)]


def _by_type(value: Any) -> Any:
    """One figure as that of all GPUs together."""
    if value == {}:
        raise ValueError("no GPU type is named; allowed: a number of GPUs, or numbers by GPU type")
    return value if isinstance(value, dict) else {ALL_GPUS: as_int(value)}


#: GPUs: one figure for all, or one by GPU type, with ``*`` for all together.
Gpus = Annotated[Int, Field(ge=0, le=100 * MOST_HOSTS)]
GpusByType = Annotated[dict[Name, Gpus], BeforeValidator(_by_type)]


class PreemptionSettings(Section):
    """Whose jobs a job may have stopped that its queue's quota does not let start."""

    #: Jobs of queues that borrow, for a job within the nominal quota of its own.
    reclaim_within_cohort: Literal["never", "lower-priority", "any"] = "never"
    #: The same for a job with which its queue would borrow itself; of lower priority only.
    borrow_within_cohort: Literal["never", "lower-priority"] = "never"
    #: Jobs of its own queue.
    within_queue: Literal["never", "lower-priority", "lower-or-newer-equal-priority"] = "never"

    @model_validator(mode="after")
    def _borrowing_reclaims(self) -> Self:
        if self.borrow_within_cohort != "never" and self.reclaim_within_cohort == "never":
            raise ValueError("borrow_within_cohort needs reclaim_within_cohort: lower-priority or any")
        return self


class _Holder(Section):
    """What has a quota; None: none."""

    name: Name
    quota: GpusByType | None = None
    borrowing_limit: GpusByType | None = None
    lending_limit: GpusByType | None = None

    def limits(self) -> dict[str, Mapping[str, int]]:
        """The limits that are given, by the field's name."""
        given = {"borrowing_limit": self.borrowing_limit, "lending_limit": self.lending_limit}
        return {field: limit for field, limit in given.items() if limit is not None}


class QueueSettings(_Holder):
    """A queue that is there from the start. A job that names no queue is in ``default``. A queue without a quota is not limited."""

    priority: Annotated[Int, Field(ge=-(2**31), lt=2**31)] = 0  # added to a job's own
    cohort: Name | None = None
    queueing_strategy: Literal["best-effort-fifo", "strict-fifo"] = "best-effort-fifo"
    preemption: PreemptionSettings = PreemptionSettings()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        given = self.limits()
        if self.cohort is None and given:
            raise ValueError(f"{next(iter(given))} needs a cohort: without one nobody borrows or lends")
        if self.cohort is None and self.preemption.reclaim_within_cohort != "never":
            raise ValueError("preemption.reclaim_within_cohort needs a cohort: without one nobody borrows")
        if self.cohort is not None and self.quota is None:
            raise ValueError("a queue of a cohort needs a quota, even if it is 0 (then all that it uses is borrowed)")
        if self.quota is None and self.preemption.within_queue != "never":
            raise ValueError("preemption.within_queue needs a quota; scheduler.preemption is what makes room by priority without one")
        quota = self.quota or {}
        for field, limit in given.items():
            if strange := [name for name in limit if name not in quota]:
                raise ValueError(f"{field} is for {strange[0]!r:.80}, which quota does not name; quota names {', '.join(quota)}")
        for name, most in (self.lending_limit or {}).items():
            if most > quota[name]:
                raise ValueError(f"lending_limit is {most}, more than the quota of {quota[name]} ({name})")
        return self


class CohortSettings(_Holder):
    """A group of queues and cohorts that share what they leave unused; its own quota is shared by all of them."""

    parent: Name | None = None

    @model_validator(mode="after")
    def _limits_need_a_parent(self) -> Self:
        if self.parent is None and (given := self.limits()):
            raise ValueError(f"{next(iter(given))} needs a parent: without one nobody borrows from this cohort, or lends to it")
        return self


def check_tree(cohorts: tuple[CohortSettings, ...]) -> tuple[CohortSettings, ...]:
    """Raises ValueError where two have one name, for a parent that is not there, and for a circle."""
    names = [cohort.name for cohort in cohorts]
    if len(set(names)) < len(names):
        raise ValueError(f"cohorts need different names; given: {', '.join(names)}")
    check_cohorts({cohort.name: cohort.parent or "" for cohort in cohorts})
    return cohorts


class TenantLimit(Section):
    """The most that one tenant may have; None: no limit."""

    max_gpus: Gpus | None = None  # held by its running jobs
    max_running_jobs: Annotated[Int, Field(ge=0, le=100_000_000)] | None = None
    max_pending_jobs: Annotated[Int, Field(ge=0, le=100_000_000)] | None = None  # what comes beyond is rejected


class TenantLimits(Section):
    """``default`` is for every tenant that ``by_name`` does not name; one that it names has these limits and no others."""

    default: TenantLimit = TenantLimit()
    by_name: Annotated[dict[Name, TenantLimit], Field(max_length=100_000)] = Field(default_factory=dict)


Cohorts = Annotated[tuple[CohortSettings, ...], Field(max_length=1000), AfterValidator(check_tree)]
