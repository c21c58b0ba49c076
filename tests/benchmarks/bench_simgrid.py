"""A whole max-min solve against SimGrid's solver on the same flows, in turn in the same run."""

from collections.abc import Callable
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from emulator.fabric.maxmin import max_min_rates
from tests.benchmarks import simgrid
from tests.benchmarks.clocks import cpu_seconds
from tests.benchmarks.fat_tree import Traffic, fat_tree

Solver = Callable[[Traffic, float], simgrid.Solution]
TITLE = "Max-min against SimGrid: CPU time of one solve"
CAPACITY = 50e9
ROUNDS = 3


@pytest.fixture(scope="module")
def simgrid_of(tmp_path_factory: pytest.TempPathFactory) -> Solver:
    return simgrid.built(tmp_path_factory.mktemp("simgrid"))


@pytest.mark.parametrize(
    ("arity", "flows", "least"),
    [((8, 8, 16), 10_000, 2.0), ((8, 8, 16), 100_000, 2.0), ((16, 16, 16), 100_000, 4.0), ((16, 32, 32), 32_768, 2.0)],
)
def test_against_simgrid(simgrid_of: Solver, arity: tuple[int, int, int], flows: int, least: float, row: Callable[..., None]) -> None:
    """Random permutations on a fat tree of full bisection, D-mod-K. Ours is the whole of ``max_min_rates``, from entries to rates;
    SimGrid's is ``System::solve()`` alone, after its constraints, variables and elements have been built."""
    traffic = fat_tree(arity, flows, seed=1)
    flow, weight, cap = np.arange(flows), np.ones(len(traffic.link)), np.full(flows, np.inf)
    capacity = np.full(traffic.links, CAPACITY)

    def solve() -> NDArray[np.float64]:
        return max_min_rates(flow, traffic.start, traffic.link, weight, cap=cap, capacity=capacity)

    ours = solve()
    measured = []
    for _ in range(ROUNDS):
        theirs = simgrid_of(traffic, CAPACITY)
        np.testing.assert_allclose(ours, theirs.rates, rtol=1e-3)
        measured.append((cpu_seconds(solve), theirs.cpu_seconds))
    spent, other = (median(column) for column in zip(*measured, strict=True))
    hosts = int(np.prod(arity))
    apart = float(np.abs(ours / theirs.rates - 1).max())
    row(TITLE, hosts=f"{hosts:,}", flows=f"{flows:,}", ms=spent * 1e3, simgrid_ms=other * 1e3, ratio=other / spent, rates_apart=apart)
    assert other >= least * spent
