"""Slow hosts, stalls and fail-slow episodes: what they do to the speed of training jobs, by hand."""

from dataclasses import replace
from math import erf, exp, log, sqrt

import numpy as np
import pytest

from emulator.draws import Stream, normal
from emulator.engine.commands import SlowDown
from emulator.engine.engine import Engine
from emulator.jobs.stragglers import COMMUNICATION, COMPUTATION, FAIL_SLOW_FACTOR, LARGE, Episode, Stragglers, drawn_luck
from emulator.workload.jobs import SECOND, job_columns
from tests.engine.small import SHAPE, clos, ends, engine, hosts_of, run, run_until, training
from tests.engine.test_properties import check_sums

#: That of `EngineSettings`.
SEED = 1


def made_with(stragglers: Stragglers, hosts: int = 4, seconds: int = 1000) -> Engine:
    return engine(clos(hosts), [training(gpus=hosts * 8, duration_ns=seconds * SECOND)], stragglers=stragglers)


def test_a_step_waits_for_the_slowest_host() -> None:
    """A step computes 1 s, and its ring hides behind that."""
    made = made_with(Stragglers(host_spread=0.05))
    run_until(made, 0)
    slowest = max(float(normal(SEED, Stream.HOST_SPEED, host, 0)) for host in hosts_of(made, 0))
    assert slowest > 0
    assert made.table.lives.speed[0] == 1 / (1 + 0.05 * slowest)
    assert ends(run(made)) == {0: pytest.approx(1000 * (1 + 0.05 * slowest), abs=1e-6)}


@pytest.mark.parametrize("trains", [True, False])
def test_a_job_is_as_slow_as_a_host_that_fails_slow(trains: bool) -> None:
    """300 s at full speed, 200 s at a half, 100 s at a quarter (the worst counts), and the rest: 1000 - 300 - 100 - 25 = 575 s."""
    jobs = training(gpus=32, duration_ns=1000 * SECOND) if trains else job_columns(1, submit_ns=0, gpus=32, duration_ns=1000 * SECOND)
    made = engine(clos(4), [jobs])
    made.post(SlowDown(2, 3, 200 * SECOND, 0.5, "slow", "a"), 300 * SECOND)
    made.post(SlowDown(2, 4, 100 * SECOND, 0.25, "slow", "b"), 500 * SECOND)
    made.post(SlowDown(0, 1, 60 * SECOND, 0.9, "slow", "c"), 2000 * SECOND)
    assert ends(run(made)) == {0: pytest.approx(600 + 575, abs=1e-6)}
    check_sums(made)


def test_more_hosts_wait_for_a_slower_one_and_fast_ones_are_no_faster() -> None:
    stragglers = Stragglers(host_spread=0.004)
    slowness = stragglers.slowness(SEED, 4096)
    late = [stragglers.late_seconds(max(slowness[:hosts]), 10.0) for hosts in (1, 8, 64, 512, 4096)]
    assert late == sorted(late)
    assert late[-1] == pytest.approx(10 * 0.004 * 3.6, rel=0.15), "the mean maximum of 4,096 normals is 3.6"
    fast = next(host for host in range(100) if float(normal(SEED, Stream.HOST_SPEED, host, 0)) < 0)
    assert slowness[fast] == 0.0


def test_stalls_cost_their_mean() -> None:
    """E[min(X, c)] of a lognormal, in closed form: 2 % of the steps stall, for 4.0 s in the mean."""

    def below(x: float) -> float:
        return (1 + erf(x / sqrt(2))) / 2

    mean, sd, most = log(2.0), 1.3, log(30.0)
    wanted = exp(mean + sd * sd / 2) * below((most - mean - sd * sd) / sd) + 30 * (1 - below((most - mean) / sd))
    stalls = Stragglers(stall_ratio=0.02)
    assert stalls.stall_seconds == pytest.approx(0.02 * wanted, rel=1e-3)
    assert ends(run(made_with(stalls))) == {0: pytest.approx(1000 * (1 + stalls.stall_seconds), abs=1e-6)}


def test_an_episode_slows_a_job_for_as_long_as_it_lasts() -> None:
    stragglers = Stragglers(fail_slow=True)
    found = [stragglers.episodes(luck, 32, 40_000 * SECOND) for luck in drawn_luck(SEED, np.arange(100)).tolist()]
    job, (episode,) = next((job, episodes) for job, episodes in enumerate(found) if len(episodes) == 1)
    jobs = replace(training(gpus=32, duration_ns=40_000 * SECOND), job_id=np.array([job]))
    made = engine(clos(4), [jobs], stragglers=stragglers)
    run_until(made, episode.begin_ns + 10 * SECOND)
    assert made.table.lives.speed[0] == pytest.approx(1 / FAIL_SLOW_FACTOR)
    run(made)
    lasted = (episode.end_ns - episode.begin_ns) / SECOND
    assert made.table.end_ns[0] / SECOND == pytest.approx(40_000 + lasted * (1 - 1 / FAIL_SLOW_FACTOR), abs=1e-6)


def test_as_many_jobs_fail_slow_as_were_found_to_and_for_as_long() -> None:
    def found(gpus: int) -> list[list[Episode]]:
        return [Stragglers(fail_slow=True).episodes(luck, gpus, 10**15) for luck in drawn_luck(SEED, np.arange(4000)).tolist()]

    for gpus, parts in ((8, (COMPUTATION, COMMUNICATION)), (512, (LARGE,))):
        episodes = found(gpus)
        wanted = sum(part for part, _ in parts)
        assert sum(map(len, episodes)) / 4000 == pytest.approx(wanted, abs=4 * sqrt(wanted / 4000))
        seconds = [(one.end_ns - one.begin_ns) / SECOND for job in episodes for one in job]
        mean = sum(part * seconds for part, seconds in parts) / wanted
        assert np.mean(seconds) == pytest.approx(mean, rel=0.1)
    assert not Stragglers().episodes(drawn_luck(SEED, np.array([1]))[0], 512, 10**15)


def test_jobs_that_do_not_train_know_nothing_of_it() -> None:
    gang = job_columns(1, submit_ns=0, gpus=16, duration_ns=1000 * SECOND)
    assert ends(run(engine(clos(2), [gang], stragglers=Stragglers(0.5, 0.5, fail_slow=True)))) == {0: 1000}
    assert SHAPE.compute_seconds == 1.0
