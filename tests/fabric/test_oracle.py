"""Max-min rates against an oracle that shares nothing with the solver: a sequence of linear programs (scipy's HiGHS)."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csc_array, hstack, vstack

from emulator.fabric.maxmin import max_min_rates


def solve(rows: list[list[tuple[int, float]]], caps: list[float], capacity: list[float]) -> NDArray[np.float64]:
    start = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    link = np.array([link for row in rows for link, _ in row], dtype=np.int64)
    weight = np.array([weight for row in rows for _, weight in row], dtype=np.float64)
    return max_min_rates(np.arange(len(rows)), start, link, weight, cap=np.array(caps, float), capacity=np.array(capacity, float))


def lexicographic(rows: list[list[tuple[int, float]]], caps: list[float], capacities: list[float]) -> NDArray[np.float64]:
    """Lexicographic max-min by definition: raise the floor t of the free flows as far as it goes; a flow that cannot be above t while the
    others stay at t or more is fixed; again for the rest.

    Which flows are blocked is read off the duals: at an optimum the prices of the floors x_i >= t sum to 1, and a flow with a price
    above 0 is at t in every optimum (complementary slackness). All that share a link with a price are blocked at once.
    Every program is in units of its own, so that the solver's absolute tolerances are relative ones: rates over the least that a link or
    a cap alone would allow, links over the weight that is free on them.
    """
    rates, capacity = np.array(caps, float), np.array(capacities, float)
    linked = np.array([i for i, row in enumerate(rows) if row], dtype=int)  # the others run at their cap
    most = rates[linked]
    use = np.zeros((len(capacity), len(linked)))
    for at, i in enumerate(linked):
        for link, weight in rows[i]:
            use[link, at] += weight
    rate, fixed = np.zeros(len(linked)), np.zeros(len(linked), dtype=bool)
    while not fixed.all():
        free = np.flatnonzero(~fixed)
        left = np.maximum(capacity - use[:, fixed] @ rate[fixed], 0.0)
        crossed = np.flatnonzero(use[:, free].any(axis=1))
        fluid = left[crossed] / use[np.ix_(crossed, free)].sum(axis=1)  # the floor that each link alone would allow
        unit = min(fluid.min(), most[free].min())
        if unit == 0.0:
            blocked = (most[free] == 0.0) | (use[np.ix_(crossed[fluid == 0.0], free)] > 0.0).any(axis=0)
            fixed[free[blocked]] = True
            continue
        share = use[np.ix_(crossed, free)] / use[np.ix_(crossed, free)].sum(axis=1)[:, None]
        links = hstack((csc_array(share), csc_array((len(crossed), 1))))
        floors = hstack((-csc_array(np.eye(len(free))), csc_array(np.ones((len(free), 1)))))
        found = linprog(
            [0.0] * len(free) + [-1.0],
            A_ub=vstack((links, floors)),
            b_ub=np.concatenate((np.minimum(fluid / unit, 1e6), np.zeros(len(free)))),
            bounds=[(0.0, min(cap / unit, 1e6)) for cap in most[free]] + [(0.0, None)],
            method="highs-ds",
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        assert found.success, found.message
        level = -found.fun
        prices = -found.ineqlin.marginals[len(crossed) :]
        blocked = prices > 1e-7
        assert blocked.any()
        rate[free[blocked]], fixed[free[blocked]] = level * unit, True
    rates[linked] = rate
    return rates


@st.composite
def networks(draw: st.DrawFn, flows: int = 14, links: int = 9) -> tuple[list[list[tuple[int, float]]], list[float], list[float]]:
    """Weights, caps and capacities over six magnitudes, also zero and infinite, links twice in a row, rows without links."""
    count, size = draw(st.integers(1, flows)), draw(st.integers(1, links))
    number = st.builds(lambda mantissa, exponent: mantissa * 10.0**exponent, st.integers(1, 40), st.integers(-3, 3))
    plain = st.integers(1, 4).map(float)  # so that there are ties
    capacity = draw(st.lists(st.one_of(number, plain, st.just(0.0)), min_size=size, max_size=size))
    row = st.lists(st.tuples(st.integers(0, size - 1), number | plain), max_size=5)
    rows = draw(st.lists(row, min_size=count, max_size=count))
    caps = draw(st.lists(st.one_of(number, plain, st.just(np.inf), st.just(0.0)), min_size=count, max_size=count))
    return rows, caps, capacity


@given(networks())
@example(([[(0, 1.0)], [(0, 1.0), (0, 1.0)], []], [np.inf, np.inf, np.inf], [3.0]))
@settings(max_examples=120, deadline=None)
def test_agrees_with_linear_programming(network: tuple[list[list[tuple[int, float]]], list[float], list[float]]) -> None:
    np.testing.assert_allclose(solve(*network), lexicographic(*network), rtol=1e-6, atol=0.0)
