"""Policies that look at the site: its power, and the carbon of its grid."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.racks.power import gpu_milliwatts, most_milliwatts
from emulator.scenario.policies import find
from emulator.scheduler.policies.carbon_aware import best_starts
from emulator.scheduler.usage import SitePower
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import end, make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job

HOUR = 3600 * SECOND
CLUSTER = make_cluster("hgx")  # 16 hosts of 8 GPUs
FULL = most_milliwatts(CLUSTER)
ONE_GPU = gpu_milliwatts(CLUSTER.host_type, 1.0)


@given(st.integers(0, 10**9), st.integers(0, 128))
def test_the_budget_holds_in_every_cycle_and_is_used(seed: int, gpus: int) -> None:
    """A budget that ``gpus`` busy ones fit into, at a PUE of 1.25."""
    draw = random.Random(seed)
    cap = round((FULL - (128 - gpus) * ONE_GPU) * 1.25) + 10
    scheduler = make_scheduler(CLUSTER, policy="power-aware", power=SitePower(pue=1.25, cap_milliwatts=cap))
    for second in range(30):
        submit(scheduler, *(Job(100 * second + number, second, draw.choice((1, 4, 8, 24)), 10**4) for number in range(draw.randrange(4))))
        for slot in sorted(scheduler.running):
            if draw.random() < 0.1:
                end(scheduler, slot, second)
        plan_at(scheduler, second)
        held = sum(scheduler.table.gpus[slot] for slot in scheduler.running)
        assert held <= gpus
        waiting = [scheduler.table.gpus[slot] for slot in scheduler.partitions[0].waiting()]
        free = scheduler.partitions[0].free
        assert not [size for size in waiting if size <= gpus - held and free.fits(size)], "it fits and waits"


def test_a_cap_of_its_own_goes_before_the_sites_and_without_any_nothing_is_held() -> None:
    for options, power, started in (
        ({"cap_megawatts": (FULL - 64 * ONE_GPU) / 1e9}, SitePower(cap_milliwatts=10 * FULL), [1]),
        ({}, SitePower(), [0]),
        ({}, SitePower(cap_milliwatts=FULL), [0]),
        ({"cap_megawatts": 1e-6}, SitePower(), []),
    ):
        scheduler = make_scheduler(CLUSTER, policy=find("power-aware", options), power=power)
        submit(scheduler, Job(0, 0, 128, 9), Job(1, 0, 64, 9))
        assert plan_at(scheduler, 0)[0] == started


def test_who_has_waited_for_the_patience_is_not_passed() -> None:
    power = SitePower(cap_milliwatts=FULL - 64 * ONE_GPU)
    scheduler = make_scheduler(CLUSTER, policy=find("power-aware", {"patience_hours": 1}), power=power)
    submit(scheduler, Job(0, 0, 65, 9), Job(1, 0, 8, 9))
    assert plan_at(scheduler, 0)[0] == [1]
    submit(scheduler, Job(2, 3600, 8, 9))
    assert plan_at(scheduler, 3600)[0] == [2]
    submit(scheduler, Job(3, 3601, 8, 9))
    assert plan_at(scheduler, 3601)[0] == []


def plain_best_start(submit_ns: int, run_ns: int, delay_ns: int, intensity: list[float]) -> int:
    """Second by second."""

    def emitted(start: int) -> float:
        return sum(intensity[second // 3600 % len(intensity)] for second in range(start, start + run_ns // SECOND))

    starts = range(submit_ns // SECOND, (submit_ns + delay_ns) // SECOND + 1, 1800)
    return min(starts, key=lambda start: (round(emitted(start), 6), start)) * SECOND


@given(st.integers(0, 10**5), st.integers(1, 3 * 3600), st.integers(0, 6), st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_the_best_start_is_the_one_that_emits_the_least(submit_s: int, run_s: int, delay: int, intensity: list[int]) -> None:
    found = best_starts(np.array([submit_s * SECOND]), np.array([run_s * SECOND]), delay * HOUR, np.array(intensity, dtype=np.float64))
    assert found.tolist() == [plain_best_start(submit_s * SECOND, run_s * SECOND, delay * HOUR, [float(x) for x in intensity])]


def test_a_job_waits_for_the_clean_hours_unless_it_is_urgent() -> None:
    policy = find("carbon-aware", {"intensity": "[100, 100, 10, 10, 100]", "delay_hours": 3})
    scheduler = make_scheduler(CLUSTER, policy=policy)
    submit(scheduler, Job(0, 0, 8, 3600), Job(1, 0, 8, 3600, priority=1), Job(2, 0, 8, 3 * 3600))
    assert plan_at(scheduler, 0) == ([1], [], 3600.0), "the run of 3 h emits least from 1:00 on"
    assert plan_at(scheduler, 3600) == ([2], [], 7200.0)
    assert plan_at(scheduler, 7200) == ([0], [], None)


@pytest.mark.parametrize("value", ["[-1]", "[nan]", "x"])
def test_an_intensity_that_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="policy carbon-aware: option intensity: "):
        find("carbon-aware", {"intensity": value})
