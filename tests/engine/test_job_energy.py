"""Tokens of training jobs, and the joules of each."""

from dataclasses import replace

import pytest

from emulator.engine.power_settings import FACILITY, OverCap, PowerSettings
from emulator.engine.views import job_view
from emulator.power.clocks import DYNAMIC_RATIO, SLOWDOWN
from emulator.power.series import constant
from emulator.report.job_rows import Reasons, all_jobs, rows_of
from emulator.report.power import joules_per_token
from emulator.workload.jobs import SECOND
from emulator.workload.training import MODELS, Parallelism, step_seconds, training_shape
from tests.engine.small import SHAPE, clos, engine, run, run_until, training
from tests.engine.test_power_caps import gang
from topology import catalog

#: Steps of 1 s that only compute.
STEP = replace(SHAPE, ring_bytes=0.0, step_tokens=4e6)


def test_a_job_knows_its_tokens_while_it_runs_and_when_it_has_ended() -> None:
    made = engine(clos(2), [training(gpus=16, duration_ns=1000 * SECOND, shapes=(STEP,), utilization=1.0), gang(16, 100, job_id=1)])
    run_until(made, 0)
    made.idle_to(250 * SECOND)
    now = job_view(made, 0)
    assert now.tokens == pytest.approx(made.now_ns / SECOND * 4e6)
    run(made)
    done, other = job_view(made, 0), job_view(made, 1)
    assert done.tokens == pytest.approx(1000 * 4e6)
    assert done.joules_per_token == done.energy_joules / done.tokens == pytest.approx(now.joules_per_token)
    assert (other.tokens, other.joules_per_token) == (0.0, 0.0)
    watts = sum(host_type.peak_watts for host_type in made.cluster.host_types) * 2
    assert done.joules_per_token == pytest.approx(watts * 1000 / (1000 * 4e6), rel=1e-6)
    jobs = all_jobs(made, [rows_of(made, [0, 1], Reasons())], Reasons()).table
    assert (jobs.tokens.tolist(), joules_per_token(jobs)) == ([done.tokens, 0.0], done.joules_per_token)
    jobs.tokens[:] = 0.0
    assert joules_per_token(jobs) is None


def test_lost_work_costs_energy_and_gives_no_tokens() -> None:
    """A host fails after 500 s, with no checkpoint: all is done again."""
    job = training(gpus=16, duration_ns=1000 * SECOND, shapes=(STEP,), utilization=1.0)
    made = run(engine(clos(3), [job], fail_at={0: 500 * SECOND}, restart_overhead_ns=0))
    whole = run(engine(clos(3), [job]))
    broken, plain = job_view(made, 0), job_view(whole, 0)
    assert broken.tokens == plain.tokens == pytest.approx(1000 * 4e6)
    assert broken.joules_per_token == pytest.approx(1.5 * plain.joules_per_token, rel=1e-3)


@pytest.mark.parametrize("clock", [3, 10])
def test_a_lower_clock_saves_energy_a_token_as_the_curve_says(clock: int) -> None:
    job = training(gpus=16, duration_ns=1000 * SECOND, shapes=(STEP,), utilization=1.0)
    full = run(engine(clos(2), [job]))
    standing, computing = full.meter.power_milliwatts, full.runs._full_draw(0, 1.0) * 16
    cap = constant(standing + round(computing * DYNAMIC_RATIO[clock]) + 2000)  # which this clock just meets
    slow = run(engine(clos(2), [job], power=PowerSettings(OverCap.CLOCK, ((FACILITY, cap),), constant(1.0), 0)))
    assert slow.power.lowest_clock == clock
    kind = full.cluster.host_types[0]
    idle, dynamic = kind.idle_watts, kind.peak_watts - kind.idle_watts
    ratio = SLOWDOWN[clock] * (idle + DYNAMIC_RATIO[clock] * dynamic) / kind.peak_watts
    assert job_view(slow, 0).joules_per_token / job_view(full, 0).joules_per_token == pytest.approx(ratio, rel=1e-4)


def test_a_model_of_the_catalogue_has_the_tokens_of_its_batch() -> None:
    model, plan = MODELS["llama3-70b"], Parallelism(8, 4, 16, 32)
    shape = training_shape(model, plan, catalog.host("hgx-h100").gpu, domain_gpus=8)
    assert shape.step_tokens == 16 * 32 * model.sequence
    assert shape.step_tokens * 6 * 70e9 == pytest.approx(shape.model_flops, rel=0.2)
    assert step_seconds(shape, 50e9) == step_seconds(replace(shape, step_tokens=0.0), 50e9)
