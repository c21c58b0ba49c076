"""The worked examples of the papers and manuals that policies come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.draws.exact import exp2
from emulator.scheduler.policies.drf import dominant_shares
from emulator.scheduler.policies.fair_share import effective_usage, factors
from emulator.scheduler.policies.tiresias import gittins_index
from tests.scheduler.drive import make_cluster, make_scheduler, plan_at, submit
from tests.scheduler.oracle import Job


def test_drf_of_two_users() -> None:
    """Ghodsi et al., NSDI 2011, section 4.1 and table 1: 9 CPUs and 18 GB; A's tasks take <1, 4>, B's <3, 1>. They start as B, A, A, B, A:
    A has three tasks and 12 of 18 GB, B two and 6 of 9 CPUs."""
    capacity = np.array([9, 18])
    tenant = np.array([1, 0] * 5)  # B comes first, of equal shares
    demand = np.array([[3, 1], [1, 4]] * 5)
    shares = dominant_shares(tenant, demand, np.zeros((2, 2), dtype=np.int64), capacity, np.ones(2))
    started, left = [], capacity.copy()
    for job in np.argsort(shares, kind="stable").tolist():
        if (demand[job] > left).any():
            break
        left -= demand[job]
        started.append("AB"[tenant[job]])
    assert started == ["B", "A", "A", "B", "A"]
    assert left.tolist() == [0, 4]


def test_weighted_drf_holds_shares_in_proportion() -> None:
    """Section 4.3: with weights, dominant shares grow in proportion to them."""
    tenant, demand = np.array([0] * 20 + [1] * 20), np.ones((40, 1), dtype=np.int64)
    shares = dominant_shares(tenant, demand, np.zeros((2, 1), dtype=np.int64), np.array([20]), np.array([3.0, 1.0]))
    first = np.argsort(shares, kind="stable")[:20]
    assert np.bincount(tenant[first]).tolist() == [15, 5]


def test_fair_share_of_five_users() -> None:
    """Slurm, "Classic Fairshare Algorithm", Example: accounts A (40 shares: B 30, C 10) and D (60: E 25, F 35); user 1 is in B, 2 and 3 in
    C, 4 in E, 5 in F; 1, 2 and 4 have used 0.2, 0.25 and 0.25 of the machine."""
    one = np.array([1.0])
    account = {"A": 0.45, "D": 0.25}
    for name, parent, actual, share, siblings, expected in (
        ("B", "A", 0.2, 30, 40, 0.3875),
        ("C", "A", 0.25, 10, 40, 0.3),
        ("E", "D", 0.25, 25, 60, 0.25),
        ("F", "D", 0.0, 35, 60, 0.1458),
    ):
        account[name] = float(effective_usage(one * actual, one * account[parent], one * share, one * siblings)[0])
        assert account[name] == pytest.approx(expected, abs=5e-5)
    for parent, actual, share, siblings, normalized, effective, factor in (
        ("B", 0.2, 1, 1, 0.3, 0.3875, 0.408479),
        ("C", 0.25, 1, 2, 0.05, 0.275, 0.022097),
        ("C", 0.0, 1, 2, 0.05, 0.15, 0.125),
        ("E", 0.25, 1, 1, 0.25, 0.25, 0.5),
        ("F", 0.0, 1, 1, 0.35, 0.1458, 0.749154),
    ):
        usage = effective_usage(one * actual, one * account[parent], one * share, one * siblings)
        assert usage[0] == pytest.approx(effective, abs=5e-5)
        assert float(exp2(-usage / normalized)[0]) == pytest.approx(factor, abs=2e-4)  # the manual has 0.1458 rounded


def test_fair_share_of_two_tiers() -> None:
    """Accounts B, C with 30 and 10 shares, as in the example without the others: users 2 and 3 share C, and 3 pays for what 2 has used."""
    found = factors(np.array([0.2, 0.25, 0.0]), np.array([0, 1, 1]), np.array([30.0, 10.0]), np.ones(3))
    usage = {"B": 0.2 / 0.45, "C": 0.25 / 0.45}
    expected = [
        2 ** -(usage["B"] / 0.75),
        2 ** -((usage["C"] + (usage["C"] - usage["C"]) / 2) / 0.125),
        2 ** -((0.0 + usage["C"] / 2) / 0.125),
    ]
    assert found == pytest.approx(expected)


def test_who_has_used_exactly_its_share_has_half() -> None:
    """Slurm, "Simplified Fair-Share Formula": 0.5 says that exactly the share was used."""
    assert factors(np.array([3.0, 1.0]), np.array([0, 1]), np.array([3.0, 1.0]), np.ones(2)) == pytest.approx([0.5, 0.5])
    assert factors(np.zeros(2), np.array([0, 0]), np.ones(1), np.ones(2)) == pytest.approx([1.0, 1.0])


def plain_gittins(services: list[float], attained: float) -> float:
    left = [service - attained for service in services if service > attained]
    return max((sum(x <= d for x in left) / sum(min(x, d) for x in left) for d in left), default=0.0)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.lists(st.integers(0, 60), min_size=1, max_size=6))
def test_gittins_index_is_its_definition(services: list[int], attained: list[int]) -> None:
    """G(a) = sup over d of P(S - a <= d | S > a) / E[min(S - a, d) | S > a] (Gu et al., NSDI 2019, section 3.3)."""
    found = gittins_index(np.sort(np.array(services, dtype=np.float64)), np.array(attained, dtype=np.float64))
    assert found == pytest.approx([plain_gittins([float(s) for s in services], float(a)) for a in attained])


def test_gittins_index_of_three_equally_likely_services() -> None:
    """Services of 4, 8 and 12, as in the example of Gu et al. (NSDI 2019, section 3): fresh jobs are best bet on to the end (3 jobs in 24);
    one that has had 4 on to 12 (2 in 4 + 8), and one that has had 8 on to its certain end in 4."""
    assert gittins_index(np.array([4.0, 8.0, 12.0]), np.array([0.0, 4.0, 8.0, 12.0])) == pytest.approx([3 / 24, 2 / 12, 1 / 4, 0.0])


def test_las_shares_one_machine_in_turns() -> None:
    """Foreground-background: a fresh job runs at once, and jobs that have had the same take turns a quantum each."""
    scheduler = make_scheduler(make_cluster("hgx"), 60, policy="las")
    most = make_cluster("hgx").gpu_count
    submit(scheduler, Job(0, 0, most, 10**5))
    assert plan_at(scheduler, 0)[:2] == ([0], [])
    submit(scheduler, Job(1, 600, most, 10**5))
    assert plan_at(scheduler, 600) == ([], [], 1800.0), "both are in their first quantum, and 0 came first"
    assert plan_at(scheduler, 1800)[:2] == ([1], [0]), "0 has had a quantum"
