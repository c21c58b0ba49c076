"""Why jobs wait: the kinds of reasons, and what a policy may say itself."""

from collections.abc import Mapping
from typing import NamedTuple

#: What keeps a pending job from starting. A job has one kind of reason; `policy` is for what a policy of others says itself.
KINDS = (
    *("quota", "capacity", "fragmentation", "topology", "power", "hold", "dependency", "dispatch", "data", "reservation"),
    *("priority", "policy"),
)


class Why(NamedTuple):
    """What a policy says of a job that it leaves waiting: a sentence, and the numbers in it by name."""

    text: str
    numbers: Mapping[str, float] = {}
    kind: str = "policy"
