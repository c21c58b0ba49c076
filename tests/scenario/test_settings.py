"""A scenario without a word about a room gives that room's own defaults, and every field arrives."""

import pytest

from emulator.fabric.settings import FabricSettings
from emulator.jobs.costs import StartUp
from emulator.racks.faults import FaultSettings
from emulator.scenario import load
from emulator.scenario.settings import fabric_settings, fault_settings, generator_settings
from emulator.workload.generate import GeneratorSettings
from emulator.workload.spread import generate_by_type
from topology.catalog import host


def test_defaults_are_the_rooms_own() -> None:
    scenario = load("laptop")
    assert generator_settings(scenario) == GeneratorSettings(start_up_seconds=StartUp().mean_seconds)
    assert generator_settings(load("laptop", ["jobs.start_up=none"])) == GeneratorSettings()
    assert fault_settings(scenario) == FaultSettings(by_scope=True)
    assert fault_settings(load("laptop", ["faults.scope=host"])) == FaultSettings()
    assert fabric_settings(scenario) == FabricSettings()


def test_values_arrive_in_seconds() -> None:
    scenario = load(
        "laptop",
        [
            "workload.generated.load=1.1",
            "workload.generated.day=12h",
            "faults.repair.nic=90m",
            "faults.enabled=false",
            "fabric.efficiency=0.6",
        ],
    )
    assert generator_settings(scenario) == GeneratorSettings(load=1.1, day_seconds=43_200.0, start_up_seconds=StartUp().mean_seconds)
    assert fault_settings(scenario) == FaultSettings(enabled=False, repair_seconds={"nic": 5400.0}, by_scope=True)
    assert fabric_settings(scenario).efficiency == 0.6


def test_an_unknown_cause_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown cause 'gremlins'; allowed: .*nic"):
        fault_settings(load("laptop", ["faults.repair.gremlins=1h"]))


@pytest.mark.parametrize(("chosen", "taken"), [("ring", "ring"), ("tree", "tree"), ("auto", "ring")])
def test_generated_jobs_reduce_as_the_fabric_says(chosen: str, taken: str) -> None:
    """The gradients of the catalog's models are so large that auto, as NCCL's tuner, takes the ring for all of them."""
    settings = generator_settings(load("superpod-h100", [f"fabric.collective={chosen}"]))
    assert settings.collective == chosen
    jobs = next(generate_by_type(settings, (host("hgx-h100"),), (12_500,), 1, 10**12))
    assert {shape.collective for shape in jobs.shapes} == {taken}
