"""What a scenario says about its fabric."""

from dataclasses import dataclass

ROUTINGS = ("adaptive",)


@dataclass(frozen=True)
class FabricSettings:
    """How traffic spreads over equal paths, and how much of a cable's speed it gets.

    ``adaptive`` sprays packets evenly over equal paths, so a bank of parallel cables acts as one (a fluid). ``efficiency`` is the part of
    the line rate that is left for payload: NVIDIA claims 0.95 for Spectrum-X with adaptive routing, against about 0.6 for plain ECMP
    Ethernet (vendor's claim, not measured here). Hashed ``ecmp`` with its collisions is not modelled, and is refused.

    Raises ValueError for a routing that is not modelled and for an efficiency outside (0, 1].
    """

    routing: str = "adaptive"
    efficiency: float = 0.95

    def __post_init__(self) -> None:
        if self.routing == "ecmp":
            raise ValueError("fabric.routing: 'ecmp' (hashed paths with collisions) is not modelled yet; allowed: adaptive")
        if self.routing not in ROUTINGS:
            raise ValueError(f"fabric.routing: unknown routing {self.routing!r}; allowed: {', '.join(ROUTINGS)}")
        if not 0.0 < self.efficiency <= 1.0:
            raise ValueError(f"fabric.efficiency: {self.efficiency} is outside (0, 1]")
