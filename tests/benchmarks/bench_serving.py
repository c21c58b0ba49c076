"""Requests that a pool of replicas serves in a second of CPU time, beside loops that go step by step.

Llama 3.1 70B in fp8 on four H100 a replica. Lengths are those of Azure's conversations (its trace has means of 1,155 and 211 tokens; drawn
log-normal here), or 1,024 tokens of prompt and 8,192 of output at most. The load is 70 % of what a replica can do.
"""

import time
from collections.abc import Callable
from functools import cache
from statistics import median
from typing import Any

import numba
import numpy as np
import pytest

from emulator.power.clocks import FULL
from emulator.racks.pool import Pool
from emulator.racks.pool_layout import NEVER_PS
from emulator.racks.pool_records import EndedRequests, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.racks.step_tables import StepTables
from emulator.workload.serving.costs import PS, ReplicaSteps, ServingPlan, kv_room
from emulator.workload.serving.stacks import stack_of
from emulator.workload.training import MODELS
from tests.benchmarks.clocks import in_process_of_its_own
from tests.benchmarks.step_by_step import run_steps
from topology.catalog import GPUS

BUDGET, SEATS, LOAD = 8192, 256, 0.7
TITLE = "Serving: requests per CPU second"
#: Requests for each replica that are given, run and taken at a time: some minutes of emulated time.
WINDOW = 400


@cache
def replica() -> tuple[StepTables, ReplicaLimits]:
    model, gpu, plan = MODELS["llama3.1-70b"], GPUS["H100-SXM5-80GB"], ServingPlan(4)
    stack = stack_of(gpu.name, "fp8", "vllm")
    steps = ReplicaSteps(model, gpu, "fp8", plan, stack, BUDGET)
    return StepTables(steps), ReplicaLimits(BUDGET, SEATS, kv_room(model, gpu, "fp8", plan).blocks)


