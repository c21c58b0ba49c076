"""A scenario without a word about a room gives that room's own defaults, and every field arrives."""

import pytest
from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.workload.generate import GeneratorSettings

from emulator.scenario import load
from emulator.scenario.settings import fabric_settings, fault_settings, generator_settings


def test_defaults_are_the_rooms_own():
    scenario = load("laptop")
    assert generator_settings(scenario) == GeneratorSettings()
    assert fault_settings(scenario) == FaultSettings()
    assert fabric_settings(scenario) == FabricSettings()


def test_values_arrive_in_seconds():
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
    assert generator_settings(scenario) == GeneratorSettings(load=1.1, day_seconds=43_200.0)
    assert fault_settings(scenario) == FaultSettings(enabled=False, repair_seconds={"nic": 5400.0})
    assert fabric_settings(scenario).efficiency == 0.6


def test_an_unknown_cause_names_those_there_are():
    with pytest.raises(ValueError, match=r"unknown cause 'gremlins'; allowed: .*nic"):
        fault_settings(load("laptop", ["faults.repair.gremlins=1h"]))
