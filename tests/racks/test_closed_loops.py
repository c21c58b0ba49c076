"""Users of a closed loop: laws of queueing theory, and what they do when shares change or nobody answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from emulator.draws import exponential, uniform
from emulator.racks.pool import Asks, Pool
from emulator.racks.pool_layout import NEVER_PS
from emulator.racks.pool_records import EndedRequests, How, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.workload.serving.costs import StepCosts
from tests.racks.given_steps import tables

TOKENS = 64
COSTS = StepCosts.plain(1000, np.arange(TOKENS + 1), 3, 1, 1, np.zeros(TOKENS + 1, np.int64))
LIMITS = ReplicaLimits(TOKENS, 4, 40)


def asking(think_ps: float) -> Asks:
    """For ever, with exponential times to think of this mean."""

    def asks(first: int, count: int) -> PoolRequests:
        number = first + np.arange(count)
        prompt, output = (1 + (uniform(1, stream, number, 0) * most).astype(np.int64) for stream, most in ((1, 200), (2, 60)))
        thinks = np.rint(exponential(1, 3, number, 0) * think_ps).astype(np.int64)
        nothing = np.zeros(count, np.int64)
        return PoolRequests(
            number, nothing, prompt, output, nothing, np.full(count, NEVER_PS),
            np.zeros(count + 1, np.int64), nothing[:0], np.full(count, -1), think_ps=thinks,
        )  # fmt: skip

    return asks


def pool(think_ps: float = 0.0, replicas: int = 5, **settings: Any) -> Pool:
    made = Pool(tables(COSTS), LIMITS, PoolSettings(Router.LEAST_OUTSTANDING, **settings), asks=asking(think_ps))
    for _ in range(replicas):
        made.open(0)
    return made


def there(made: Pool, at_ps: int) -> int:
    read = made.read(at_ps)
    return int(read.running.sum() + read.waiting.sum())


@pytest.mark.parametrize("users", [1, 7, 20, 200])
def test_without_thinking_all_users_are_there_at_any_time(users: int) -> None:
    """To the request: whoever is done asks again at that very picosecond."""
    made = pool()
    made.set_users(users, 0)
    assert {there(made, at_ps) for at_ps in range(1, 3_000_000, 997)} == {users}
    assert made.asked > 4 * users


@pytest.mark.parametrize("users", [3, 20, 60])
def test_the_interactive_response_time_law(users: int) -> None:
    """N = X (R + Z): Denning and Buzen, "The operational analysis of queueing network models", ACM Computing Surveys, 1978."""
    think_ps, end_ps = 100_000.0, 200_000_000
    made = pool(think_ps)
    made.set_users(users, 0)
    made.advance(end_ps)
    ended = made.take_ended()
    rate, response = len(ended) / end_ps, (ended.done_ps - ended.arrival_ps).mean()
    assert rate * (response + think_ps) == pytest.approx(users, rel=4 / np.sqrt(len(ended)))


def test_the_next_request_comes_when_the_user_has_thought() -> None:
    """Of one user, to the picosecond."""
    made = pool(100_000.0)
    made.set_users(1, 500)
    made.advance(20_000_000)
    ended = made.take_ended()
    thinks = asking(100_000.0)(0, len(ended)).think_ps
    assert thinks is not None
    assert len(ended) > 50
    assert ended.arrival_ps.tolist() == [500, *(ended.done_ps + thinks)[:-1].tolist()]


def test_more_users_come_at_once_and_fewer_stop_as_they_are_done() -> None:
    made = pool()
    made.set_users(30, 0)
    assert there(made, 100_000) == 30
    made.set_users(50, 100_000)
    assert there(made, 100_001) == 50
    made.set_users(10, 200_000)
    assert there(made, 200_001) == 50, "nobody breaks off"
    done = len(made.take_ended())
    made.advance(220_000)
    assert there(made, 220_000) == max(10, 50 - len(made.take_ended())) < 50
    assert there(made, 2_000_000) == 10
    made.set_users(10, 2_000_000)
    assert there(made, 2_000_001) == 10
    made.set_users(0, 2_000_001)
    made.advance(10_000_000)
    done += len(made.take_ended())
    assert there(made, 10_000_000) == 0
    assert made.next_ps() == NEVER_PS
    assert done < made.asked


def test_who_would_stop_goes_on_where_there_are_to_be_more_again() -> None:
    made = pool()
    made.set_users(30, 0)
    made.set_users(0, 1000)
    made.set_users(30, 1001)
    assert {there(made, at_ps) for at_ps in range(2000, 500_000, 9_001)} == {30}


@pytest.mark.parametrize(
    ("change", "how", "pause_ps"),
    [
        (lambda made: None, How.REJECTED, 0),  # there is no replica
        (lambda made: made.open(0), How.TIMED_OUT, 70),  # each gives up before its first step is over
    ],
)
def test_who_gets_no_answer_asks_again_later(change: Callable[[Pool], object], how: How, pause_ps: int) -> None:
    """``retry_after_ps`` after the end, so that nobody asks for ever at one instant."""
    made = pool(replicas=0, retries=0, retry_after_ps=5000, first_token_limit_ps=70)
    change(made)
    made.set_users(1, 0)
    made.advance(100_000)
    ended = made.take_ended()
    assert set(ended.how.tolist()) == {how}
    gaps = np.diff(ended.arrival_ps)
    assert len(gaps) > 10
    assert np.all(gaps == 5000 + (ended.done_ps - ended.arrival_ps)[:-1])
    assert (ended.done_ps - ended.arrival_ps).min() >= pause_ps


def test_requests_of_others_come_between() -> None:
    """They are no user's: nobody asks after them."""
    made = pool()
    made.set_users(12, 0)
    made.give(PoolRequests.of(np.array([59_000, 60_000]), np.array([10, 10]), np.array([30, 30]), first=10**6))
    assert there(made, 60_001) == 14
    assert there(made, 1_000_000) == 12
    ended: EndedRequests = made.take_ended()
    assert (ended.number >= 10**6).sum() == 2
    assert len(ended) == made.asked + 2 - 12
