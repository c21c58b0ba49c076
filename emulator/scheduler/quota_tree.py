"""Quota of one kind of GPU in a tree: queues are its leaves, cohorts stand above them. Amounts are milli-GPUs, as integers.

The arithmetic is Kueue's (kubernetes-sigs/kueue, pkg/cache/scheduler/resource_node.go, whose names are in brackets below; KEP-79 has the
tree, KEP-1224 the lending limit). A node's *subtree quota* is its own nominal quota and what the nodes below lend it. A node keeps what its
lending limit does not let out (``local``), and uses that first; what it uses beyond counts as usage of its parent. So the usage of every
node follows from that of the queues, whatever the order in which jobs came and went: what was taken and given back leaves no trace.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: No cohort above.
ROOT = -1


@dataclass(frozen=True)
class Quota:
    """What a queue, or a cohort, has of one kind of GPU, in milli-GPUs.

    A queue's ``nominal`` quota is its own, a cohort's is shared by all below it. ``borrowing_limit``: how much more than its subtree quota
    a node may use; ``lending_limit``: how much of that others may use; None: no limit. Neither matters where there is no cohort above.
    """

    nominal: int = 0
    borrowing_limit: int | None = None
    lending_limit: int | None = None


#: A cohort that is not named for a kind of GPU adds none and limits nothing.
NO_QUOTA = Quota()


class QuotaTree:
    """The quotas and the usage of one kind of GPU. Nodes are numbered; ``parents`` has the cohort above each, or ROOT.

    Raises ValueError where the nodes stand in a circle.
    """

    def __init__(self, parents: Sequence[int], quotas: Sequence[Quota]) -> None:
        count = len(parents)
        self.parents, self.quotas = list(parents), list(quotas)
        self._children: list[list[int]] = [[] for _ in range(count)]
        for node, parent in enumerate(parents):
            if parent != ROOT:
                self._children[parent].append(node)
        order = [node for node in range(count) if parents[node] == ROOT]  # parents first
        for node in order:
            order += self._children[node]
        if len(order) < count:
            raise ValueError(f"nodes {sorted(set(range(count)) - set(order))} stand in a circle, or below one")
        #: Own and lent by the nodes below [SubtreeQuota].
        self.subtree = [quota.nominal for quota in quotas]
        #: Of that, what no other may use [localQuota].
        self.local = [0] * count
        #: What counts against the subtree quota [Usage].
        self.usage = [0] * count
        for node in reversed(order):
            lending_limit = quotas[node].lending_limit
            if lending_limit is not None:
                self.local[node] = max(0, self.subtree[node] - lending_limit)
            if parents[node] != ROOT:
                self.subtree[parents[node]] += self.subtree[node] - self.local[node]

    def add(self, queue: int, milli_gpus: int) -> None:
        """The queue uses so much more; less, where that is negative [addUsage, removeUsage]."""
        node, more = queue, milli_gpus
        while node != ROOT and more:
            before, local = self.usage[node], self.local[node]
            self.usage[node] = after = before + more
            more = (after - local if after > local else 0) - (before - local if before > local else 0)
            node = self.parents[node]

    def available(self, node: int) -> int:
        """How much more can be used at ``node`` [available]. Negative where more is used than there is."""
        return self._available(node)[0]

    def bound(self, node: int) -> int:
        """What sets ``available``: the node whose borrowing limit does, or the root, all of whose quota is used by then."""
        return self._available(node)[1]

    def _available(self, node: int) -> tuple[int, int]:
        """The least that a node on the way up leaves over, and that node; the highest one of equal ones."""
        kept = 0  # of the nodes so far, beside what comes from above
        least, least_at = -1, ROOT
        while True:
            subtree, local, usage = self.subtree[node], self.local[node], self.usage[node]
            parent = self.parents[node]
            if parent == ROOT:
                left = kept + subtree - usage
                return (left, node) if least_at == ROOT or left <= least else (least, least_at)
            kept += max(0, local - usage)
            borrowing_limit = self.quotas[node].borrowing_limit
            if borrowing_limit is not None:
                left = kept + subtree - local - max(0, usage - local) + borrowing_limit
                if least_at == ROOT or left <= least:
                    least, least_at = left, node
            node = parent

    def potential(self, node: int) -> int:
        """How much can be used at ``node`` when nobody uses anything [potentialAvailable]."""
        path = [node]
        while self.parents[path[-1]] != ROOT:
            path.append(self.parents[path[-1]])
        most = self.subtree[path.pop()]
        for below in reversed(path):
            most += self.local[below]
            borrowing_limit = self.quotas[below].borrowing_limit
            if borrowing_limit is not None:
                most = min(most, self.subtree[below] + borrowing_limit)
        return most

    def borrowed(self, node: int) -> int:
        """How much of what is used at ``node`` is not from its subtree."""
        return max(0, self.usage[node] - self.subtree[node])

    def lent(self, node: int) -> int:
        """How much of its subtree quota ``node`` neither uses nor could use now, since others have borrowed it.

        Of several nodes that lend from one pool, none is the one whose quota a borrower has (KEP-1224, "Note"); so these figures need not
        add up to what was borrowed.
        """
        return max(0, self.subtree[node] - self.usage[node] - max(0, self.available(node)))

    def within(self, node: int, milli_gpus: int = 0) -> bool:
        """Whether ``node`` would borrow nothing with so much more in use [IsWithinNominalInResources]."""
        return self.usage[node] + milli_gpus <= self.subtree[node]

    def borrowers(self, queue: int, milli_gpus: int) -> Iterator[tuple[int, bool]]:
        """The queues that have borrowed what ``queue`` may ask back for ``milli_gpus`` more, the nearest first.

        With each, whether the asking side keeps within its own quota below the cohort that the two have in common. If so the claim is
        stronger; if not, ``queue`` itself would borrow (Kueue, pkg/scheduler/preemption/classical/hierarchical_preemption.go).
        """
        asked, claim = milli_gpus, self.within(queue, milli_gpus)
        below, node = queue, self.parents[queue]
        more = max(0, asked - max(0, self.local[queue] - self.usage[queue]))
        while node != ROOT:
            for other in self._borrowing_queues(node, below):
                yield other, claim
            claim = claim or self.within(node, more)
            more = max(0, more - max(0, self.local[node] - self.usage[node]))
            below, node = node, self.parents[node]

    def _borrowing_queues(self, cohort: int, without: int) -> Iterator[int]:
        """Below ``cohort``, those on whose way everybody borrows; not below ``without``."""
        for child in self._children[cohort]:
            if child != without and self.usage[child] > self.subtree[child]:
                if self._children[child]:
                    yield from self._borrowing_queues(child, without)
                else:
                    yield child
