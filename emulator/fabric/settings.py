"""The fabric's settings in a scenario."""

from dataclasses import dataclass

ROUTINGS = ("adaptive", "ecmp", "minimal", "valiant")


@dataclass(frozen=True)
class FabricSettings:
    """How traffic spreads over equal paths, and how much of a cable's speed it gets.

    ``adaptive`` sprays packets evenly over equal paths, so a bank of parallel cables acts as one (a fluid), and over a dragonfly's
    other groups where the direct links are not enough for what all jobs send (``fabric.ugal``). ``minimal`` and ``valiant`` are a
    dragonfly's two extremes, direct links alone and other groups alone; elsewhere they are ``adaptive``. Under ``ecmp``, which is for
    trees of switches alone, every connection's flows are hashed to cables, ``queue_pairs`` of them a connection (Llama 3: 16, E-ECMP;
    NCCL by default: 1); ``polarised`` gives all switches the same seed, a well-known mistake.

    ``efficiency`` is the part of the line rate that is left for payload: NVIDIA claims 0.95 for Spectrum-X, against about 0.6 for plain
    ECMP Ethernet (vendor's claim). It stands for headers (RoCEv2 at an MTU of 4,096: 0.98) and congestion control, not for collisions:
    under ``ecmp`` these come on top, out of the hashing.

    Raises ValueError for a routing that is not modelled and for values out of range.
    """

    routing: str = "adaptive"
    efficiency: float = 0.95
    queue_pairs: int = 1
    polarised: bool = False

    def __post_init__(self) -> None:
        if self.routing not in ROUTINGS:
            raise ValueError(f"fabric.routing: unknown routing {self.routing!r}; allowed: {', '.join(ROUTINGS)}")
        if not 0.0 < self.efficiency <= 1.0:
            raise ValueError(f"fabric.efficiency: {self.efficiency} is outside (0, 1]")
        if not 1 <= self.queue_pairs <= 64:
            raise ValueError(f"fabric.queue_pairs: {self.queue_pairs} is outside 1 to 64")
