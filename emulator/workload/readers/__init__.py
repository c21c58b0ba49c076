"""Published job traces as sources of work. The scheduler never sees what a trace observed (start times, waits)."""

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.open import COMMON_OPTIONS, FORMATS, Format, open_nodes, open_pods, open_trace
from emulator.workload.readers.openb import Nodes, Pods
from emulator.workload.readers.streams import TraceLimits

__all__ = ["COMMON_OPTIONS", "FORMATS", "Format", "Nodes", "Pods", "TraceError", "TraceLimits", "open_nodes", "open_pods", "open_trace"]
