"""What is asked of services: requests as columns, from generators and from traces (docs/requests.md)."""

from emulator.workload.requests.closed import ClosedLoop
from emulator.workload.requests.columns import RequestColumns, join
from emulator.workload.requests.cursor import SLICE_NS, Arrivals, Source
from emulator.workload.requests.generator import WORLD, Generator, GeneratorSettings
from emulator.workload.requests.lengths import NAMED_LENGTHS, Length, Lengths, constant, lognormal, uniform_between
from emulator.workload.requests.open import REQUEST_FORMATS, open_request_trace
from emulator.workload.requests.priorities import MOST_PRIORITY, Prioritized
from emulator.workload.requests.reading import COMMON_OPTIONS
from emulator.workload.requests.trace import RequestTrace

__all__ = [
    "COMMON_OPTIONS",
    "MOST_PRIORITY",
    "NAMED_LENGTHS",
    "REQUEST_FORMATS",
    "SLICE_NS",
    "WORLD",
    "Arrivals",
    "ClosedLoop",
    "Generator",
    "GeneratorSettings",
    "Length",
    "Lengths",
    "Prioritized",
    "RequestColumns",
    "RequestTrace",
    "Source",
    "constant",
    "join",
    "lognormal",
    "open_request_trace",
    "uniform_between",
]
