"""Why a request cannot be carried out: an error says what was wrong, where, and what is allowed. Docstrings name the gRPC status."""


class ControlError(Exception):
    """A request that cannot be carried out. ``field`` names the request's field, ``allowed`` says what would be accepted."""

    def __init__(self, message: str, *, field: str = "", allowed: str = "") -> None:
        super().__init__(message)
        self.field, self.allowed = field, allowed


class InvalidRequest(ControlError):
    """INVALID_ARGUMENT."""


def depends_on_refused(field: str) -> InvalidRequest:
    """Of a job of a batch that depends on another of it."""
    return InvalidRequest("depends on a job of the batch that was refused", field=field, allowed="jobs of it that are accepted")


class NotFound(ControlError):
    """NOT_FOUND."""


class NeverFits(ControlError):
    """FAILED_PRECONDITION: no placement on this cluster could ever hold the job."""


class QueueFull(ControlError):
    """RESOURCE_EXHAUSTED, with the wall seconds after which to try again."""

    def __init__(self, message: str, *, retry_seconds: float) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class WrongState(ControlError):
    """FAILED_PRECONDITION: the clock or the job is not in a state that allows this."""
