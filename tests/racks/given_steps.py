"""Steps of replicas that take what a test says."""

from dataclasses import dataclass

from emulator.racks.step_tables import StepTables
from emulator.workload.serving.costs import StepCosts


@dataclass(frozen=True)
class GivenSteps:
    full: StepCosts
    slow: StepCosts | None = None  # at all lower clocks

    def costs(self, slowdown: float = 1.0) -> StepCosts:
        return self.full if slowdown == 1.0 or self.slow is None else self.slow


def tables(full: StepCosts, slow: StepCosts | None = None) -> StepTables:
    return StepTables(GivenSteps(full, slow))
