"""Work for a cluster that is being built: the load of what is in service, and no gang too large for it."""

from typing import Any

import numpy as np
import pytest

from emulator.racks.buildout import Buildout, gpus_in_service
from emulator.workload.generate import GeneratorSettings, generate
from emulator.workload.growth import Growth
from emulator.workload.jobs import COLUMN_NAMES, SECOND, JobColumns
from topology.catalog import GB200_NVL72, HGX_H100, SN5600
from topology.clos import ClosPlan, build
from topology.compile import compile_cluster
from topology.sites import Part, compose

DAY = 86_400 * SECOND
GPUS = 40_000
#: A rack of 80 an hour until the fifth day, from 1,600 on.
GROWTH = Growth(np.arange(481) * (DAY // 96), 1_600 + np.arange(481) * 80)


def week(growth: Growth | None = GROWTH, seed: int = 1, until_ns: int = 7 * DAY, **settings: Any) -> list[JobColumns]:
    found = GeneratorSettings(**settings)
    return list(generate(found, GPUS, seed, until_ns, HGX_H100.gpu, 8, growth=growth))


def column(batches: list[JobColumns], name: str) -> np.ndarray:
    return np.concatenate([getattr(batch, name) for batch in batches])


def gpus_at(growth: Growth, time_ns: np.ndarray) -> np.ndarray:
    return growth.gpus[np.searchsorted(growth.time_ns, time_ns, side="right") - 1]


def offered(batches: list[JobColumns], first_ns: int, end_ns: int) -> float:
    submit = column(batches, "submit_ns")
    mine = (submit >= first_ns) & (submit < end_ns)
    work = float((column(batches, "gpus")[mine] * column(batches, "duration_ns")[mine].astype(float)).sum())
    minutes = np.arange(first_ns, end_ns, 60 * SECOND)
    return work / (float(gpus_at(GROWTH, minutes).sum()) * 60 * SECOND)


def test_the_load_is_that_of_what_is_in_service() -> None:
    """Of the first day, the days of growth and the time after: each as asked for, on average over seeds.

    Without the daily swing, which a growing cluster weighs unevenly: the evening has more GPUs than the morning.
    """
    loads = np.array(
        [
            [offered(week(seed=seed, diurnal_ratio=0.0), *span) for span in ((0, DAY), (DAY, 5 * DAY), (5 * DAY, 7 * DAY))]
            for seed in range(8)
        ]
    )
    assert np.abs(loads.mean(axis=0) / 0.95 - 1).max() < 0.04


def test_no_gang_is_larger_than_its_part_of_what_is_in_service() -> None:
    batches = week()
    gpus, submit = column(batches, "gpus"), column(batches, "submit_ns")
    assert (gpus <= 0.25 * gpus_at(GROWTH, submit)).all()
    assert gpus[submit < DAY // 8].max() == 512
    assert gpus.max() == 8192
    assert all(batch.names is None for batch in batches)  # nothing is carried over


def test_jobs_are_numbered_and_do_not_depend_on_the_end() -> None:
    batches, longer = week(until_ns=3 * DAY), week()
    count = len(column(batches, "job_id"))
    assert column(longer, "job_id").tolist() == list(range(len(column(longer, "job_id"))))
    assert (np.diff(column(longer, "submit_ns")) >= 0).all()
    for name in COLUMN_NAMES:
        assert (column(batches, name) == column(longer, name)[:count]).all(), name
    assert column(batches, "submit_ns")[-1] < 3 * DAY <= column(longer, "submit_ns")[count]


def test_what_is_all_there_is_as_without_growth() -> None:
    there = week(Growth(np.zeros(1, np.int64), np.array([GPUS])), until_ns=DAY)
    plain = week(None, until_ns=DAY, carry_over=False)
    for name in COLUMN_NAMES:
        assert (column(there, name) == column(plain, name)).all(), name


def test_nothing_comes_before_the_first_rack() -> None:
    later = Growth(np.array([0, DAY // 2, DAY]), np.array([0, 800, GPUS]))
    submit = column(week(later, until_ns=2 * DAY), "submit_ns")
    assert DAY // 2 <= submit[0] < DAY
    assert (submit >= DAY).mean() > 0.9


@pytest.mark.parametrize("initial", [0, 3, 50])
def test_gpus_in_service_by_type(initial: int) -> None:
    parts = [
        Part("a", build(ClosPlan("a", HGX_H100, SN5600, 40, 4)), "x"),
        Part("b", build(ClosPlan("b", GB200_NVL72, SN5600, 36, 18)), "x"),
    ]
    cluster = compile_cluster(compose("two", parts))
    times, gpus = gpus_in_service(Buildout(initial, 12 * SECOND), cluster)
    assert gpus[:, -1].tolist() == [320, 144]
    assert times[0] == 0
    if initial == 0:
        assert times.tolist() == [number * SECOND for number in range(13)]
        assert gpus.T.tolist() == [[32 * min(rack, 10), 72 * max(0, rack - 10)] for rack in range(13)]
    if initial == 50:
        assert times.tolist() == [0]
