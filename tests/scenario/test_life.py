"""The section ``jobs`` of a scenario."""

import pytest

from emulator.engine.service_settings import ServingSettings
from emulator.runtime.assemble import _engine_settings
from emulator.scenario.build import build_cluster
from emulator.scenario.load import ScenarioError, load
from emulator.scenario.settings import generator_settings, job_costs
from emulator.workload.jobs import DALY, YOUNG, Recovery
from emulator.workload.spread import generate_by_type


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("jobs.recovery=hope", "jobs.recovery: input should be 'requeue', 'in-place', 'spares' or 'elastic', got 'hope'"),
        ("jobs.spares=-1", "jobs.spares: input should be greater than or equal to 0, got -1"),
        ("jobs.spares=65", "jobs.spares: input should be less than or equal to 64, got 65"),
        ("jobs.spares=0.5", "jobs.spares"),
        (
            "jobs.checkpoint.interval=often",
            "24h, 7d or 1h30m; or young, or daly",
        ),
        ("jobs.stragglers.host_spread=1.5", "jobs.stragglers.host_spread"),
        ("jobs.stragglers.stall_ratio=-0.1", "jobs.stragglers.stall_ratio"),
        ("jobs.stragglers.stall_median=0s", "jobs.stragglers.stall_median"),
        ("jobs.stragglers.fail_slow=true", "jobs.stragglers.fail_slow: input should be 'drawn' or 'none'"),
        ("jobs.grace_period=2d", "jobs.grace_period: 2d is too much; allowed: at most 1d"),
        ("jobs.grace_period=-5s", "'-5s' is not a duration"),
        ("jobs.checkpoint.interval=0s", "'0s' is no interval: allowed are times above 0, young and daly"),
        ("jobs.checkpoint.interval=-1", "-1 is not a duration"),
        ("jobs.checkpoint.interval=[young]", "['young'] is not a duration"),
        ("workload.generated.checkpoint=2000d", "2000d is too much; allowed: at most 366d"),
    ],
)
def test_what_is_wrong_is_told(override: str, told: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load("laptop", [override])
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["requeue", "in-place", "spares", "elastic"])
def test_every_way_is_known_to_the_engine(name: str) -> None:
    scenario = load("laptop", [f"jobs.recovery={name}", "jobs.spares=3"])
    settings = _engine_settings(scenario, build_cluster(scenario), None, ServingSettings())
    assert settings.recovery == Recovery[name.replace("-", "_").upper()]
    assert settings.spares_per_1024_gpus == 3


@pytest.mark.parametrize(("text", "every_ns"), [("young", YOUNG), ("daly", DALY), ("30m", 1800 * 10**9)])
def test_an_interval_is_a_time_or_a_formula(text: str, every_ns: int) -> None:
    scenario = load("laptop", [f"jobs.checkpoint.interval={text}", f"workload.generated.checkpoint={text}"])
    assert scenario.jobs.checkpoint.interval == scenario.workload.generated.checkpoint == every_ns
    assert scenario.model_dump(mode="json")["jobs"]["checkpoint"]["interval"] == text
    assert job_costs(scenario, build_cluster(scenario)).checkpoint.interval_ns == every_ns
    jobs = next(iter(generate_by_type(generator_settings(scenario), build_cluster(scenario).host_types, (64,), 1, 3600 * 10**9, None)))
    assert set(jobs.checkpoint_ns.tolist()) <= {0, every_ns}
