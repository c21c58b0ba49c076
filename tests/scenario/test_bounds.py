"""Every number of a scenario at both ends of what is allowed: the emulation runs there; and one step beyond, it is refused by name."""

import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from emulator.runtime.session import open_session
from emulator.scenario import ScenarioError
from emulator.scenario.load import load
from emulator.scenario.models import Scenario
from emulator.scenario.units import format_duration

TEXT = """
name: bounds
cluster: {host: hgx-h100, hosts: 16, hosts_per_rack: 4, switch: qm9700, oversubscription: {leaf: 3}}
clock: {cycle: 10s, until: 10m, speed: max}
workload: {kind: generated, generated: {load: 0.5}}
fabric: {faults: {enabled: true}}
runtime: {actors: inline}
"""
#: Their upper ends are a matter of how big a machine is at hand, or they belong to builders and kinds that this scenario has not.
LEFT_OUT = {"cluster", "clock.until", "workload.generated.reference_gpus", "workload.generated.jobs_per_day"}


def numbers(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, type, dict[str, Any]]]:
    """(dotted path, int or float, its bounds by name) of every number below a section."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        here = (*path, name)
        if ".".join(here) in LEFT_OUT:
            continue
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from numbers(kind, here)
        metadata = [*field.metadata, *(one for kind in kinds for one in getattr(kind, "__metadata__", ()))]
        bounds = {}
        for one in metadata:
            inner = getattr(one, "metadata", [one])
            for limit in inner:
                bounds |= {key: getattr(limit, key) for key in ("ge", "gt", "le", "lt") if getattr(limit, key, None) is not None}
        plain = next((kind for kind in (int, float) if kind in kinds or any(kind in get_args(part) for part in kinds)), None)
        if plain is not None and bool not in kinds:
            yield ".".join(here), plain, bounds


NUMBERS = {path: (kind, bounds) for path, kind, bounds in numbers(Scenario)}


def main():
    for path, (kind, bounds) in NUMBERS.items():
        print(path, kind, bounds)


if __name__ == "__main__":
    main()