def lengths(count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    if kind == "1k/8k":
        return rng.integers(819, 1025, count), rng.integers(6553, 8193, count)
    drawn = [rng.lognormal(np.log(mean) - width**2 / 2, width, count) for mean, width in ((1155, 1.0), (211, 0.8))]
    prompt, output = (np.clip(one, 1, most).astype(np.int64) for one, most in zip(drawn, (14_000, 2_000), strict=True))
    return prompt, output


@cache
def most_per_second(kind: str) -> float:
    """What one replica does when there is always work: between its first and last fifth of requests."""
    prompt, output = lengths(5 * WINDOW, kind)
    done = np.sort(serve(PoolRequests.of(np.zeros(5 * WINDOW, np.int64), prompt, output), 1, Router.ROUND_ROBIN)[2][-1].done_ps)
    return 3 * WINDOW / (float(done[4 * WINDOW] - done[WINDOW]) / PS)


def requests_for(replicas: int, each: int, kind: str) -> PoolRequests:
    count = replicas * each
    gaps = np.random.default_rng(2).exponential(1.0 / (LOAD * most_per_second(kind) * replicas), count)
    return PoolRequests.of(np.cumsum(gaps * PS).astype(np.int64), *lengths(count, kind))


def part(requests: PoolRequests, first: int, last: int) -> PoolRequests:
    arrival, prompt, output = (one[first:last] for one in (requests.arrival_ps, requests.prompt, requests.output))
    return PoolRequests.of(arrival, prompt, output, first=first)


def serve(requests: PoolRequests, replicas: int, router: Router) -> tuple[float, float, list[EndedRequests]]:
    """CPU seconds in all, with giving the requests and taking them, those of the loop alone, and the requests that ended."""
    pool = Pool(*replica(), PoolSettings(router))
    for _ in range(replicas):
        pool.open(0)
    count = len(requests.number)
    size = count if requests.arrival_ps[-1] == 0 else replicas * WINDOW
    windows = [part(requests, first, first + size) for first in range(0, count, size)]
    ended, alone, begun = [], 0.0, time.process_time()
    for at, window in enumerate(windows):
        pool.give(window)
        asked = time.process_time()
        pool.advance(NEVER_PS if at + 1 == len(windows) else int(window.arrival_ps[-1]))
        alone += time.process_time() - asked
        ended.append(pool.take_ended())
    return time.process_time() - begun, alone, ended


@pytest.mark.parametrize(("replicas", "each"), [(100, 1600), (2000, 800)])
def test_a_pool_bare_and_routed(replicas: int, each: int, row: Callable[..., None]) -> None:
    requests = requests_for(replicas, each, "azure")
    for router in (Router.ROUND_ROBIN, Router.LEAST_OUTSTANDING, Router.POWER_OF_TWO):
        rate = median(len(requests.number) / serve(requests, replicas, router)[0] for _ in range(3))
        row(TITLE, replicas=replicas, lengths="azure", router=router.name.lower(), requests_per_second=round(rate))
        assert rate > (1_000_000 if router == Router.ROUND_ROBIN else 500_000)


def arguments(requests: PoolRequests, convert: Callable[[np.ndarray], Any]) -> list[Any]:
    """Those of ``run_steps``, for one replica."""
    steps, limits = replica()
    costs = steps.costs(FULL)
    count = len(requests.number)
    numbers = [np.array((costs.base_ps, costs.running_ps, costs.kv_ps, costs.attention_ps)), costs.table_ps]
    limit = np.array((limits.tokens, limits.seats, limits.blocks))
    columns = [requests.arrival_ps, requests.prompt, requests.output, *(np.zeros(count, np.int64) for _ in range(3))]
    rooms = [np.zeros(size, np.int64) for size in (*[limits.seats] * 4, count)]
    return [convert(one) for one in (*numbers, limit, *columns, *rooms)]


@pytest.mark.parametrize(("kind", "each", "least", "least_python"), [("azure", 20_000, 5, 300), ("1k/8k", 400, 50, 300)])
def test_beside_step_by_step(kind: str, each: int, least: float, least_python: float, row: Callable[..., None]) -> None:
    """The same requests on one replica, with the same results; the loops alone."""
    requests = requests_for(1, each, kind)
    compiled = numba.njit(numba.void(*[numba.int64[::1]] * 14), error_model="numpy")(run_steps)
    few = part(requests, 0, max(each // 20, 40))
    spent: dict[str, list[float]] = {"ours": [], "compiled": [], "python": []}
    for _ in range(5):
        _, alone, ended = serve(requests, 1, Router.ROUND_ROBIN)
        spent["ours"].append(alone / each)
        for name, run, some, convert in (
            ("compiled", compiled, requests, np.ascontiguousarray),
            ("python", run_steps, few, np.ndarray.tolist),
        ):
            given = arguments(some, convert)
            begun = time.process_time()
            run(*given)
            spent[name].append((time.process_time() - begun) / len(some.number))
            if name == "compiled":
                for window in ended:
                    assert np.array_equal(given[8][window.number], window.done_ps)
    rates = {name: 1.0 / median(found) for name, found in spent.items()}
    for name, rate in rates.items():
        row(
            TITLE + ", loop alone, one replica", lengths=kind, loop=name, requests_per_second=round(rate), ours_over_it=rates["ours"] / rate
        )
    assert rates["ours"] > least * rates["compiled"]
    assert rates["ours"] > least_python * rates["python"]


def whole_run(*overrides: str) -> dict[str, Any]:
    """A scenario that is heavy with requests, in a process of its own."""
    return in_process_of_its_own("cost_of_serving", "tests/benchmarks/requests.yaml", *overrides)


def test_two_actors_share_the_requests(row: Callable[..., None]) -> None:
    """By wall time, each round one after the other; the digest is the same, and one actor costs little more than none."""
    rounds = [{actors: whole_run(f"runtime.actors={actors}") for actors in ("inline", "1", "2")} for _ in range(5)]
    assert len({one["digest"] for made in rounds for one in made.values()}) == 1
    faster = [made["1"]["wall_seconds"] / made["2"]["wall_seconds"] for made in rounds]
    dearer = [made["1"]["wall_seconds"] / made["inline"]["wall_seconds"] for made in rounds]
    requests, cpu = rounds[0]["inline"]["requests"], median(made["inline"]["cpu_seconds"] for made in rounds)
    row(
        TITLE + ", whole emulation of 4.3 million",
        per_cpu_second=requests / cpu,
        two_actors_faster=median(faster),
        one_actor=median(dearer),
    )
    assert requests / cpu >= 300_000
    assert median(dearer) <= 1.15
    assert median(faster) >= 1.7


def test_memory_is_flat_over_a_week(row: Callable[..., None]) -> None:
    """Peaks of a day and of a week of two replicas: what is kept follows replicas and limits, not requests."""
    few = ("services.0.replicas=2", "services.0.requests.per_second=4", "serving.keep_requests=10000", "runtime.actors=inline")
    day, week = (whole_run(*few, f"clock.until={until}")["peak_bytes"] for until in ("1d", "7d"))
    row("Serving: memory, peak of a week of two replicas", mib=week / 2**20, over_a_day=week / day)
    assert week <= 1.1 * day  # the samples of the timeline
