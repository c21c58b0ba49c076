"""Every number of a scenario at both ends of what is allowed: the emulation runs there; and one step beyond, it is refused by name."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from emulator.racks.units import KINDS
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import ScenarioError
from emulator.scenario.load import load
from emulator.scenario.models import Scenario

TEXT = """
name: bounds
cluster: {host: hgx-h100, hosts: 16, hosts_per_rack: 4, switch: qm9700, oversubscription: {leaf: 3}}
clock: {cycle: 10s, until: 10m, speed: max}
workload: {kind: generated, generated: {load: 0.5}}
fabric: {faults: {enabled: true}}
runtime: {actors: inline}
"""
#: Their upper ends are a matter of how big a machine is at hand, or they belong to builders and kinds that this scenario has not.
LEFT_OUT = {"cluster", "clock.until", "workload.generated.reference_gpus", "workload.generated.jobs_per_day"} | {
    *("scheduler.sites.links", "scheduler.sites.caps", "scheduler.sites.datasets", "scheduler.reservations.hosts"),
    *("power.site_caps", "power.rows", "services"),
}
#: What has a rule of its own: what is allowed at its ends, what lies beyond.
_BANDWIDTH = ["1bps", "1000000Pbps"], ["0.9bps", "1000001Pbps", "0bps", "-1bps", ".nan"]
_INTERVAL = ["1ns", "366d", "young", "daly"], ["0s", "-1ns", "8785h", "-1", ".nan"]
OWN_RULE = {
    "jobs.checkpoint.interval": _INTERVAL,
    "workload.generated.checkpoint": _INTERVAL,
    "clock.speed": (["0.000001", "1000000000", "max"], ["0.0000009", "1000000001", "0", "-1", ".nan", "-.inf"]),
    "scheduler.sites.bandwidth": _BANDWIDTH,
    "jobs.checkpoint.gpu_bandwidth": _BANDWIDTH,
    "jobs.checkpoint.copy_bandwidth": _BANDWIDTH,
    "jobs.checkpoint.storage_bandwidth": _BANDWIDTH,
    "faults.script.flap": (["1ns", "3649d"], ["0s", "3651d", "-1s"]),
    "faults.script.every": (["10s", "3650d"], ["0s", "3651d", "-1s"]),
    "runtime.actors": (["inline", "1"], ["0", "10001", "1.5", ".nan", "-1"]),
}
UNITS = {"power.cap": "W", "power.events.to": "W", "power.smoothing.battery": "W", "jobs.checkpoint.state_per_gpu": "B"}
DURATIONS = {
    *("clock.cycle", "workload.generated.day", "scheduler.preempt_interval", "scheduler.preempt_after", "jobs.restart_overhead"),
    *("scheduler.sites.every", "scheduler.sites.move_after"),
    *("scheduler.elastic_interval", "jobs.grace_period", "jobs.stragglers.stall_median"),
    *("faults.script.at", "faults.script.duration"),
    *(f"faults.units.{kind}.repair" for kind in KINDS),
    *("faults.new_hosts.settle", "faults.new_hosts.burn_in", "faults.suspects.repair", "faults.slow.duration"),
    *("jobs.requeue_backoff.initial", "jobs.requeue_backoff.max"),
    *("jobs.stall_timeout", "faults.repair", "telemetry.publish_interval", "runtime.health_check_initial_delay"),
    *("scheduler.reservations.start", "scheduler.reservations.duration", "scheduler.reservations.every"),
    *("power.raise_after", "power.events.at", "power.events.duration", "power.smoothing.battery_duration"),
    *("power.supply.repeat", "power.outdoor.repeat", "power.carbon.repeat"),
    "serving.interval",
    *("runtime.health_check_period", "runtime.health_check_timeout", "runtime.answer_timeout", "runtime.node_wait"),
}
#: What else has to be so, or the one contradicts the other.
SHORT = {
    ("workload.generated.load", "0.001"): ["workload.generated.jobs_per_day=1"],
    ("power.cap", "1.0W"): ["power.over_cap=none"],
    ("power.cap", "1W"): ["power.over_cap=none"],
}


def numbers(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, type, dict[str, Any]]]:
    """(dotted path, int or float, its bounds by name) of every number below a section."""
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        here = (*path, name)
        if ".".join(here) in LEFT_OUT:
            continue
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from numbers(kind, here)
        metadata = [*field.metadata, *(one for kind in kinds for one in getattr(kind, "__metadata__", ()))]
        bounds: dict[str, Any] = {}
        for one in metadata:
            inner = getattr(one, "metadata", [one])
            for limit in inner:
                bounds |= {key: getattr(limit, key) for key in ("ge", "gt", "le", "lt") if getattr(limit, key, None) is not None}
        plain = next((kind for kind in (int, float) if kind in kinds or any(kind in get_args(part) for part in kinds)), None)
        if plain is not None and bool not in kinds:
            yield ".".join(here), plain, bounds


NUMBERS = {path: (kind, bounds) for path, kind, bounds in numbers(Scenario)}


def test_every_number_has_both_bounds() -> None:
    assert len(NUMBERS) > 30
    unbounded = {
        path
        for path, (_, bounds) in NUMBERS.items()
        if path not in OWN_RULE and not (bounds.keys() & {"ge", "gt"} and bounds.keys() & {"le", "lt"})
    }
    assert not unbounded


def ends(path: str) -> tuple[list[str], list[str]]:
    """(What is allowed at the two ends, what lies just outside), as one writes it."""
    if path in OWN_RULE:
        return OWN_RULE[path]
    kind, bounds = NUMBERS[path]
    unit = UNITS.get(path) or ("ns" if path in DURATIONS else "")

    def step(value: float, way: int) -> float:
        return value + way if kind is int else math.nextafter(value, way * math.inf)

    low, high = bounds["ge" if "ge" in bounds else "gt"], bounds["le" if "le" in bounds else "lt"]
    inner = [low if "ge" in bounds else step(low, 1), high if "le" in bounds else step(high, -1)]
    outer = [step(inner[0], -1), step(inner[1], 1), *([] if kind is int else [math.nan, math.inf, -math.inf])]
    return [text(value, unit) for value in inner], [text(value, unit) for value in outer]


def text(value: float, unit: str) -> str:
    if not isinstance(value, float):
        return f"{value}{unit}"
    return (
        f".{value}".replace(".-", "-.")
        if not math.isfinite(value)
        else f"{value!r}{unit}"
        if unit
        else repr(float(value))
        if "e" not in repr(value)
        else f"{value:.17e}".replace("e", "e").replace("e-0", "e-0")
    )


def at_power(path: str, value: str) -> list[str]:
    if path.startswith("power.heat."):
        weather = "power.outdoor={points: [[0s, 20]]}"
        return [f"power.heat={{{path.rpartition('.')[2]}: {value}}}", "power.cooling=dry", weather]
    if path.startswith("power.events."):
        field = path.rpartition(".")[2]
        given = {"at": "1m", "duration": "2m", **({} if field == "to" else {"reduce": "25%"})} | {field: value}
        return [f"power.events=[{{{', '.join(f'{key}: {one}' for key, one in given.items())}}}]"]
    if path.startswith("power.") and path.endswith(".repeat"):
        section, one = path.split(".")[1], {"supply": "1GW", "outdoor": "20", "carbon": "300"}[path.split(".")[1]]
        return [f"power.{section}={{points: [[0s, {one}]], repeat: {value}}}", *(["power.cooling=dry"] if section == "outdoor" else [])]
    return [f"{path}={value}"]


def at(path: str, value: str) -> list[str]:
    if path == "scheduler.queues.priority":
        return [f"scheduler.queues=[{{name: default, priority: {value}}}]"]
    if path.startswith("scheduler.tenant_limits.by_name."):
        return [f"scheduler.tenant_limits.by_name={{alice: {{{path.rpartition('.')[2]}: {value}}}}}"]
    if path.startswith("scheduler.reservations."):
        field = path.rpartition(".")[2]
        given = {"name": "kept", "hosts": "4", "start": "1m", "duration": "1ns"} | {field: value}
        given |= {"every": {"every": value, "times": "1"}, "times": {"every": "1m", "times": value}}.get(field, {})
        return [f"scheduler.reservations=[{{{', '.join(f'{key}: {one}' for key, one in given.items())}}}]"]
    if path.startswith("faults.script."):
        field = path.rpartition(".")[2]
        given = {"at": "1s", "kind": "link", "name": "0"} | {field: value}
        given |= {"flap": {"every": "3650d"}, "every": {"flap": "1ns"}}.get(field, {})
        return [f"faults.script=[{{{', '.join(f'{key}: {one}' for key, one in given.items())}}}]"]
    if path.startswith("power."):
        return at_power(path, value)
    if path == "faults.repair":
        return [f"faults.repair={{faulty_gpu: {value}}}", "faults.host_rate_per_1000_node_days=10000"]
    return [f"{path}={value}"]


ALLOWED = [(path, value) for path in NUMBERS for value in ends(path)[0]]
REFUSED = [(path, value) for path in NUMBERS for value in ends(path)[1]]


@pytest.mark.parametrize(("path", "value"), ALLOWED, ids=lambda part: part)
def test_the_emulation_runs_at_both_ends(tmp_path: Path, path: str, value: str) -> None:
    file = tmp_path / "bounds.yaml"
    file.write_text(TEXT)
    session = open_session(load(file, [*at(path, value), *SHORT.get((path, value), ())]))
    try:
        outcome = session.run_to_end()
        values = summary(outcome)
        assert values["emulated_seconds"] == 600.0 or path == "clock.cycle"
        assert math.isfinite(values["it_energy_joules"])
        assert math.isfinite(values["power_watts"]["peak"])
    finally:
        session.close()


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=lambda part: part)
def test_what_lies_beyond_is_refused_by_name(tmp_path: Path, path: str, value: str) -> None:
    file = tmp_path / "bounds.yaml"
    file.write_text(TEXT)
    with pytest.raises(ScenarioError) as caught:
        load(file, at(path, value))
    assert path.rsplit(".", maxsplit=1)[-1] in str(caught.value)
