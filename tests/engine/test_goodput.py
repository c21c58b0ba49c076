"""Long runs of one large job under drawn faults: interruptions by cause as published, and the share of time that trains as computed."""

from collections import Counter
from math import sqrt
from statistics import mean, stdev
from typing import Any

import pytest

from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, held_time
from emulator.jobs.costs import WARM_SPEEDUP, CheckpointCosts, Costs, Writing
from emulator.jobs.ettr import daly_ettr, mttf
from emulator.racks.faults import CAUSES, FaultSettings
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, JobKind, Recovery, job_columns
from tests.engine.small import clos, engine, run

DAY = 86_400
#: Llama 3, arXiv 2407.21783: 54 days on 16,384 H100, 419 unexpected interruptions, each cause with its count in CAUSES.
DAYS, HOSTS, RATE = 54, 2_048, 3.79


def long_run(
    hosts: int, days: float, rate: float, seed: int, costs: Costs, every_seconds: float, kind: JobKind = JobKind.GANG, **more: Any
) -> Engine:
    """One job without an end in sight on ``hosts``, with an eighth of spare ones."""
    job = job_columns(
        1, submit_ns=0, gpus=hosts * 8, duration_ns=400 * DAY * SECOND, checkpoint_ns=round(every_seconds * SECOND), kind=int(kind)
    )
    return engine(
        clos(hosts * 9 // 8, hosts_per_rack=8),
        [job],
        faults=FaultSettings(True, rate),
        seed=seed,
        until_ns=round(days * DAY) * SECOND,
        costs=costs,
        max_restarts=10**9,
        cycle_ns=SECOND,
        publish_ns=round(days * DAY) * SECOND,
        **more,
    )


def test_interruptions_come_by_cause_as_in_the_published_run() -> None:
    """Over 20 seeds: each cause's count is a Poisson sum of 20 times the published one, within 4 standard deviations; so is their total."""
    seeds, found = range(20), Counter[str]()
    for seed in seeds:
        made = long_run(HOSTS, DAYS, RATE, seed, Costs(300 * SECOND), 300.0)
        seen: list[str] = []

        def note(slot: int, at_ns: int, made: Engine = made, seen: list[str] = seen) -> None:
            if made.table.state[slot] == State.PENDING and slot in made.chronicle.reasons:
                seen.append(made.chronicle.reasons[slot].rpartition(" ")[2])

        made.chronicle.on_change = note
        run(made)
        assert len(seen) == made.chronicle.restarts
        found.update(seen)
    for cause in CAUSES:
        wanted = cause.count * len(seeds)
        assert abs(found[cause.name] - wanted) <= 4 * sqrt(wanted) + 1e-9, cause.name
    total = 419 * len(seeds) * 0.99  # of the hosts that are up: each is down for some hours a year
    assert abs(sum(found.values()) - total) <= 4 * sqrt(total) + 0.01 * total


@pytest.mark.parametrize(
    ("hosts", "write_seconds", "days"), [(128, 30.0, 54.0), (2_048, 30.0, 20.0), (2_048, 0.0, 20.0), (6_144, 30.0, 6.0)]
)
def test_the_share_of_time_that_trains_is_that_of_the_closed_form(hosts: int, write_seconds: float, days: float) -> None:
    """RSC-1's 6.50 faults per 1,000 hosts and day, 5 min to restart, a checkpoint every 20 min: within 4 standard errors of 6 seeds."""
    every, restart = 1_200.0, 300.0
    costs = Costs(
        round(restart * SECOND),
        checkpoint=CheckpointCosts(Writing.BLOCKING, gpu_bytes_per_second=0.84e9 / write_seconds)
        if write_seconds
        else CheckpointCosts(Writing.FREE),
    )
    shares = []
    for seed in range(6):
        made = run(long_run(hosts, days, 6.5, seed, costs, every))
        held = dict(zip(HELD, held_time(made.table, [0], made.now_ns), strict=True))
        assert sum(held.values()) == made.meter.held_milli_gpus.until(made.now_ns)
        shares.append(held["productive"] / (1000 * hosts * 8 * days * DAY * SECOND))
    wanted = daly_ettr(mttf(hosts, 6.5 / 1000 / DAY), every, restart, write_seconds)
    assert abs(mean(shares) - wanted) <= 4 * stdev(shares) / sqrt(len(shares)) + 0.002


def test_spares_restart_ten_times_as_fast_as_the_queue() -> None:
    """Ten days on 16,384 GPUs: the same faults, of which those that take a host or a GPU cost 217 s each, or 19.9 s with a spare."""
    costs = Costs(restart_by_size=True)
    seconds = {}
    for way, spares in ((Recovery.REQUEUE, 0), (Recovery.SPARES, 4)):
        made = long_run(HOSTS, 10, RATE, 3, costs, 600.0, JobKind.TRAINING, recovery=way, spares_per_1024_gpus=spares)
        run(made)
        held = dict(zip(HELD, held_time(made.table, [0], made.now_ns), strict=True))
        assert made.chronicle.restarts > 60
        assert made.chronicle.started == (made.chronicle.restarts + 1 if way == Recovery.REQUEUE else 1)
        seconds[way] = held["restarting"] / (1000 * HOSTS * 8 * SECOND) / made.chronicle.restarts
    assert seconds[Recovery.REQUEUE] == pytest.approx(217, rel=0.02), "some are cut short by the next fault"
    assert 217 / WARM_SPEEDUP - 0.5 <= seconds[Recovery.SPARES] <= 217 / WARM_SPEEDUP + 1, "and up to a cycle of a second"


def test_a_fault_that_is_noticed_late_costs_the_time_until_then() -> None:
    """As long as it takes by cause: of ten days at 16,384 GPUs the time in detection is that of the causes that came, to the nanosecond."""
    made = long_run(HOSTS, 10, RATE, 3, Costs(300 * SECOND, detection=True), 600.0, JobKind.TRAINING)
    came: list[str] = []
    made.chronicle.on_change = lambda slot, _: (
        came.append(made.chronicle.reasons[slot].rpartition(" ")[2]) if made.runs.hangs(slot) else None
    )
    run(made)
    assert len(came) == made.chronicle.restarts > 50
    seconds = {cause.name: cause.detection_seconds for cause in CAUSES}
    held = dict(zip(HELD, held_time(made.table, [0], made.now_ns), strict=True))
    assert held["detecting"] == 1000 * HOSTS * 8 * round(sum(seconds[name] for name in came) * SECOND)
