"""What the ledger refuses."""

from enum import StrEnum


class Rule(StrEnum):
    """What an action must keep to. The ledger refuses what breaks one, with its name."""

    PENDING = "pending"  # only a job that waits starts
    HOLD = "hold"  # and none that is on hold
    RUNNING = "running"  # only a job that runs stops
    SIZE = "size"  # a job gets as many GPUs as it asks for
    TYPE = "type"  # on hosts of the type that it asks for, and of one type only
    LEVEL = "level"  # inside one unit of the level that it requires
    SLICE = "slice"  # each of its slices inside one unit of the slices' level
    OFFERED = "offered"  # on hosts that are in service: not down, cordoned, unreachable or planned
    RESERVED = "reserved"  # on hosts that are not kept for others before the job is expected to have ended
    FREE = "free"  # on GPUs that nobody holds
    QUOTA = "quota"  # its queue has quota for it
    LIMIT = "limit"  # its tenant may have that much more running
    GROUP = "group"  # together with the other actions of its group, of a policy outside


class Refused(Exception):
    """An action that breaks ``rule``; the text says how. Nothing was changed."""

    def __init__(self, rule: Rule, text: str) -> None:
        super().__init__(text)
        self.rule = rule
