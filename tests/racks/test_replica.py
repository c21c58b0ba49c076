"""A replica against one that goes step by step, and against theory."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.racks import replica_steps as steps
from emulator.racks.replica import DoesNotFit, Replica, ReplicaLimits
from emulator.workload.serving.costs import BLOCK_TOKENS, StepCosts
from tests.racks.plain_replica import PlainReplica, Request

Requests = list[tuple[int, int, int]]


def made(costs: StepCosts, limits: ReplicaLimits, requests: Requests) -> Replica:
    columns = [np.array(column, np.int64) for column in zip(*requests, strict=True)]
    return Replica(costs, limits, *columns)


@st.composite
def workloads(draw: st.DrawFn) -> tuple[StepCosts, ReplicaLimits, Requests]:
    """Few blocks, seats and tokens, so that they run out; arrivals at the ends of steps too, since these are sums of few numbers."""
    tokens = draw(st.sampled_from([1, 3, 16, 40, 200]))
    kv, attention, running = (draw(st.sampled_from([0, 1, 7])) for _ in range(3))
    table = np.cumsum([0] + [draw(st.integers(0, 3)) for _ in range(tokens)]).astype(np.int64)
    costs = StepCosts(draw(st.sampled_from([1, 10, 100])), table, running, kv, attention)
    count = draw(st.integers(1, 12))
    gaps = [draw(st.sampled_from([0, 0, 1, 10, 50, 1000, 20_000])) for _ in range(count)]
    closed = draw(st.booleans())
    at = np.cumsum(gaps).tolist()
    if closed:
        at[draw(st.integers(1, count)) :] = [steps.NEVER_PS] * count
        at = at[:count]
    lengths = [(draw(st.integers(1, 90)), draw(st.integers(1, 70))) for _ in range(count)]
    longest = max(-(-(prompt + output) // BLOCK_TOKENS) for prompt, output in lengths)
    limits = ReplicaLimits(tokens, draw(st.integers(1, 6)), longest + draw(st.integers(0, 12)), reserves=draw(st.booleans()), closed=closed)
    return costs, limits, [(a, *length) for a, length in zip(at, lengths, strict=True)]


def plain(costs: StepCosts, limits: ReplicaLimits, requests: Requests) -> tuple[PlainReplica, list[Request]]:
    made_of = [Request(number, *request) for number, request in enumerate(requests)]
    one = PlainReplica(costs, limits, made_of)
    one.run()
    return one, made_of


@settings(max_examples=400)
@given(workloads(), st.lists(st.integers(0, 200_000), max_size=6), st.booleans())
def test_every_request_is_as_step_by_step(case: tuple[StepCosts, ReplicaLimits, Requests], cuts: list[int], compiled: bool) -> None:
    """To the picosecond, wherever the run is cut, compiled or not."""
    costs, limits, requests = case
    oracle, expected = plain(costs, limits, requests)
    replica = made(costs, limits, requests)
    for until_ps in [*sorted(cuts), steps.NEVER_PS]:
        replica.advance(until_ps, run=None if compiled else steps.run_steps)
    assert replica.first_ps.tolist() == [one.first_ps for one in expected]
    assert replica.done_ps.tolist() == [one.done_ps for one in expected]
    assert replica.counts[[steps.STEPS, steps.PREEMPTIONS]].tolist() == [oracle.steps, oracle.preemptions]
    assert replica.now_ps == oracle.now_ps
    assert replica.counts[steps.OUTPUT_TOKENS] == sum(one.generated for one in expected)


def test_a_request_larger_than_the_memory_is_refused() -> None:
    costs, limits = StepCosts(1, np.zeros(9, np.int64), 0, 0, 0), ReplicaLimits(8, 4, 2)
    with pytest.raises(DoesNotFit, match="a request of 33 tokens; the KV memory holds 32"):
        made(costs, limits, [(0, 30, 3)])
    with pytest.raises(ValueError, match="order of arrival"):
        made(costs, limits, [(5, 1, 1), (0, 1, 1)])
    with pytest.raises(ValueError, match="floor is 0 ps"):
        made(StepCosts(0, costs.table_ps, 0, 0, 0), limits, [(0, 1, 1)])
    with pytest.raises(ValueError, match="without a token"):
        made(costs, limits, [(0, 1, 0)])
