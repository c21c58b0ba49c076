"""What is asked of services: requests as columns, from generators and from traces (docs/requests.md)."""

from emulator.workload.requests.columns import RequestColumns, join
from emulator.workload.requests.cursor import SLICE_NS, Arrivals, Source
from emulator.workload.requests.generator import Generator, GeneratorSettings
from emulator.workload.requests.lengths import NAMED_LENGTHS, Length, Lengths

__all__ = [
    "NAMED_LENGTHS",
    "SLICE_NS",
    "Arrivals",
    "Generator",
    "GeneratorSettings",
    "Length",
    "Lengths",
    "RequestColumns",
    "Source",
    "join",
]
