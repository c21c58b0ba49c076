"""The quotas of a scenario's queues, for the kinds of GPU that its cluster has."""

from collections.abc import Mapping

from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from emulator.scenario.queues import ALL_GPUS, CohortSettings, QueueSettings
from emulator.scheduler.quota import Flavor, Holder, Quotas, parents_of
from emulator.scheduler.quota_tree import ROOT, Quota
from emulator.workload.gpu_models import matching, names
from topology.cluster import Cluster


def build_quotas(scenario: Scenario, cluster: Cluster) -> Quotas | None:
    """None where no queue has a quota. Raises ScenarioError naming the field: a GPU type that the cluster does not have or that is named
    twice, and a cohort's quota or limit that no queue could use or meet.
    """
    settings = scenario.scheduler
    queues = [
        _holder(queue, queue.cohort, f"scheduler.queues.{number}", scenario.name, cluster) for number, queue in enumerate(settings.queues)
    ]
    cohorts = [
        _holder(cohort, cohort.parent, f"scheduler.cohorts.{number}", scenario.name, cluster)
        for number, cohort in enumerate(settings.cohorts)
    ]
    _check_cohorts_are_met(scenario, queues, cohorts)
    if not any(queue.quotas for queue in queues):
        return None
    return Quotas(queues, cohorts, [host_type.name for host_type in cluster.host_types])


def _holder(settings: QueueSettings | CohortSettings, cohort: str | None, field: str, scenario: str, cluster: Cluster) -> Holder:
    given = {"quota": settings.quota, "borrowing_limit": settings.borrowing_limit, "lending_limit": settings.lending_limit}
    found = {key: _by_flavor(amounts or {}, f"{field}.{key}", scenario, cluster) for key, amounts in given.items()}
    flavors = dict.fromkeys(flavor for amounts in found.values() for flavor in amounts)
    quotas = {
        flavor: Quota(found["quota"].get(flavor, 0), found["borrowing_limit"].get(flavor), found["lending_limit"].get(flavor))
        for flavor in flavors
    }
    return Holder(settings.name, cohort or "", quotas)


def _by_flavor(amounts: Mapping[str, int], field: str, scenario: str, cluster: Cluster) -> dict[Flavor, int]:
    """In milli-GPUs."""
    found: dict[Flavor, int] = {}
    named: dict[Flavor, str] = {}
    for name, gpus in amounts.items():
        flavor = tuple(range(len(cluster.host_types)) if name == ALL_GPUS else matching(cluster.host_types, name))
        if not flavor:
            allowed = ", ".join([ALL_GPUS, *names(cluster.host_types)])
            raise ScenarioError(f"scenario {scenario}: {field}: {name!r:.80} is no GPU type of this cluster; allowed: {allowed}")
        if flavor in found:
            raise ScenarioError(f"scenario {scenario}: {field}: {named[flavor]} and {name} are the same GPUs here; allowed: one of them")
        found[flavor], named[flavor] = gpus * 1000, name
    return found


def _check_cohorts_are_met(scenario: Scenario, queues: list[Holder], cohorts: list[Holder]) -> None:
    """Quotas of one kind of GPU are only shared with quotas of the same kind, so a cohort's without any queue's would do nothing."""
    parents = parents_of(queues, cohorts)

    def root_of(node: int) -> int:
        while parents[node] != ROOT:
            node = parents[node]
        return node

    used = {(root_of(number), flavor) for number, queue in enumerate(queues) for flavor in queue.quotas}
    for number, cohort in enumerate(cohorts):
        root = root_of(len(queues) + number)
        for flavor in cohort.quotas:
            if (root, flavor) not in used:
                given = scenario.scheduler.cohorts[number]
                field = next(key for key in ("quota", "borrowing_limit", "lending_limit") if getattr(given, key))
                text = f"no queue in the tree of cohort {cohort.name} has a quota for the same GPUs"
                allowed = "the GPU types that its queues' quotas name, in the same way"
                raise ScenarioError(f"scenario {scenario.name}: scheduler.cohorts.{number}.{field}: {text}; allowed: {allowed}")
