"""Why jobs wait: the kinds of reasons, and what a policy may say itself."""

from collections.abc import Mapping
from typing import NamedTuple

from emulator.scheduler.table import NEVER

#: What keeps a pending job from starting. A job has one kind of reason; `policy` is for what a policy of others says itself.
KINDS = (
    *("quota", "capacity", "fragmentation", "topology", "power", "hold", "dependency", "dispatch", "data", "reservation"),
    *("priority", "policy"),
)


class Why(NamedTuple):
    """Why a job is left waiting: a sentence, and the numbers in it by name."""

    text: str
    numbers: Mapping[str, float] = {}
    kind: str = "policy"
    remedy: str = ""  # what would let it start, as a sentence; "" where that is not said
    until_ns: int = NEVER  # when time alone lets it go; whoever holds it has it looked at then
