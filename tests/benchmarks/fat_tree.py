"""Fat trees, D-mod-K paths and random permutations: the traffic that flow-level simulators are compared on."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


class Traffic(NamedTuple):
    """Flow i crosses the directed links ``link[start[i]:start[i + 1]]``, of ``links``, all of the same capacity."""

    start: Int64
    link: Int64
    links: int


def fat_tree(arity: tuple[int, int, int], flows: int, seed: int) -> Traffic:
    """``flows`` flows of random permutations on a fat tree of full bisection, one after another.

    ``arity`` is the hosts of a leaf, the leaves of a pod and the pods: a leaf has as many ports up as hosts, a pod's switch as many as
    leaves: XGFT(3; m1, m2, m3; 1, m1, m2) of Oehring et al. (IPPS 1995). D-mod-K (Zahavi, JPDC 72(11), 2012) climbs by the digits of the
    destination. A permutation is one cycle through all hosts in a random order, so that nobody sends to itself.
    """
    m1, m2, m3 = arity
    hosts, rng = m1 * m2 * m3, np.random.default_rng(seed)
    orders = [rng.permutation(hosts) for _ in range(-(-flows // hosts))]
    source = np.concatenate(orders)[:flows]
    target = np.concatenate([np.roll(order, -1) for order in orders])[:flows]
    leaf, pod = source // m1, source // (m1 * m2)
    to_leaf, to_pod = target // m1, target // (m1 * m2)
    a, b = target % m1, target // m1 % m2  # which switch of the pod, which core of that switch
    tier = hosts  # directed links of a tier, each way: hosts, then leaf to pod switch, then pod switch to core: equal at full bisection
    path = np.stack(
        (
            source,
            tier + leaf * m1 + a,
            2 * tier + (pod * m1 + a) * m2 + b,
            3 * tier + (to_pod * m1 + a) * m2 + b,
            4 * tier + to_leaf * m1 + a,
            5 * tier + target,
        ),
        axis=1,
    )
    crossed = np.ones(path.shape, dtype=bool)
    crossed[:, 1:5] = (leaf != to_leaf)[:, None]
    crossed[:, 2:4] = (pod != to_pod)[:, None]
    start = np.concatenate(([0], np.cumsum(crossed.sum(axis=1))))
    return Traffic(start, path[crossed], 6 * tier)
