"""The files that a scenario reads besides its own."""

from pathlib import Path
from typing import Any

from emulator.scenario.models import Scenario
from emulator.scenario.policies import split_file
from emulator.scenario.power import SERIES


def files_of(scenario: Scenario) -> list[Path]:
    """The clusters' files, the traces, the script of faults, the series of power, and the files of the policy and the placement."""
    clusters = [scenario.cluster, *(getattr(scenario.cluster, "parts", None) or ())]
    paths = [cluster.path for cluster in clusters if cluster.path is not None]
    if scenario.workload.kind == "trace" and scenario.workload.path is not None:
        paths.append(scenario.workload.path)
    paths += [service.requests.path for service in scenario.services if service.requests.path is not None]
    if scenario.faults.script_file is not None:
        paths.append(scenario.faults.script_file)
    series = [getattr(scenario.power, key) for key in SERIES]
    paths += [one.path for one in series if one is not None and one.path is not None]
    files = (split_file(name) for name in (scenario.scheduler.policy, scenario.scheduler.placement))
    paths += [str(file[0]) for file in files if file is not None]
    return [Path(path) for path in paths]


def as_json(scenario: Scenario) -> dict[str, Any]:
    """All of a scenario as JSON values, its files named from the root; ``Scenario.model_validate`` makes an equal one of it."""
    value = scenario.model_dump(mode="json")
    cluster = value["cluster"]
    series = [value["power"][key] for key in SERIES if value["power"][key] is not None]
    requests = [service["requests"] for service in value["services"]]
    for holder in (value["workload"], cluster, *(cluster.get("parts") or ()), *series, *requests):
        if holder.get("path") is not None:
            holder["path"] = str(Path(holder["path"]).absolute())
    if scenario.faults.script_file is not None:
        value["faults"]["script_file"] = str(Path(scenario.faults.script_file).absolute())
    for key in ("policy", "placement"):
        if (file := split_file(value["scheduler"][key])) is not None:
            value["scheduler"][key] = f"{file[0].absolute()}:{file[1]}"
    return value
