"""Errors for people, and exit codes for scripts."""

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of every command; scripts depend on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    INFEASIBLE = 4
    DEADLINE = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """Ends the command with one line on stderr, which says what was wrong, where, and what is allowed."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


def wrong(place: str, value: object, problem: str, allowed: str) -> CommandError:
    """A usage error: ``wrong("--until", "soon", "is not a duration", "24h, 90m, 1h30m")``."""
    return CommandError(f"{place}: {value!r} {problem}; allowed: {allowed}")
