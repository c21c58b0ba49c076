"""What replicas draw, against ML.ENERGY's measurements: Llama-3.3-70B in bf16 on 4 H100, conversations of some 410 output tokens."""

import numpy as np
import pytest

from emulator.racks.pool import Pool, asks_of
from emulator.racks.pool_records import PoolSettings, ReplicaLimits
from emulator.racks.step_tables import StepTables
from emulator.workload.serving.costs import ReplicaSteps, ServingPlan, kv_room
from emulator.workload.serving.energy import dynamic_ratio
from emulator.workload.serving.stacks import stack_of
from emulator.workload.training import MODELS
from topology.catalog import GPUS

GPU, PLAN, BUDGET = GPUS["H100-SXM5-80GB"], ServingPlan(4), 8192
#: An H100 draws this when idle (assumed), and at most.
IDLE_WATTS, MOST_WATTS = 70.0, 700.0
#: Tokens of a prompt (assumed) and of an answer.
PROMPT, OUTPUT = 250, 410


def measured(batch: int) -> tuple[float, float]:
    """Watts of the four GPUs, and joules for each output token, of a closed loop with as many at a time."""
    model = MODELS["llama3.1-70b"]
    steps = ReplicaSteps(model, GPU, "bf16", PLAN, stack_of(GPU.name, "bf16", "vllm"), BUDGET)
    limits = ReplicaLimits(BUDGET, 1024, kv_room(model, GPU, "bf16", PLAN).blocks)
    count = 6 * batch
    asks = asks_of(np.full(count, PROMPT), np.full(count, OUTPUT) + np.arange(count) % 100 - 50)
    pool = Pool(StepTables(steps), limits, PoolSettings(), asks=asks)
    pool.open(0)
    pool.set_users(batch, 0)
    pool.advance(10**16)
    read = pool.read(10**16)
    busy_ps = int(read.busy_ps[0])
    watts = 4 * (IDLE_WATTS + (MOST_WATTS - IDLE_WATTS) * dynamic_ratio(1.0, int(read.compute_ps[0]) / busy_ps))
    return watts, watts * busy_ps / 1e12 / int(read.tokens_out[0])


@pytest.mark.parametrize(("batch", "watts", "joules"), [(8, 1787, 3.85), (64, 2108, 0.822), (256, 2519, 0.491), (768, 2546, 0.423)])
def test_power_and_energy_of_a_token(batch: int, watts: float, joules: float) -> None:
    """Power within 3 %; energy as well as the steps' times allow, which are those of an engine fitted on other rows."""
    drawn, each = measured(batch)
    assert drawn == pytest.approx(watts, rel=0.03)
    assert each == pytest.approx(joules, rel=0.30)


def test_nothing_draws_more_than_there_is() -> None:
    assert dynamic_ratio(1.0, 1.0) == 1.0
    assert dynamic_ratio(0.0, 0.0) == 0.0
