"""Quotas: Kueue's worked examples, and random trees against the plain definition of KEP-79.

Sources: the pages "Cluster Queue" and "Cohort" of Kueue's documentation, KEP-79 (hierarchical cohorts) and KEP-1224 (lending limit).
"""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.quota import Flavor, Holder, Quotas
from emulator.scheduler.quota_tree import ROOT, Quota, QuotaTree

ALL: Flavor = (0,)


def flat(*quotas: Quota) -> QuotaTree:
    """Queues below one cohort that has nothing itself."""
    return QuotaTree([len(quotas)] * len(quotas) + [ROOT], [*quotas, Quota()])


# -- the plain definition -----------------------------------------------------------------------------------------------------------


def balance(tree: QuotaTree, used: Sequence[int], node: int) -> int:
    """KEP-79, "Design Details", T(x, r): what the subtree of ``node`` has left; what it borrows, where that is negative."""
    total = tree.quotas[node].nominal - used[node]
    for child, parent in enumerate(tree.parents):
        if parent == node:
            left, lending_limit = balance(tree, used, child), tree.quotas[child].lending_limit
            total += left if lending_limit is None else min(left, lending_limit)
    return total


def is_correct(tree: QuotaTree, used: Sequence[int]) -> bool:
    """KEP-79: "a new workload can be admitted to a ClusterQueue if and only if, after admission, T(x, r) >= -borrowingLimit(x, r)" for all
    x; nobody is above the root to borrow from.
    """
    for node, parent in enumerate(tree.parents):
        limit = 0 if parent == ROOT else tree.quotas[node].borrowing_limit
        if limit is not None and balance(tree, used, node) < -limit:
            return False
    return True


def most_more(tree: QuotaTree, used: Sequence[int], queue: int) -> int:
    """How much more ``queue`` can use, found by trying."""

    def fits(more: int) -> bool:
        return is_correct(tree, [amount + (more if node == queue else 0) for node, amount in enumerate(used)])

    return next(more for more in range(10_000) if not fits(more + 1))


AMOUNT = st.integers(0, 12)
QUOTA = st.builds(Quota, AMOUNT, st.none() | AMOUNT, st.none() | AMOUNT)


@st.composite
def trees(draw: st.DrawFn) -> tuple[QuotaTree, int]:
    """A forest of up to 4 cohorts and up to 5 queues, which come first; and how many queues there are."""
    queues, cohorts = draw(st.integers(1, 5)), draw(st.integers(0, 4))
    above = [draw(st.sampled_from([ROOT, *range(queues, queues + cohorts)])) for _ in range(queues)]
    above += [draw(st.sampled_from([ROOT, *range(queues, queues + number)])) for number in range(cohorts)]
    return QuotaTree(above, [draw(QUOTA) for _ in above]), queues


@settings(max_examples=150, deadline=None)
@given(trees(), st.data())
def test_what_is_available_is_what_the_definition_leaves(given_tree: tuple[QuotaTree, int], data: st.DataObject) -> None:
    tree, queues = given_tree
    used = [0] * len(tree.parents)
    jobs: list[tuple[int, int]] = []
    for queue in range(queues):
        assert tree.potential(queue) == most_more(tree, used, queue)
    for _ in range(data.draw(st.integers(1, 8))):
        queue, wanted = data.draw(st.integers(0, queues - 1)), data.draw(st.integers(1, 9))
        assert tree.available(queue) == most_more(tree, used, queue)
        if wanted <= tree.available(queue):
            tree.add(queue, wanted)
            used[queue] += wanted
            jobs.append((queue, wanted))
        elif jobs:
            queue, wanted = jobs.pop(data.draw(st.integers(0, len(jobs) - 1)))
            tree.add(queue, -wanted)
            used[queue] -= wanted
        assert is_correct(tree, used), "no quota is exceeded"
        assert tree.usage[:queues] == used[:queues]
        for node in range(len(tree.parents)):
            if tree.local[node] == 0:
                assert balance(tree, used, node) == tree.subtree[node] - tree.usage[node]
    for queue, wanted in jobs:
        tree.add(queue, -wanted)
    assert tree.usage == [0] * len(tree.parents), "what is given back leaves no trace"


@settings(max_examples=150, deadline=None)
@given(trees(), st.data())
def test_lending_and_borrowing_balance(given_tree: tuple[QuotaTree, int], data: st.DataObject) -> None:
    """A queue lends at most what it leaves unused, and there is somebody to ask it back from. Where nobody borrows, nothing is lent."""
    tree, queues = given_tree
    for _ in range(data.draw(st.integers(1, 8))):
        queue = data.draw(st.integers(0, queues - 1))
        if (left := tree.available(queue)) > 0:
            tree.add(queue, data.draw(st.integers(1, left)))
    borrowed = [tree.borrowed(queue) for queue in range(queues)]
    for queue in range(queues):
        assert 0 <= tree.lent(queue) <= max(0, tree.quotas[queue].nominal - tree.usage[queue])
        if tree.lent(queue):
            found = [other for other, claim in tree.borrowers(queue, tree.lent(queue) + tree.available(queue)) if claim]
            assert found
            assert queue not in found
            assert all(borrowed[other] for other in found)
    if not any(borrowed):
        assert not any(tree.lent(queue) for queue in range(queues))


