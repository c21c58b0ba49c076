"""The files that a scenario reads besides its own."""

from pathlib import Path
from typing import Any

from emulator.scenario.models import Scenario
from emulator.scenario.policies import split_file


def files_of(scenario: Scenario) -> list[Path]:
    """The clusters' files, the trace and the policy's file."""
    clusters = [scenario.cluster, *(getattr(scenario.cluster, "parts", None) or ())]
    paths = [cluster.path for cluster in clusters if cluster.path is not None]
    if scenario.workload.kind == "trace" and scenario.workload.path is not None:
        paths.append(scenario.workload.path)
    if (policy := split_file(scenario.scheduler.policy)) is not None:
        paths.append(str(policy[0]))
    return [Path(path) for path in paths]


def as_json(scenario: Scenario) -> dict[str, Any]:
    """All of a scenario as JSON values, its files named from the root; ``Scenario.model_validate`` makes an equal one of it."""
    value = scenario.model_dump(mode="json")
    cluster = value["cluster"]
    for holder in (value["workload"], cluster, *(cluster.get("parts") or ())):
        if holder.get("path") is not None:
            holder["path"] = str(Path(holder["path"]).absolute())
    if (policy := split_file(value["scheduler"]["policy"])) is not None:
        value["scheduler"]["policy"] = f"{policy[0].absolute()}:{policy[1]}"
    return value
