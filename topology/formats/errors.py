"""What is wrong with a file, and where."""

from topology.vocabulary import TopologyError


class FormatError(TopologyError):
    """A file that is not one of its format, or that says what no cluster is; ``line`` counts from 1, 0 where there is none to tell."""

    def __init__(self, message: str, source: str, line: int = 0) -> None:
        super().__init__(f"{source}:{line}: {message}" if line else f"{source}: {message}")
        self.source = source
        self.line = line
