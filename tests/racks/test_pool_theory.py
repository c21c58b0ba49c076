"""A pool against queueing theory, and what holds in every run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.draws import exponential, uniform
from emulator.racks.pool import Pool
from emulator.racks.pool_layout import NEVER_PS
from emulator.racks.pool_records import EndedRequests, How, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.workload.serving.costs import StepCosts
from tests.racks.given_steps import tables
from tests.racks.test_pool import as_table

#: A step of one request, in ps; prompts have one token, so a request of n tokens of output takes n steps.
STEP_PS = 1000
NOTHING = np.zeros(2, np.int64)


def one_server(outputs: np.ndarray, gaps_ps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Waiting and sojourn times in steps, of a replica that serves one request at a time, without the first tenth."""
    costs = StepCosts.plain(STEP_PS, NOTHING, 0, 0, 0, NOTHING)
    pool = Pool(tables(costs), ReplicaLimits(1, 1, int(outputs.max()) + 1), PoolSettings())
    pool.open(0)
    count = len(outputs)
    pool.give(PoolRequests.of(np.cumsum(gaps_ps), np.ones(count, np.int64), outputs))
    pool.advance(NEVER_PS)
    ended = pool.take_ended()
    order = np.argsort(ended.number)[count // 10 :]
    sojourn = (ended.done_ps - ended.arrival_ps)[order] / STEP_PS
    return sojourn - outputs[order], sojourn


def mean_of_batches(values: np.ndarray) -> tuple[float, float]:
    """The mean and four times its standard error, from 50 batches: the values of a queue are not independent."""
    means = np.array([batch.mean() for batch in np.array_split(values, 50)])
    return float(means.mean()), float(4 * means.std(ddof=1) / np.sqrt(len(means)))


COUNT = 400_000


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_constant_service_waits_as_m_d_1(load: float) -> None:
    """Pollaczek and Khinchine: W = load * service / (2 (1 - load))."""
    service = 50
    gaps = np.rint(exponential(1, 1, np.arange(COUNT), 0) * service / load * STEP_PS).astype(np.int64)
    waiting, _ = one_server(np.full(COUNT, service), gaps)
    mean, error = mean_of_batches(waiting)
    assert abs(mean - load * service / (2 * (1 - load))) < error
    assert error < 0.2 * mean


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_exponential_service_waits_as_m_m_1(load: float) -> None:
    """W = load * service / (1 - load), the service being exponential up to rounding to whole steps of a hundredth."""
    service = 100.0
    outputs = np.maximum(np.rint(exponential(2, 1, np.arange(COUNT), 0) * service), 1).astype(np.int64)
    gaps = np.rint(exponential(2, 2, np.arange(COUNT), 0) * outputs.mean() / load * STEP_PS).astype(np.int64)
    waiting, _ = one_server(outputs, gaps)
    mean, error = mean_of_batches(waiting)
    assert abs(mean - load * service / (1 - load)) < error + 0.01 * mean
    assert error < 0.2 * mean


def busy_pool(router: Router, seed: int, *, retries: int = 0, most_waiting: int = 6) -> tuple[Pool, PoolRequests]:
    tokens = 64
    costs = StepCosts.plain(1000, np.arange(tokens + 1), 3, 1, 1, np.zeros(tokens + 1, np.int64))
    pool = Pool(
        tables(costs),
        ReplicaLimits(tokens, 4, 40),
        PoolSettings(router, most_waiting=most_waiting, retries=retries, retry_after_ps=50_000, seed=seed),
    )
    for _ in range(5):
        pool.open(0)
    count = 3000
    drawn = [uniform(seed, stream, np.arange(count), 0) for stream in range(3)]
    arrival = np.cumsum((drawn[0] * 7000).astype(np.int64))
    lengths = [(1 + one * most).astype(np.int64) for one, most in zip(drawn[1:], (200, 60), strict=True)]
    return pool, PoolRequests.of(arrival, *lengths)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(Router), st.integers(0, 1000), st.sampled_from([0, 3]), st.sampled_from([6, 40, NEVER_PS]))
def test_many_requests_are_the_same_wherever_they_are_cut(router: Router, seed: int, retries: int, most_waiting: int) -> None:
    """In one run replicas run one after the other where that is allowed, in short windows never."""
    whole, requests = busy_pool(router, seed, retries=retries, most_waiting=most_waiting)
    cut, _ = busy_pool(router, seed, retries=retries, most_waiting=most_waiting)
    for pool in (whole, cut):
        pool.give(requests)
    whole.advance(NEVER_PS)
    for until in range(0, int(requests.arrival_ps[-1]), 9000):
        cut.advance(until)
    cut.advance(NEVER_PS)
    found = [pool.take_ended() for pool in (whole, cut)]
    assert as_table(vars(found[0])) == as_table(vars(found[1]))
    assert (found[0].how == How.FINISHED).any()
    if not retries and most_waiting == 6:
        assert (found[0].how == How.REJECTED).any()


@pytest.mark.parametrize("router", Router)
def test_littles_law(router: Router) -> None:
    """Requests under way in the mean are their rate times their mean time: read at many times, and summed over requests."""
    pool, requests = busy_pool(router, 3)
    pool.give(requests)
    ended: list[EndedRequests] = []
    inside, reads, step = 0, 0, 3001
    until = 0
    while pool.next_ps() != NEVER_PS:
        until += step
        read = pool.read(until)
        inside += int(read.running.sum() + read.waiting.sum())
        reads += 1
        ended.append(pool.take_ended())
    times = np.concatenate([one.done_ps - one.arrival_ps for one in ended])
    assert len(times) == len(requests.number)
    mean_inside, by_law = inside / reads, times.sum() / (reads * step)
    assert mean_inside == pytest.approx(by_law, rel=0.01)


@pytest.mark.parametrize("router", Router)
def test_work_is_conserved(router: Router) -> None:
    """No replica rests while somebody waits there; what is generated was asked for or is counted as lost; each step has its causes."""
    pool, requests = busy_pool(router, 5)
    pool.give(requests)
    until, waited = 0, 0
    while pool.next_ps() != NEVER_PS:
        until += 9_777
        read = pool.read(until)
        assert np.all((read.running > 0) | (read.waiting == 0))
        waited += int((read.waiting > 0).sum())
    ended = pool.take_ended()
    read = pool.read(until)
    assert waited > 0
    finished = ended.how == How.FINISHED
    assert read.tokens_out.sum() == ended.output[finished].sum() + pool.lost_tokens
    assert read.tokens_in.sum() >= ended.prompt[finished].sum()
    assert np.all(read.busy_ps == read.floor_ps + read.memory_ps + read.compute_ps)
