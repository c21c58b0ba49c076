"""How long an interrupted job waits before it is in its queue again."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """After its n-th interruption ``initial_ns * factor ** (n - 1)``, at most ``most_ns``; ``factor`` is at least 1.

    Truncated exponential back-off, as the kubelet has it for containers that crash.
    """

    initial_ns: int
    factor: float
    most_ns: int

    def until_ns(self, at_ns: int, interruptions: int) -> int:
        """When a job that was just interrupted, so many times by now, is in its queue again; 0: at once."""
        if not self.initial_ns:
            return 0
        wait = self.initial_ns * _power(self.factor, interruptions - 1)
        return at_ns + (int(wait) if wait < self.most_ns else self.most_ns)


def _power(base: float, exponent: int) -> float:
    """By squaring, since the C library's has other bits from machine to machine."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


NO_BACKOFF = Backoff(0, 1.0, 0)
