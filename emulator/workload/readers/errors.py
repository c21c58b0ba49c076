"""The error for a trace that cannot be read."""


class TraceError(ValueError):
    """A trace that cannot be read: what is wrong, where, and what is allowed there."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, column: str = "", allowed: str = "") -> None:
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(place + (f"{column}: " if column else "") + message + (f" (allowed: {allowed})" if allowed else ""))
        self.file, self.line, self.column, self.allowed = file, line, column, allowed