# -- Kueue's examples ---------------------------------------------------------------------------------------------------------------


def test_borrowing_example_of_cluster_queue() -> None:
    """The section "Borrowing example": team-a has 9 and team-b 12 CPUs; team-a can use 12 + 9 = 21 while team-b runs nothing."""
    tree = flat(Quota(9), Quota(12))
    assert tree.available(0) == tree.potential(0) == 12 + 9
    tree.add(0, 21)
    assert (tree.borrowed(0), tree.lent(1), tree.available(1)) == (12, 12, 0)
    assert list(tree.borrowers(1, 12)) == [(0, True)], "team-b may ask back up to its own 12"
    assert list(tree.borrowers(1, 13)) == [(0, False)], "for more it would borrow itself"


def test_borrowing_limit_example_of_cluster_queue() -> None:
    """The section "BorrowingLimit": with a limit of 1, team-a can use 9 + 1 = 10; team-b without one 12 + 9."""
    tree = flat(Quota(9, borrowing_limit=1), Quota(12))
    assert tree.available(0) == 9 + 1
    assert tree.available(1) == 12 + 9
    tree.add(0, 10)
    assert (tree.available(0), tree.bound(0), tree.borrowed(0), tree.lent(1)) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("b", "c", "limit", "most"),
    [
        (Quota(10, lending_limit=4), None, None, 4),
        (Quota(10, lending_limit=4), None, 3, 3),
        (Quota(10, lending_limit=4), Quota(5), None, 4 + 5),
        (Quota(10, lending_limit=4), Quota(5), 7, 7),
        (Quota(10, lending_limit=4), Quota(5, lending_limit=2), None, 4 + 2),
        (Quota(10, lending_limit=4), Quota(5, lending_limit=2), 5, 5),
    ],
)
def test_lending_limits_of_kep_1224(b: Quota, c: Quota | None, limit: int | None, most: int) -> None:
    """KEP-1224, "Integration tests": cq-a can borrow min(what cq-b and cq-c lend, its own limit)."""
    tree = flat(Quota(6, borrowing_limit=limit), b, *([] if c is None else [c]))
    assert tree.available(0) == 6 + most
    tree.add(0, 6 + most)
    assert tree.available(1) >= 10 - 4, "what is not to be lent is always there"


def test_a_cohort_has_a_pool_of_its_own() -> None:
    """The page "Cohort", "Configuring Quotas": 12 CPUs of the cohort, and a queue with a nominal quota of 0 that may use them."""
    tree = QuotaTree([1, ROOT], [Quota(0), Quota(12)])
    assert tree.available(0) == 12
    tree.add(0, 12)
    assert (tree.borrowed(0), tree.borrowed(1), tree.available(0)) == (12, 0, 0)


def two_organisations(research: Quota, production: Quota) -> QuotaTree:
    """Nodes: a queue of each, the cohort of each, the root."""
    return QuotaTree([2, 3, 4, 4, ROOT], [Quota(8), Quota(8), research, production, Quota()])


def test_production_borrows_of_research_and_not_the_other_way_round() -> None:
    """KEP-79, story 1, both ways: research borrows nothing, or production lends nothing."""
    for tree in (two_organisations(Quota(borrowing_limit=0), Quota()), two_organisations(Quota(), Quota(lending_limit=0))):
        assert (tree.available(0), tree.available(1)) == (8, 16)


def test_a_special_queue_borrows_of_organisations_that_keep_apart() -> None:
    """KEP-79, story 2: two organisations with a borrowing limit of 0, and a queue beside them that borrows of both."""
    tree = QuotaTree([3, 4, 5, 5, 5, ROOT], [Quota(8), Quota(8), Quota(0), Quota(borrowing_limit=0), Quota(borrowing_limit=0), Quota()])
    assert [tree.available(queue) for queue in range(3)] == [8, 8, 16]
    tree.add(2, 10)
    assert [tree.available(queue) for queue in range(3)] == [6, 6, 6]
    assert list(tree.borrowers(0, 8)) == [(2, True)]


