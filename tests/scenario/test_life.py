"""The section ``jobs`` of a scenario."""

import pytest

from emulator.runtime.assemble import _engine_settings
from emulator.scenario.build import build_cluster
from emulator.scenario.load import ScenarioError, load
from emulator.workload.jobs import Recovery


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("jobs.recovery=hope", "jobs.recovery: input should be 'requeue', 'in-place', 'spares' or 'elastic', got 'hope'"),
        ("jobs.spares=-1", "jobs.spares: input should be greater than or equal to 0, got -1"),
        ("jobs.spares=65", "jobs.spares: input should be less than or equal to 64, got 65"),
        ("jobs.spares=0.5", "jobs.spares"),
    ],
)
def test_what_is_wrong_is_told(override: str, told: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load("laptop", [override])
    assert told in str(error.value)


@pytest.mark.parametrize("name", ["requeue", "in-place", "spares", "elastic"])
def test_every_way_is_known_to_the_engine(name: str) -> None:
    scenario = load("laptop", [f"jobs.recovery={name}", "jobs.spares=3"])
    settings = _engine_settings(scenario, build_cluster(scenario), None)
    assert settings.recovery == Recovery[name.replace("-", "_").upper()]
    assert settings.spares_per_1024_gpus == 3
