"""Virtual clusters: the tenants of traces whose cluster was divided among them, and the option that keeps one."""

from collections.abc import Iterator, Mapping

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Row, Trace


class VirtualClusters:
    """The virtual clusters that have appeared in a trace, and the one to keep."""

    def __init__(self, trace: Trace, options: Mapping[str, str]) -> None:
        self._trace = trace
        self._wanted = options.get("virtual_cluster")
        self._seen: set[str] = set()

    def wants(self, name: str) -> bool:
        """Whether jobs of this one are kept."""
        self._seen.add(name)
        return self._wanted is None or name == self._wanted

    def checked(self, rows: Iterator[Row | TraceError]) -> Iterator[Row | TraceError]:
        """The rows. Raises TraceError at their end if the virtual cluster to keep has not appeared."""
        yield from rows
        if self._wanted is not None and self._wanted not in self._seen:
            raise self._trace.error(f"no virtual cluster {self._wanted[:40]!r}", allowed=", ".join(sorted(self._seen)))
