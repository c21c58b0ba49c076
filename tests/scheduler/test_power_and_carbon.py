"""Policies that look at the site: its power, and the carbon of its grid."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.power.series import Series, by_hour
from emulator.racks.power import gpu_milliwatts, most_milliwatts
from emulator.scenario.policies import find
from emulator.scheduler.backlog import pending_by_reason
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.policies.carbon_aware import Grid, best_starts
from emulator.scheduler.usage import SitePower
from emulator.workload.jobs import SECOND
from tests.scheduler.drive import columns, end, make_cluster, make_scheduler, plan_at, run_engine, submit
from tests.scheduler.oracle import Job
from tests.scheduler.test_partitions import two_types

HOUR = 3600 * SECOND
CLUSTER = make_cluster("hgx")  # 16 hosts of 8 GPUs
FULL = most_milliwatts(CLUSTER)
ONE_GPU = gpu_milliwatts(CLUSTER.host_type, 1.0)


@given(st.integers(0, 10**9), st.integers(0, 128))
@settings(deadline=None)
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


def test_who_waits_for_power_is_told_so_with_the_numbers() -> None:
    """Jobs may add what 64 busy GPUs draw, and 48 do. Job 2 needs 24, job 3 more than there ever is, and job 4 hosts that go down."""
    watts = ONE_GPU / 1000
    cap = FULL - 64 * ONE_GPU
    scheduler = make_scheduler(CLUSTER, policy="power-aware", power=SitePower(cap_milliwatts=cap))
    slots = submit(scheduler, *(Job(number, 0, gpus, 9000) for number, gpus in enumerate((24, 24, 24, 72))))
    assert plan_at(scheduler, 0)[0] == [0, 1]
    needs, never = (explain_pending(scheduler, slot) for slot in slots[2:])
    assert (needs.kind, needs.position, never.kind, never.position) == ("power", 0, "power", 1)
    assert needs.numbers == {
        "watts_needed": 24 * watts, "watts_left": 16 * watts, "watts_left_most": 64 * watts, "cap_watts": cap / 1000,
    }  # fmt: skip
    left = f"{16 * watts:,.0f} W are left until the facility draws its cap of {cap / 1000:,.0f} W"
    assert needs.text == f"needs {24 * watts:,.0f} W of IT power; {left}"
    assert needs.remedy == f"fits when running jobs that draw {8 * watts:,.0f} W have ended"
    assert never.remedy == f"does not fit under the cap, which leaves {64 * watts:,.0f} W while no job runs"
    assert {kind: jobs for kind, jobs in pending_by_reason(scheduler)[0].items() if jobs} == {"power": 2}
    scheduler.finish(slots[0], at_ns=5 * SECOND)
    assert plan_at(scheduler, 5)[0] == [2]
    assert list(scheduler.draft.whys) == [slots[3]]
    scheduler.cancel_pending(slots[3])
    assert not scheduler.draft.whys
    scheduler.finish(slots[1], at_ns=6 * SECOND)
    scheduler.finish(slots[2], at_ns=6 * SECOND)
    (waiting,) = submit(scheduler, Job(4, 6, 72, 9))
    plan_at(scheduler, 6)
    assert list(scheduler.draft.whys) == [waiting]
    for host in range(16):
        scheduler.ledger.withhold(host, Withheld.DOWN)
    plan_at(scheduler, 7)
    assert (explain_pending(scheduler, waiting).kind, scheduler.draft.whys) == ("capacity", {})  # no host is left


def test_power_that_comes_free_on_hosts_of_one_type_is_for_jobs_of_all() -> None:
    cluster = two_types("leaves")
    cap = most_milliwatts(cluster)  # as if all GPUs but those of one host of the first type were at work
    budget = make_scheduler(cluster, policy="power-aware", power=SitePower(cap_milliwatts=cap)).ledger.books.power_budget()
    assert budget is not None
    cap += 8 * gpu_milliwatts(cluster.host_types[0], 1.0) - budget.most_milliwatts
    scheduler = make_scheduler(cluster, policy="power-aware", power=SitePower(cap_milliwatts=cap))
    first, second = scheduler.add(columns([Job(0, 0, 8, 9), Job(1, 0, 4, 9)], {0: 0, 1: 1}))
    scheduler.arrive(first)
    assert plan_at(scheduler, 0)[0] == [0]
    scheduler.arrive(second)
    assert plan_at(scheduler, 1)[0] == []
    assert explain_pending(scheduler, second).kind == "power"
    scheduler.finish(first, at_ns=2 * SECOND)
    assert plan_at(scheduler, 2)[0] == [1]


def plain_best_start(submit_ns: int, run_ns: int, delay_ns: int, intensity: list[float]) -> int:
    """Second by second."""

    def emitted(start: int) -> float:
        return sum(intensity[second // 3600 % len(intensity)] for second in range(start, start + run_ns // SECOND))

    starts = range(submit_ns // SECOND, (submit_ns + delay_ns) // SECOND + 1, 1800)
    return min(starts, key=lambda start: (round(emitted(start), 6), start)) * SECOND


@given(st.integers(0, 10**5), st.integers(1, 3 * 3600), st.integers(0, 6), st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_the_best_start_is_the_one_that_emits_the_least(submit_s: int, run_s: int, delay: int, intensity: list[int]) -> None:
    found = best_starts(
        np.array([submit_s * SECOND]), np.array([run_s * SECOND]), delay * HOUR, Grid(np.array(intensity, dtype=np.float64))
    )
    assert found.tolist() == [plain_best_start(submit_s * SECOND, run_s * SECOND, delay * HOUR, [float(x) for x in intensity])]


def test_a_job_waits_for_the_clean_hours_unless_it_is_urgent() -> None:
    policy = find("carbon-aware", {"intensity": "[100, 100, 10, 10, 100]", "delay_hours": 3})
    scheduler = make_scheduler(CLUSTER, policy=policy)
    submit(scheduler, Job(0, 0, 8, 3600), Job(1, 0, 8, 3600, priority=1), Job(2, 0, 8, 3 * 3600))
    assert plan_at(scheduler, 0) == ([1], [], 3600.0), "the run of 3 h emits least from 1:00 on"
    assert plan_at(scheduler, 3600) == ([2], [], 7200.0)
    assert plan_at(scheduler, 7200) == ([0], [], None)


def test_the_scenarios_series_is_the_grid_of_who_names_none() -> None:
    """The same hours as a series: 100 g up to 2:00, 10 g for two hours, 100 g."""
    series = Series((0, 2 * HOUR, 4 * HOUR), (100.0, 10.0, 100.0), 5 * HOUR)
    assert by_hour(series) == [100.0, 100.0, 10.0, 10.0, 100.0]
    scheduler = make_scheduler(CLUSTER, policy=find("carbon-aware", {"delay_hours": 3}), power=SitePower(carbon=series))
    submit(scheduler, Job(0, 0, 8, 3600), Job(2, 0, 8, 3 * 3600))
    assert [plan_at(scheduler, at)[0] for at in (0, 3600, 7200)] == [[], [2], [0]]


def test_who_waits_for_clean_hours_is_told_until_when() -> None:
    """The run of an hour emits 100 g from 0:00 on and 55 g from 1:30 on; an urgent one waits for nothing but GPUs."""
    policy = find("carbon-aware", {"intensity": "[100, 100, 10, 100, 100]", "delay_hours": 1.5})
    scheduler = make_scheduler(CLUSTER, policy=policy)
    (slot,) = submit(scheduler, Job(0, 0, 128, 3600))
    assert plan_at(scheduler, 0) == ([], [], 5400.0)
    why = explain_pending(scheduler, slot)
    text = "waits until 5,400 s, from when on its run emits 55 g of CO2 per kWh; from 0 s on it would emit 100 g"
    assert (why.kind, why.text, why.position) == ("power", text, 0)
    assert why.remedy == "may start at 5,400 s, or with a priority above 0"
    assert why.numbers == {"start_seconds": 5400.0, "grams_per_kwh_then": 55.0, "grams_per_kwh_now": 100.0, "now_seconds": 0.0}
    assert pending_by_reason(scheduler)[0]["power"] == 1
    scheduler.set_priority(slot, 1)
    assert not scheduler.draft.whys
    scheduler.set_priority(slot, 0)
    assert plan_at(scheduler, 600) == ([], [], 5400.0)
    assert explain_pending(scheduler, slot).numbers["now_seconds"] == 600.0
    (urgent,) = submit(scheduler, Job(1, 700, 8, 9 * 3600, priority=1))
    assert plan_at(scheduler, 700)[0] == [1]
    assert plan_at(scheduler, 5400)[0] == []
    assert (explain_pending(scheduler, slot).kind, scheduler.draft.whys) == ("capacity", {})
    scheduler.finish(urgent, at_ns=5500 * SECOND)
    assert plan_at(scheduler, 5500)[0] == [0]


def test_a_run_does_not_end_while_jobs_wait_for_clean_hours() -> None:
    """Nothing runs and nothing comes, but a time will."""
    policy = find("carbon-aware", {"intensity": "[100, 100, 10, 100, 100]"})
    starts, _, engine = run_engine(CLUSTER, [Job(0, 0, 8, 60)], policy, "topology", 10)
    assert [start[:2] for start in starts] == [(7200, 0)]
    assert not engine.has_work()


@pytest.mark.parametrize("value", ["[-1]", "[nan]", "x"])
def test_an_intensity_that_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="policy carbon-aware: option intensity: "):
        find("carbon-aware", {"intensity": value})
