"""A scenario's sections as the settings that the rooms below take."""

from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.racks.power import PowerSettings
from emulator.scenario.models import Scenario
from emulator.workload.generate import GeneratorSettings

_SECOND = 10**9


def generator_settings(scenario: Scenario) -> GeneratorSettings:
    fields = scenario.workload.generated.model_dump(exclude={"day"})
    return GeneratorSettings(**fields, day_seconds=scenario.workload.generated.day / _SECOND)


def fault_settings(scenario: Scenario) -> FaultSettings:
    repair = scenario.faults.repair
    return FaultSettings(
        enabled=scenario.faults.enabled,
        per_thousand_node_days=scenario.faults.host_rate_per_1000_node_days,
        restart_seconds=_seconds(repair.restart),
        reset_seconds=_seconds(repair.reset),
        cable_seconds=_seconds(repair.cable),
        service_seconds=_seconds(repair.service),
    )


def fabric_settings(scenario: Scenario) -> FabricSettings:
    return FabricSettings(routing=scenario.fabric.routing, efficiency=scenario.fabric.efficiency)


def power_settings(scenario: Scenario) -> PowerSettings:
    power = scenario.power
    return PowerSettings(gamma=power.gamma, pue=power.pue, wue_litres_per_kwh=power.wue_litres_per_kwh)


def _seconds(times: tuple[int, int]) -> tuple[float, float]:
    return times[0] / _SECOND, times[1] / _SECOND