def test_only_those_that_borrow_are_asked() -> None:
    """Kueue skips subtrees that are within their quota: of the organisation that lends, a queue that borrows inside is left alone."""
    #          0: asks        1, 2: one organisation    3: other one    4, 5, 6: cohorts    7: root
    tree = QuotaTree([4, 5, 5, 6, 7, 7, 7, ROOT], [Quota(4), Quota(4), Quota(4), Quota(0), *[Quota()] * 4])
    tree.add(1, 6)
    tree.add(3, 4)
    assert tree.borrowed(1) == 2
    assert list(tree.borrowers(0, 4)) == [(3, True)]
    assert tree.lent(0) == 2


# -- queues by name, kinds of GPU ---------------------------------------------------------------------------------------------------

K = 1000
H100, B200, BOTH = (0,), (1,), (0, 1)


def two_tenants() -> Quotas:
    queues = [
        Holder("research", "lab", {H100: Quota(2048 * K), BOTH: Quota(2304 * K)}),
        Holder("training", "lab", {H100: Quota(512 * K, borrowing_limit=1024 * K), BOTH: Quota(512 * K)}),
        Holder("b200-only", "lab", {B200: Quota(256 * K)}),
        Holder("free"),
    ]
    return Quotas(queues, [Holder("lab")], ["hgx-h100", "hgx-b200"])


def test_a_shortage_says_who_has_it_lent() -> None:
    quotas = two_tenants()
    quotas.add(0, 0, 1536 * K)
    quotas.add(1, 0, 1024 * K)
    shortage = quotas.shortage(0, 0, 64 * K)
    assert shortage is not None
    assert shortage.text == (
        "quota of queue research: 2,048 of 2,048 hgx-h100 GPUs taken, of which 512 lent to training; needs 64, 0 left in cohort lab"
    )
    assert shortage.numbers["quota_lent_gpus"] == 512
    assert shortage.missing_milli_gpus == 64 * K
    assert quotas.borrowers(0, 0, 64 * K) == {1: True}
    assert not quotas.fits(0, 0, 64 * K)
    assert quotas.within(0, 0, 512 * K)
    assert not quotas.within(0, 0, 513 * K)


def test_a_shortage_says_what_sets_the_limit() -> None:
    quotas = two_tenants()
    quotas.add(1, 0, 1500 * K)
    shortage = quotas.shortage(1, 0, 64 * K)
    assert shortage is not None
    assert shortage.text == (
        "quota of queue training: 1,500 of 512 hgx-h100 GPUs taken, of which 988 borrowed; needs 64, 36 left, "
        "since it may borrow 1,024 at most"
    )
    never = quotas.shortage(1, 0, 4096 * K)
    assert never is not None
    assert never.text.endswith("needs 4,096, 36 left, and never more than 1,536")
    assert not quotas.could_ever_fit(1, 0, 4096 * K)
    assert quotas.could_ever_fit(1, 0, 1536 * K)


def test_a_queue_uses_only_kinds_that_it_has_a_quota_for() -> None:
    """Kueue: "A ClusterQueue can only borrow quota for flavors that the ClusterQueue defines"."""
    quotas = two_tenants()
    shortage = quotas.shortage(2, 0, K)
    assert shortage is not None
    assert shortage.text == "queue b200-only has no quota for hgx-h100 hosts"
    assert not quotas.could_ever_fit(2, 0, K)
    assert quotas.fits(2, 1, 256 * K)
    assert quotas.fits(0, 1, 2304 * K), "the quota for all kinds lets research use B200 too"
    for queue in (3, 17):
        assert quotas.fits(queue, 0, 10**9)
        assert quotas.shortage(queue, 0, 10**9) is None
        assert not list(quotas.standings(queue))


def test_a_job_counts_in_every_flavor_of_its_queue() -> None:
    quotas = two_tenants()
    quotas.add(0, 1, 300 * K)
    quotas.add(0, 0, 500)
    h100, both = quotas.standings(0)
    assert (h100.flavor, h100.used, h100.nominal) == ("hgx-h100", 500, 2048 * K)
    assert (both.flavor, both.used, both.available) == ("*", 300_500, (2304 + 512) * K - 300_500)
    quotas.add(0, 0, -500)
    quotas.add(0, 1, -300 * K)
    assert not any(any(tree.usage) for tree in quotas.trees)


@pytest.mark.parametrize(
    ("queues", "cohorts", "message"),
    [
        ([], [Holder("a", "b"), Holder("b", "c"), Holder("c", "b")], "the cohorts b -> c -> b stand in a circle; allowed: a tree"),
        ([], [Holder("a", "a")], "the cohorts a -> a stand in a circle"),
        ([Holder("q", "lab")], [], "queue q: there is no cohort 'lab'; allowed: none"),
        ([], [Holder("a", "b")], "cohort a: there is no cohort 'b'; allowed: a"),
    ],
)
def test_no_tree(queues: list[Holder], cohorts: list[Holder], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Quotas(queues, cohorts, ["hgx-h100"])
    with pytest.raises(ValueError, match="circle"):
        QuotaTree([1, 0, ROOT], [Quota()] * 3)
