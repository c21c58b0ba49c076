"""Quotas of queues: who may use how many GPUs of which kind, who has borrowed and who has lent (Kueue: "Cluster Queue", "Cohort").

A *flavor* (Kueue's word) is a kind of GPUs that are counted together: those of one host type, of several, or all. Each has its own tree of
queues and cohorts (`emulator.scheduler.quota_tree`). A job counts in every flavor that its queue has a quota for and that its hosts belong
to. A queue that has a quota may use only GPUs for which it has one; a queue without any is not limited.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emulator.scheduler.quota_tree import NO_QUOTA, ROOT, Quota, QuotaTree

#: The numbers of the host types whose GPUs are counted together, rising.
Flavor = tuple[int, ...]

#: What would let a job start that is larger than its queue may ever have.
_LARGER = "never starts without a larger quota or borrowing limit"


@dataclass(frozen=True)
class Holder:
    """A queue or a cohort, the cohort that it belongs to ("": none), and what it has of each flavor."""

    name: str
    cohort: str = ""
    quotas: Mapping[Flavor, Quota] = field(default_factory=dict)


class Shortage(NamedTuple):
    """Why a job is over quota: a sentence, the numbers in it by name (in GPUs), how much is missing, and what would let it start."""

    text: str
    numbers: Mapping[str, float]
    missing_milli_gpus: int
    remedy: str


class Standing(NamedTuple):
    """How one queue stands in one flavor, in milli-GPUs. None: no limit."""

    flavor: str  # the names of its host types, joined by a plus sign; "*": all
    nominal: int
    used: int
    borrowed: int
    lent: int
    available: int
    borrowing_limit: int | None
    lending_limit: int | None


class Quotas:
    """The quotas of all queues, and what is used of them.

    Queues and host types are numbered; a queue's number is its place in ``queues``, and those beyond are not limited. Raises ValueError
    for a cohort that is not there, and for a circle of cohorts.
    """

    def __init__(self, queues: Sequence[Holder], cohorts: Sequence[Holder], host_types: Sequence[str]) -> None:
        self.queues, self._host_types = len(queues), tuple(host_types)
        self.names = tuple(queue.name for queue in queues)
        self._holders = [*queues, *cohorts]
        parents = parents_of(queues, cohorts)
        #: In the order of their host types.
        self.flavors: tuple[Flavor, ...] = tuple(sorted({flavor for holder in self._holders for flavor in holder.quotas}))
        self.trees = tuple(QuotaTree(parents, [holder.quotas.get(flavor, NO_QUOTA) for holder in self._holders]) for flavor in self.flavors)
        #: By queue and host type: the trees in which a job counts; None where the queue has a quota, but none for this type.
        self._counted: list[list[tuple[QuotaTree, ...] | None]] = [
            [self._trees_of(queue, number) for number in range(len(host_types))] for queue in queues
        ]

    def _trees_of(self, queue: Holder, host_type: int) -> tuple[QuotaTree, ...] | None:
        found = tuple(tree for flavor, tree in zip(self.flavors, self.trees, strict=True) if flavor in queue.quotas and host_type in flavor)
        return found if found or not queue.quotas else None

    def counted(self, queue: int, host_type: int) -> tuple[QuotaTree, ...] | None:
        """The trees in which a job of ``queue`` counts that runs on ``host_type``; None where the queue may not use these hosts."""
        return self._counted[queue][host_type] if queue < self.queues else ()

    def limited(self, queue: int) -> bool:
        """Whether the queue has a quota."""
        return queue < self.queues and bool(self._holders[queue].quotas)

    def add(self, queue: int, host_type: int, milli_gpus: int) -> None:
        """A job of ``queue`` starts on ``host_type``; with a negative amount, it stops."""
        for tree in self.counted(queue, host_type) or ():
            tree.add(queue, milli_gpus)

    def fits(self, queue: int, host_type: int, milli_gpus: int) -> bool:
        """Whether a job of ``queue`` keeps to all quotas when it starts on ``host_type`` now."""
        trees = self.counted(queue, host_type)
        return trees is not None and all(tree.available(queue) >= milli_gpus for tree in trees)

    def could_ever_fit(self, queue: int, host_type: int, milli_gpus: int) -> bool:
        """Whether it would when nobody else uses anything."""
        trees = self.counted(queue, host_type)
        return trees is not None and all(tree.potential(queue) >= milli_gpus for tree in trees)

    def within(self, queue: int, host_type: int, milli_gpus: int) -> bool:
        """Whether ``queue`` would borrow nothing with such a job."""
        trees = self.counted(queue, host_type)
        return trees is not None and all(tree.within(queue, milli_gpus) for tree in trees)

    def borrowers(self, queue: int, host_type: int, milli_gpus: int) -> dict[int, bool]:
        """The queues that have borrowed what ``queue`` may ask back for such a job, and whether its claim is the stronger one for all that
        it needs of them (``QuotaTree.borrowers``).
        """
        found: dict[int, bool] = {}
        for tree in self.counted(queue, host_type) or ():
            for other, claim in tree.borrowers(queue, milli_gpus):
                found[other] = found.get(other, True) and claim
        return found

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def shortage(self, queue: int, host_type: int, milli_gpus: int) -> Shortage | None:
        """Why such a job is over quota; None where it is not."""
        name, needed = self._holders[queue].name if queue < self.queues else "", milli_gpus / 1000
        trees = self.counted(queue, host_type)
        if trees is None:
            text = f"queue {name} has no quota for {self._host_types[host_type]} hosts"
            return Shortage(text, {"quota_needed_gpus": needed, "quota_missing_gpus": needed}, milli_gpus, _LARGER)
        tree = min(trees, key=lambda tree: tree.available(queue), default=None)
        if tree is None or (left := tree.available(queue)) >= milli_gpus:
            return None
        nominal, used, lent, borrowed = tree.subtree[queue], tree.usage[queue], tree.lent(queue), tree.borrowed(queue)
        flavor = self.flavors[self.trees.index(tree)]
        kind = "" if len(flavor) == len(self._host_types) else " " + " or ".join(self._host_types[number] for number in flavor)
        taken = f"quota of queue {name}: {gpus(used + lent)} of {gpus(nominal)}{kind} GPUs taken"
        if lent:
            debtors = [self._holders[other].name for other, _ in tree.borrowers(queue, milli_gpus)]
            taken += f", of which {gpus(lent)} lent{' to ' if debtors else ''}{_listed(debtors)}"
        elif borrowed:
            taken += f", of which {gpus(borrowed)} borrowed"
        numbers = {
            "quota_needed_gpus": needed,
            "quota_nominal_gpus": nominal / 1000,
            "quota_used_gpus": used / 1000,
            "quota_lent_gpus": lent / 1000,
            "quota_borrowed_gpus": borrowed / 1000,
            "quota_left_gpus": left / 1000,
            "quota_missing_gpus": (milli_gpus - left) / 1000,
        }
        text = f"{taken}; needs {gpus(milli_gpus)}, {gpus(left)} left{self._because(tree, queue, milli_gpus)}"
        return Shortage(text, numbers, milli_gpus - left, self._remedy(tree, queue, milli_gpus))

    def _because(self, tree: QuotaTree, queue: int, milli_gpus: int) -> str:
        """What keeps the queue from having more."""
        most = tree.potential(queue)
        if most < milli_gpus:
            return f", and never more than {gpus(most)}"
        node = tree.bound(queue)
        borrowing_limit = tree.quotas[node].borrowing_limit
        if tree.parents[node] != ROOT and borrowing_limit is not None:
            who = "it" if node == queue else f"cohort {self._holders[node].name}"
            return f", since {who} may borrow {gpus(borrowing_limit)} at most"
        return "" if node == queue else f" in cohort {self._holders[node].name}"

    def _remedy(self, tree: QuotaTree, queue: int, milli_gpus: int) -> str:
        """What would let such a job start, as the end of a sentence."""
        if tree.potential(queue) < milli_gpus:
            return _LARGER
        node = tree.bound(queue)
        missing = gpus(milli_gpus - tree.available(queue))
        if node == queue:
            return f"has quota when jobs of queue {self.names[queue]} that hold {missing} GPUs end"
        return f"has quota when {missing} GPUs come back to cohort {self._holders[node].name}"

    def cohort(self, queue: int) -> str:
        """The cohort of a queue; "" where it is in none."""
        return self._holders[queue].cohort if queue < self.queues else ""

    def standings(self, queue: int) -> Iterator[Standing]:
        """How the queue stands in each flavor that it has a quota for."""
        if queue >= self.queues:
            return
        holder = self._holders[queue]
        for flavor, tree in zip(self.flavors, self.trees, strict=True):
            if flavor in holder.quotas:
                quota = holder.quotas[flavor]
                yield Standing(
                    "*" if len(flavor) == len(self._host_types) else "+".join(self._host_types[number] for number in flavor),
                    quota.nominal,
                    tree.usage[queue],
                    tree.borrowed(queue),
                    tree.lent(queue),
                    tree.available(queue),
                    quota.borrowing_limit,
                    quota.lending_limit,
                )


def parents_of(queues: Sequence[Holder], cohorts: Sequence[Holder]) -> list[int]:
    """The number of the cohort above each queue, then each cohort. Raises ValueError for one that is not there, and for a circle."""
    above = check_cohorts({cohort.name: cohort.cohort for cohort in cohorts})
    place = {name: len(queues) + number for number, name in enumerate(above)}
    for queue in queues:
        if queue.cohort and queue.cohort not in place:
            raise ValueError(f"queue {queue.name}: {_unknown(queue.cohort, above)}")
    return [place[holder.cohort] if holder.cohort else ROOT for holder in (*queues, *cohorts)]


def check_cohorts(above: Mapping[str, str]) -> Mapping[str, str]:
    """``above``, which has the cohort above each cohort ("": none). Raises ValueError for one that is not there, and for a circle."""
    for name, parent in above.items():
        if parent and parent not in above:
            raise ValueError(f"cohort {name}: {_unknown(parent, above)}")
    clear: set[str] = set()  # stand in no circle
    for start in above:
        way, name = list[str](), start
        while name and name not in clear:
            if name in way:
                raise ValueError(f"the cohorts {' -> '.join([*way[way.index(name) :], name])} stand in a circle; allowed: a tree")
            way.append(name)
            name = above[name]
        clear.update(way)
    return above


def _unknown(name: str, cohorts: Mapping[str, str]) -> str:
    return f"there is no cohort {name!r:.80}; allowed: {', '.join(cohorts) or 'none, since scheduler.cohorts lists none'}"


def gpus(milli_gpus: int) -> str:
    """As people write it: 2,048 or 0.5."""
    whole, part = divmod(abs(milli_gpus), 1000)
    return f"{'-' if milli_gpus < 0 else ''}{whole:,}" + (f".{part:03d}".rstrip("0") if part else "")


def _listed(names: Sequence[str]) -> str:
    """At most three names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")
