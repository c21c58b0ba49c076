"""The error for a file that cannot be read."""

from typing import Any

from topology.vocabulary import TopologyError


class FormatError(TopologyError):
    """A file that is not in its format, or does not describe a possible cluster; ``line`` counts from 1 and is 0 if there is none."""

    def __init__(self, message: str, source: str, line: int = 0) -> None:
        super().__init__(f"{source}:{line}: {message}" if line else f"{source}: {message}")
        self.source = source
        self.line = line


def shown(value: Any) -> str:
    """A value for an error message, shortened if it is long."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**40 else "a number of more than 40 digits"
    return text if len(text) <= 60 else text[:57] + "..."
