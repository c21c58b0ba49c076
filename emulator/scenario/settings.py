"""A scenario's sections as the settings that the rooms below take."""

from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.scenario.models import Scenario
from emulator.workload.generate import GeneratorSettings

_SECOND = 10**9


def generator_settings(scenario: Scenario) -> GeneratorSettings:
    fields = scenario.workload.generated.model_dump(exclude={"day"})
    return GeneratorSettings(**fields, day_seconds=scenario.workload.generated.day / _SECOND)


def fault_settings(scenario: Scenario) -> FaultSettings:
    faults = scenario.faults
    repair_seconds = {cause: mean / _SECOND for cause, mean in faults.repair.items()}
    return FaultSettings(faults.enabled, faults.host_rate_per_1000_node_days, repair_seconds)


def fabric_settings(scenario: Scenario) -> FabricSettings:
    return FabricSettings(routing=scenario.fabric.routing, efficiency=scenario.fabric.efficiency)
