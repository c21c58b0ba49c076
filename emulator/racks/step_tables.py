"""What steps of a service's replicas take at each clock, in one table for all of its pools in a process."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.power.clocks import CLOCKS, FULL, SLOWDOWN
from emulator.racks.pool_layout import TABLE_ROWS
from emulator.workload.serving.costs import StepCosts


class Steps(Protocol):
    """What steps take where multiplying takes ``slowdown`` times as long: ``workload.serving.costs.ReplicaSteps``."""

    def costs(self, slowdown: float = 1.0) -> StepCosts: ...


class StepTables:
    """``rows``, shape (CLOCKS * TABLE_ROWS, budget + 1), has four rows for each clock: those of a clock once its costs were asked for."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._costs: dict[int, StepCosts] = {}
        self.rows: NDArray[np.int64] = np.zeros((CLOCKS * TABLE_ROWS, len(self.costs(FULL).table_ps)), np.int64)
        self._fill(FULL)

    def costs(self, clock: int) -> StepCosts:
        """At a clock of ``power.clocks``."""
        if clock not in self._costs:
            self._costs[clock] = self._steps.costs(SLOWDOWN[clock])
            if clock != FULL:
                self._fill(clock)
        return self._costs[clock]

    def _fill(self, clock: int) -> None:
        costs = self._costs[clock]
        self.rows[TABLE_ROWS * clock : TABLE_ROWS * (clock + 1)] = (
            costs.table_ps,
            costs.weights_ps,
            costs.decode_ps,
            costs.decode_weights_ps,
        )
