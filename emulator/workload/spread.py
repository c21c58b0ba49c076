"""Generated work for a cluster of several host types: each type gets the work of a cluster of its size, planned for its GPUs.

Jobs name the type that they were made for. ``reference_gpus`` and ``jobs_per_day`` are for the whole cluster, split by GPUs; where no
number of jobs is given, each type has that of a cluster of its size. The draws of a type do not depend on which other types the cluster
has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, bits
from emulator.workload.generate import GeneratorSettings, generate
from emulator.workload.growth import Growth
from emulator.workload.jobs import COLUMN_NAMES, JobColumns
from topology.catalog import HostType


def generate_by_type(
    settings: GeneratorSettings,
    host_types: Sequence[HostType],
    hosts: Sequence[int],
    seed: int,
    until_ns: int,
    growth: Sequence[Growth] | None = None,
) -> Iterator[JobColumns]:
    """Jobs for ``hosts[t]`` hosts of type ``host_types[t]`` each, as ``generate``: in order of submission, ids from 0 in that order.

    ``growth``, where not all is there from the start, is that of the GPUs of each type. Of jobs submitted at one instant those of the
    first type come first. Raises ValueError where the load cannot be had on one type.
    """
    gpus = [count * host_type.gpus for count, host_type in zip(hosts, host_types, strict=True)]
    sources = []
    for number, host_type in enumerate(host_types):
        if gpus[number]:
            own = replace(_part_of(settings, gpus[number] / sum(gpus)), lane_bytes_per_second=host_type.lane_bytes_per_second)
            luck = seed if number == 0 else int(bits(seed, Stream.HOST_TYPE, number, 0))
            try:
                grows = None if growth is None else growth[number]
                source = generate(own, gpus[number], luck, until_ns, host_type.gpu, host_type.gpus, host_type.domain_gpus, grows)
            except ValueError as error:
                raise ValueError(f"{host_type.name}: {error}") from None
            sources.append(_Source(number, source))
    return sources[0].batches if len(host_types) == 1 else _merged(sources)


def _part_of(settings: GeneratorSettings, part: float) -> GeneratorSettings:
    """The settings of the whole cluster, scaled to this part of its GPUs."""
    reference = None if settings.reference_gpus is None else max(1, round(settings.reference_gpus * part))
    return replace(settings, reference_gpus=reference, jobs_per_day=None if settings.jobs_per_day is None else settings.jobs_per_day * part)


@dataclass(eq=False)
class _Source:
    """The jobs of one type: ``held`` is the batch that comes next, None when there is none."""

    host_type: int
    batches: Iterator[JobColumns]
    held: JobColumns | None = None

    def fetch(self) -> None:
        """Hold the next batch that is not empty, unless one is held."""
        while self.held is None or not len(self.held):
            self.held = next(self.batches, None)
            if self.held is None:
                return
            self.held = replace(self.held, host_type=np.full(len(self.held), self.host_type, np.int8))

    def take_until(self, time_ns: int) -> JobColumns | None:
        """The held jobs submitted up to then."""
        if self.held is None:
            return None
        count = int(np.searchsorted(self.held.submit_ns, time_ns, side="right"))
        taken, self.held = _rows(self.held, slice(count)), _rows(self.held, slice(count, None))
        return taken


def _merged(sources: Sequence[_Source]) -> Iterator[JobColumns]:
    first = 0
    while True:
        for source in sources:
            source.fetch()
        held = [source.held for source in sources if source.held is not None]
        if not held:
            return
        # No source has another job up to this time.
        known_ns = min(int(batch.submit_ns[-1]) for batch in held)
        parts = [part for source in sources if (part := source.take_until(known_ns)) is not None and len(part)]
        jobs = _joined(parts)
        yield replace(jobs, job_id=np.arange(first, first + len(jobs)))
        first += len(jobs)


def _rows(jobs: JobColumns, rows: slice | NDArray[np.int64]) -> JobColumns:
    names = jobs.names
    if names is not None:
        names = tuple(names[row] for row in np.arange(len(jobs))[rows].tolist())
    columns: dict[str, Any] = {name: getattr(jobs, name)[rows] for name in COLUMN_NAMES}
    return replace(jobs, names=names, **columns)


def _joined(parts: Sequence[JobColumns]) -> JobColumns:
    """All jobs of ``parts`` (which have the same queues and tenants) in order of submission, earlier parts first."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMN_NAMES}
    for name, counts in (("shape", [len(part.shapes) for part in parts]), ("choice", [len(part.choices) for part in parts])):
        offsets = np.cumsum([0, *counts])
        indexes = [np.where((index := getattr(part, name)) >= 0, index + offset, -1) for part, offset in zip(parts, offsets, strict=False)]
        columns[name] = np.concatenate(indexes).astype(np.int32)
    columns["choices"] = tuple(types for part in parts for types in part.choices)
    names = None
    if any(part.names is not None for part in parts):
        names = tuple(name for part in parts for name in (part.names or [""] * len(part)))
    jobs = replace(parts[0], **columns, shapes=tuple(shape for part in parts for shape in part.shapes), names=names)
    return _rows(jobs, np.argsort(jobs.submit_ns, kind="stable"))
