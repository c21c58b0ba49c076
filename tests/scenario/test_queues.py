"""Queues with quotas, cohorts and limits of tenants in a scenario: what arrives, and what is refused where it is written."""

from pathlib import Path

import pytest

from emulator.scenario import ScenarioError, build_cluster, dump, load
from emulator.scenario.queues import PreemptionSettings, TenantLimit
from emulator.scenario.quotas import build_quotas
from emulator.scheduler.quota import Quotas

TWO_TYPES = """\
name: two
cluster:
  parts:
  - {name: old, host: hgx-h100, gpus: 64}
  - {name: new, host: dgx-b200, gpus: 64}
scheduler:
"""
LAB = """\
  cohorts:
  - {name: lab}
  - {name: research, parent: lab, quota: {H100: 16}, lending_limit: {H100: 24}}
  queues:
  - name: vision
    cohort: research
    quota: {H100: 32, "*": 40}
    borrowing_limit: {H100: 8}
    lending_limit: {H100: 0}
    queueing_strategy: strict-fifo
    preemption: {reclaim_within_cohort: any, borrow_within_cohort: lower-priority, within_queue: lower-priority}
  - {name: text, cohort: lab, quota: {hgx-h100: 8, b200: 8}}
  - {name: default}
  tenant_limits:
    default: {max_gpus: 64}
    by_name: {alice: {max_running_jobs: 2, max_pending_jobs: 100}}
"""


def quotas_of(tmp_path: Path, text: str) -> Quotas | None:
    file = tmp_path / "queues.yaml"
    file.write_text(TWO_TYPES + text)
    scenario = load(file)
    return build_quotas(scenario, build_cluster(scenario))


def test_all_of_it_arrives(tmp_path: Path) -> None:
    quotas = quotas_of(tmp_path, LAB)
    assert quotas is not None
    assert quotas.flavors == ((0,), (0, 1), (1,))
    h100 = quotas.trees[0]
    #              vision, text, default, lab, research
    assert h100.parents == [4, 3, -1, -1, 3]
    assert [quota.nominal for quota in h100.quotas] == [32_000, 8_000, 0, 0, 16_000]
    assert h100.quotas[0].borrowing_limit == 8_000
    assert h100.quotas[4].lending_limit == 24_000
    assert [h100.potential(queue) for queue in (0, 1)] == [32_000 + 8_000, 8_000 + 16_000]
    settings = load(tmp_path / "queues.yaml").scheduler
    assert settings.queues[0].preemption == PreemptionSettings(
        reclaim_within_cohort="any", borrow_within_cohort="lower-priority", within_queue="lower-priority"
    )
    assert settings.queues[0].queueing_strategy == "strict-fifo"
    assert settings.tenant_limits.default.max_gpus == 64
    assert settings.tenant_limits.by_name == {"alice": TenantLimit(max_running_jobs=2, max_pending_jobs=100)}


def test_it_survives_a_dump(tmp_path: Path) -> None:
    quotas_of(tmp_path, LAB)
    scenario = load(tmp_path / "queues.yaml")
    again = tmp_path / "again.yaml"
    again.write_text(dump(scenario))
    assert load(again) == scenario


def test_one_figure_is_for_all_gpus(tmp_path: Path) -> None:
    quotas = quotas_of(tmp_path, "  queues: [{name: a, quota: 12}]\n")
    assert quotas is not None
    assert quotas.flavors == ((0, 1),)
    assert quotas_of(tmp_path, "  queues: [{name: a}]\n") is None, "no queue has a quota"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cohorts: [{name: a, parent: b}, {name: b, parent: a}]", "scheduler.cohorts: the cohorts a -> b -> a stand in a circle"),
        ("cohorts: [{name: a, parent: x}]", "scheduler.cohorts: cohort a: there is no cohort 'x'; allowed: a"),
        ("cohorts: [{name: a}, {name: a}]", "scheduler.cohorts: cohorts need different names; given: a, a"),
        ("cohorts: [{name: a, borrowing_limit: 3}]", "scheduler.cohorts.0: borrowing_limit needs a parent"),
        ("queues: [{name: q, quota: 1, cohort: x}]", "scheduler: queue q: there is no cohort 'x'; allowed: none, since"),
        ("queues: [{name: q, quota: 1, lending_limit: 1}]", "queues.yaml:7: scheduler.queues.0: lending_limit needs a cohort"),
        ("queues: [{name: q, preemption: {reclaim_within_cohort: any}}]", "preemption.reclaim_within_cohort needs a cohort"),
        ("queues: [{name: q, preemption: {within_queue: lower-priority}}]", "preemption.within_queue needs a quota"),
        ("queues: [{name: q, preemption: {borrow_within_cohort: lower-priority}}]", "borrow_within_cohort needs reclaim_within_cohort"),
        ("queues: [{name: q, preemption: {within_queue: sometimes}}]", "should be 'never', 'lower-priority' or"),
        ("queues: [{name: q, queueing_strategy: lifo}]", "scheduler.queues.0.queueing_strategy: input should be 'best-effort-fifo' or"),
        ("queues: [{name: q, quota: -1}]", "scheduler.queues.0.quota.*: input should be greater than or equal to 0, got -1"),
        ("queues: [{name: q, quota: {H100: 1.5}}]", "scheduler.queues.0.quota.H100: input should be a valid integer"),
        ("queues: [{name: q, quota: {}}]", "scheduler.queues.0.quota: no GPU type is named"),
        ("queues: [{name: q, cohort: c}]\n  cohorts: [{name: c}]", "a queue of a cohort needs a quota"),
        ("queues: [{name: q, cohort: c, quota: {H100: 4}, lending_limit: 2}]\n  cohorts: [{name: c}]", "lending_limit is for '*', which"),
        (
            "queues: [{name: q, cohort: c, quota: 4, lending_limit: 5}]\n  cohorts: [{name: c}]",
            "lending_limit is 5, more than the quota of 4",
        ),
        (
            "queues: [{name: q, quota: {H200: 4}}]",
            "queues.0.quota: 'H200' is no GPU type of this cluster; allowed: *, H100, B200",
        ),
        ("queues: [{name: q, quota: {H100: 4, hgx-h100: 4}}]", "scheduler.queues.0.quota: H100 and hgx-h100 are the same GPUs here"),
        (
            "cohorts: [{name: c, quota: 8}]\n  queues: [{name: q, cohort: c, quota: {H100: 4}}]",
            "scheduler.cohorts.0.quota: no queue in the tree of cohort c has a quota for the same GPUs",
        ),
        (
            "tenant_limits: {default: {max_gpus: -1}}",
            "tenant_limits.default.max_gpus: input should be greater than or equal to 0",
        ),
        ("tenant_limits: {alice: {max_gpus: 1}}", "scheduler.tenant_limits.alice: unknown key; allowed: default, by_name"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        quotas_of(tmp_path, f"  {text}\n")
    assert message in str(error.value)
