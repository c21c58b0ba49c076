"""The section ``scheduler.sites``: a global queue whose jobs are dispatched to sites, and the data that keeps them where it is."""

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from emulator.scenario.section import Int, Real, Section, as_tuple
from emulator.scenario.units import NANOSECONDS, Bandwidth, Bytes, Duration, Power, parse_duration

_YEAR = 366 * NANOSECONDS["d"]
Name = Annotated[str, Field(min_length=1, max_length=253)]
Weight = Annotated[Real, Field(ge=0, le=1e6)]


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else as_tuple(value)


Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_more), Field(max_length=100_000)]


class SiteWeights(Section):
    """What counts how much in the score of a site: `emulator.scheduler.sites`. Assumed: MAST publishes no figures."""

    capacity: Weight = 1.0  # of the share of the site's GPUs that is left
    power: Weight = 1.0  # of the share of the site's power cap that is left
    transfer: Weight = 1.0  # of each hour until the job's data is there
    prefer: Weight = 1.0  # of that the job prefers the site


class SiteLink(Section):
    """Bandwidth between two sites, each way."""

    between: Annotated[tuple[Name, ...], BeforeValidator(as_tuple), Field(min_length=2, max_length=2)]
    bandwidth: Bandwidth


class DatasetSettings(Section):
    """What jobs read: those that name it, and those of its tenants and queues that name none."""

    name: Name
    home: Annotated[Names, Field(min_length=1)]  # the site or sites that have it from the start
    size: Bytes
    tenants: Names = ()
    queues: Names = ()


class SiteSettings(Section):
    """How jobs come to sites. Without this section a job goes to whatever site has room when it has its turn."""

    dispatch: Literal["global"] = "global"
    every: Annotated[Duration, Field(ge=0, le=_YEAR)] = parse_duration("1m")  # between two rounds at least
    backlog: Annotated[Real, Field(ge=0, le=1000)] = 0.0  # of a site's GPUs: so much may wait there beyond what is free
    move_after: Annotated[Duration, Field(ge=1, le=_YEAR)] | None = None  # a job that waits for so long may go to another site
    move_data: bool = True  # false: a job runs where its data is
    weights: SiteWeights = SiteWeights()
    bandwidth: Bandwidth | None = None  # between every two sites, for data; by default that of cluster.wan
    links: Annotated[tuple[SiteLink, ...], BeforeValidator(as_tuple)] = ()  # instead of ``bandwidth``; other pairs are not joined
    caps: dict[Name, Annotated[Power, Field(ge=1, le=1e15)]] = Field(default_factory=dict)  # of a site's whole facility, by site
    datasets: Annotated[tuple[DatasetSettings, ...], BeforeValidator(as_tuple), Field(max_length=100_000)] = ()
    high_priority: Annotated[Int, Field(ge=-(2**31), lt=2**31)] = 1  # jobs of at least this count as high in the figures by site

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.bandwidth is not None and self.links:
            raise ValueError("bandwidth is for every two sites, and links for single ones; allowed: one of them")
        names = [one.name for one in self.datasets]
        if len(set(names)) < len(names):
            raise ValueError(f"datasets need different names; given: {', '.join(names)}")
        for what in ("tenants", "queues"):
            readers = Counter(user for one in self.datasets for user in getattr(one, what))
            if twice := [user for user, count in readers.items() if count > 1]:
                raise ValueError(f"{what[:-1]} {twice[0]} reads two datasets; allowed: one, which jobs may replace by naming another")
        return self
