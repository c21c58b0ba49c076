"""What goes wrong with a directory of state."""


class JournalError(ValueError):
    """A directory or journal that cannot be used; the message says where, why, and what is allowed."""
