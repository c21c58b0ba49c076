"""How long collectives take: closed forms in the bytes S, the members n, the bandwidth B and the latency alpha of a hop.

Sources: nccl-tests doc/PERFORMANCE.md (bus bandwidth: what a NIC moves per byte of payload); Thakur, Rabenseifner, Gropp, IJHPCA 19 (2005)
(ring and pairwise exchange in the alpha-beta model); Sanders, Speck, Traeff, Parallel Computing 35 (2009) (two trees at full bandwidth).
"""

from math import frexp, inf

#: Latency of one hop over a network in NCCL's own model, with its bandwidth-bound protocol ("Simple"), for rings and trees: 14 us (NCCL
#: src/graph/tuning.cc, hwLat[NCCL_HW_NET]). It covers proxy, NIC and a small fabric; the latency of the emulated fabric is added to it.
NIC_SECONDS = 14e-6


def ring_hops(members: float) -> float:
    """Hops of a ring all-reduce, one after the other: round the ring twice."""
    return 2.0 * max(0.0, members - 1.0)


def tree_hops(members: float) -> float:
    """Hops of a double binary tree: up its depth and down again."""
    mantissa, exponent = frexp(members)  # members = mantissa * 2**exponent, the mantissa from 0.5 to below 1
    return 2.0 * (exponent - (mantissa == 0.5)) if members > 1 else 0.0


def ring_bytes(size: float, members: float) -> float:
    """Bytes that each member of a ring sends to all-reduce ``size`` bytes: 2 (n - 1) / n of them, the least possible."""
    return 2.0 * (members - 1.0) / members * size if members > 1 else 0.0


def tree_bytes(size: float, members: float) -> float:
    """Bytes that the busiest member of a double tree sends to all-reduce ``size`` bytes.

    Each of its edges (``fabric.patterns.tree_degree``: four, in a tree of more than three members) carries half of them each way.
    """
    return 0.5 * min(4.0, members) * size if members > 1 else 0.0


def ring_seconds(size: float, members: float, bandwidth: float, hop_seconds: float) -> float:
    """2 (n - 1) alpha + 2 (n - 1) / n S / B."""
    return ring_hops(members) * hop_seconds + _over(ring_bytes(size, members), bandwidth)


def tree_seconds(size: float, members: float, bandwidth: float, hop_seconds: float) -> float:
    """2 log2(n) alpha + 2 S / B."""
    return tree_hops(members) * hop_seconds + _over(tree_bytes(size, members), bandwidth)


def exchange_seconds(size: float, members: float, bandwidth: float, hop_seconds: float) -> float:
    """All-to-all of ``size`` bytes per member, the part for itself included: (n - 1) alpha + (n - 1) / n S / B, pairwise."""
    return max(0.0, members - 1.0) * hop_seconds + _over((members - 1.0) / members * size, bandwidth)


def neighbour_seconds(size: float, bandwidth: float, hop_seconds: float) -> float:
    """Point to point: alpha + S / B."""
    return hop_seconds + _over(size, bandwidth)


def hierarchical_seconds(
    size: float, *, domain: float, domains: float, scale_up: float, bandwidth: float, hop_seconds: float, collective: str = "ring"
) -> float:
    """All-reduce over ``domains`` of ``domain`` GPUs: reduce-scatter inside, all-reduce of each part on its rail, all-gather."""
    inside = _over(ring_bytes(size, domain), scale_up)
    return inside + COLLECTIVE_SECONDS[collective](size / domain, domains, bandwidth, hop_seconds)


def bus_bytes_per_second(size: float, members: float, seconds: float) -> float:
    """nccl-tests' bus bandwidth of an all-reduce: 2 (n - 1) / n S / t."""
    return ring_bytes(size, members) / seconds


COLLECTIVE_SECONDS = {"ring": ring_seconds, "tree": tree_seconds}
COLLECTIVE_BYTES = {"ring": ring_bytes, "tree": tree_bytes}
COLLECTIVE_HOPS = {"ring": ring_hops, "tree": tree_hops}


def faster(size: float, members: float, bandwidth: float, hop_seconds: float) -> str:
    """Ring or tree, whichever takes less time, as NCCL's tuner chooses; the ring where they take the same."""
    ring, tree = (COLLECTIVE_SECONDS[name](size, members, bandwidth, hop_seconds) for name in ("ring", "tree"))
    return "tree" if tree < ring else "ring"


def _over(size: float, bandwidth: float) -> float:
    return size / bandwidth if bandwidth > 0.0 else (inf if size > 0.0 else 0.0)
