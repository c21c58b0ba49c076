"""The time that every job holds its GPUs is accounted for once, to the nanosecond, whatever befalls it and whatever it does about it."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine.commands import CutLinks
from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, job_time
from emulator.engine.link_health import Cut
from emulator.engine.power_settings import OverCap
from emulator.jobs.costs import CheckpointCosts, Writing
from emulator.jobs.stragglers import Stragglers
from emulator.racks.faults import Scope
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND, Recovery
from tests.engine.random_work import COSTS, UNTIL, Manner, Work, cluster, run_work
from tests.engine.small import fingerprint
from tests.engine.test_elastic import elastic_work
from tests.engine.test_power_caps import between, capped
from tests.engine.test_properties import check_sums
from tests.scheduler.test_every_policy import gpus_are_held_once


class Clock:
    """Beside the engine: how long each job has been seen to run, in nanoseconds and in GPU nanoseconds, by its id."""

    def __init__(self, made: Engine) -> None:
        self._made, self._since = made, dict[int, tuple[int, int]]()  # by id: since when it runs, and with how many GPUs
        self.held, self.gpu_time, self.changes = Counter[int](), Counter[int](), Counter[int]()
        made.chronicle.on_change = self.note

    def note(self, slot: int, at_ns: int) -> None:
        table = self._made.table
        job = table.job_id[slot]
        self.stop(job, at_ns)
        if table.state[slot] == State.RUNNING:
            self._since[job] = at_ns, table.size_gpus[slot]

    def stop(self, job: int, at_ns: int) -> None:
        """Count what has passed since the job's last change."""
        since_ns, gpus = self._since.pop(job, (at_ns, 0))
        self.held[job] += at_ns - since_ns
        self.gpu_time[job] += (at_ns - since_ns) * gpus
        self.changes[job] += 1


def lives(seed: int) -> tuple[Work, dict[str, Any]]:
    """Random work in which anything may happen, and the settings with which it is run."""
    draw = np.random.default_rng(seed)
    made = elastic_work(seed)[int(draw.integers(2))]
    recovery = np.where(draw.random(len(made.jobs)) < 0.5, draw.integers(0, 5, len(made.jobs)), 0).astype(np.int8)
    link = int(draw.integers(len(cluster().links)))
    flaps = CutLinks((Cut(link, (), 0.0),), 900 * SECOND, 3 * SECOND, 40 * SECOND)
    posted = sorted([*made.posted, (int(draw.integers(0, 200)) * 10 * SECOND, flaps)], key=lambda row: row[0])
    writing = CheckpointCosts(list(Writing)[draw.integers(3)], 0.1e9, 2e9, 4e9)
    return replace(made, jobs=replace(made.jobs, recovery=recovery), posted=posted), {
        "costs": replace(COSTS, checkpoint=writing),
        "recovery": Recovery(int(draw.integers(1, 5))),
        "spares_per_1024_gpus": int(draw.choice([0, 30])),
        "time_limit_factor": (None, 1.0)[draw.integers(2)],
        "max_restarts": int(draw.choice([2, 50])),
        "stragglers": (Stragglers(), Stragglers(0.05, 0.02, fail_slow=True))[draw.integers(2)],
        "grace_ns": int(draw.choice([0, 5, 60])) * SECOND,
        "elastic": list(Elastic)[draw.integers(3)],
        "power": capped(between(float(draw.random())), list(OverCap)[draw.integers(3)], int(draw.integers(600))),
    }


def run_lives(seed: int, policy: str, manner: Manner) -> Engine:
    made, how = lives(seed)
    return run_work(made, seed, policy, manner, how.pop("elastic"), **how)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_phases_of_every_job_add_up_to_the_time_that_it_was_seen_to_run(policy: str, seed: int) -> None:
    clocks: list[Clock] = []

    def look(made: Engine, _: int) -> None:
        check_sums(made)
        gpus_are_held_once(made.scheduler)
        assert sum(made.runs.gpus_by_phase.values()) == sum(made.table.size_gpus[slot] for slot in made.scheduler.running)

    made = run_lives(seed, policy, Manner(look=look, begin=lambda made: clocks.append(Clock(made))))
    (clock,), table = clocks, made.table
    for slot in range(len(table)):
        job = table.job_id[slot]
        clock.stop(job, UNTIL)
        time = job_time(table, slot, UNTIL)
        if slot in table.sizes:  # counted in the time that it takes with its size: less than a nanosecond is lost a column and change
            assert min(time) >= -12 * clock.changes[job], dict(zip(HELD, time, strict=True))
            off = clock.gpu_time[job] - sum(time) * table.size_gpus[slot]
            assert 0 <= off <= 12 * table.gpus[slot] * clock.changes[job]
        else:
            assert min(time) >= 0, dict(zip(HELD, time, strict=True))
            assert sum(time) == clock.held[job], dict(zip(HELD, time, strict=True))


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), shards=st.sampled_from([2, 5, 7]), cuts=st.lists(st.integers(1, 29), max_size=4))
def test_what_becomes_of_jobs_does_not_depend_on_shards(seed: int, shards: int, cuts: list[int]) -> None:
    plain = run_lives(seed, "easy", Manner())
    made = run_lives(seed, "easy", Manner(shards, 7 * SECOND, cuts, False))
    assert fingerprint(made) == fingerprint(plain)
    assert made.chronicle.events == plain.chronicle.events
    assert told_by_id(made) == told_by_id(plain)


def told_by_id(made: Engine) -> dict[int, str]:
    return {made.table.job_id[slot]: reason for slot, reason in made.chronicle.reasons.items()}


def test_the_random_lives_have_everything_in_them() -> None:
    """Or the properties would say little."""
    told: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    scopes: Counter[Scope] = Counter()

    def listen(made: Engine) -> None:
        def note(slot: int, _: int) -> None:
            if made.table.state[slot] == State.RUNNING:
                told[" ".join(made.chronicle.reasons.get(slot, "started").split()[:2])] += 1

        made.chronicle.on_change = note

    for seed in range(24):
        made = run_lives(seed, "easy", Manner(begin=listen))
        for slot in range(len(made.table)):
            phases.update({name for name, time in zip(HELD, job_time(made.table, slot, UNTIL), strict=True) if time})
        told["preempted"] += made.chronicle.preemptions
        for cause, count in enumerate(made.host_faults.counts):
            scopes[Scope(made.settings.faults.scopes[cause])] += count
    assert min(told[how] for how in ("restarted in", "restarted with", "went on", "preempted")) > 5, told
    assert all(phases[name] > 5 for name in HELD), phases
    assert min(scopes[scope] for scope in Scope if scope != Scope.NOTHING) > 10
