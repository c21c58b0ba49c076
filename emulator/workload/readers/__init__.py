"""Job traces that others published, as sources of work. What a trace observed (its start times, its waits) is never handed on."""

from emulator.workload.readers.open import FORMATS, open_pods, open_trace
from emulator.workload.readers.openb import Pods
from emulator.workload.readers.rows import TraceError, TraceLimits

__all__ = ["FORMATS", "Pods", "TraceError", "TraceLimits", "open_pods", "open_trace"]
