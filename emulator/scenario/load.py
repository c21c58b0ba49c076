"""Reading scenarios: presets and YAML files, ``--set`` overrides, and errors that say where and what is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from emulator.scenario.cluster import SIZES
from emulator.scenario.models import Scenario
from emulator.scenario.power import SERIES
from emulator.scenario.units import format_duration, parse_duration
from topology import yaml_lines
from topology.files import MOST_HAND_WRITTEN_BYTES, UnreadableFile, read_whole
from topology.yaml_lines import YamlError

#: A YAML file with more nodes than this is no scenario, or expands without end by aliases.
MOST_NODES = 100_000
_Path = yaml_lines.Path


class ScenarioError(ValueError):
    """A scenario that cannot be read or is not one; the message names file, line, field and what is allowed."""


@dataclass(frozen=True)
class _Source:
    """Where a value came from: the file's line of every path in it, and the overrides by path."""

    name: str
    lines: dict[_Path, int]
    overrides: dict[_Path, str]

    def place(self, path: _Path) -> str:
        for given, override in self.overrides.items():
            if given[: len(path)] == path and path not in self.lines:
                return f"--set {override}"
        for length in range(len(path), 0, -1):
            if path[:length] in self.overrides:
                return f"--set {self.overrides[path[:length]]}"
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}"
        return self.name


def presets() -> list[tuple[str, str]]:
    """(name, description) of every built-in scenario, by name."""
    return [(name, str(yaml.safe_load(file.read_text("utf-8"))["description"])) for name, file in _preset_files().items()]


def _preset_files() -> dict[str, Traversable]:
    """By name, in its order."""
    folder = resources.files("emulator.scenario") / "presets"
    return dict(sorted((file.name.removesuffix(".yaml"), file) for file in folder.iterdir() if file.name.endswith(".yaml")))


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a preset's name or a YAML file, with ``a.b=value`` overrides (values in YAML).

    Raises ScenarioError: no such file or preset, bad YAML, an unknown key, a value outside what is allowed.
    """
    name, text = _read(name_or_path)
    value, lines = _parse(name, text)
    given: dict[_Path, str] = {}
    for override in overrides:
        _override(value, override, given)
    _locate(value, name, given)
    source = _Source(name, lines, given)
    try:
        return Scenario.model_validate(value)
    except ValidationError as error:
        problems = [_explain(problem, source) for problem in error.errors(include_url=False)]
        shown = problems[:5] + ([f"and {len(problems) - 5} more"] if len(problems) > 5 else [])
        raise ScenarioError("\n".join(shown)) from None


def dump(scenario: Scenario) -> str:
    """YAML that loads back to an equal scenario."""
    return str(yaml.safe_dump(scenario.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _read(name_or_path: str | Path) -> tuple[str, str]:
    """(what to call it in messages, its text)."""
    name = str(name_or_path)
    known = _preset_files()
    if isinstance(name_or_path, str) and name in known:
        return f"preset {name}", known[name].read_text("utf-8")
    try:
        return name, read_whole(name, MOST_HAND_WRITTEN_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{name}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    except (OSError, ValueError) as error:
        if "/" in name or name.endswith((".yaml", ".yml")) or isinstance(error, UnreadableFile):
            reason = getattr(error, "strerror", None) or error
            raise ScenarioError(f"{name}: cannot be read: {reason}") from None
        close = get_close_matches(name.lower(), known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ScenarioError(f"no scenario called {name!r}: neither a preset nor a file.{hint} Presets: {', '.join(known)}") from None


def _parse(name: str, text: str) -> tuple[dict[str, Any], dict[_Path, int]]:
    """The document and the line of every path in it."""
    try:
        value, lines = yaml_lines.typed(text, MOST_NODES)
    except YamlError as error:
        raise ScenarioError(f"{name}{f':{error.line}' if error.line else ''}: {error}") from None
    if not isinstance(value, dict):
        raise ScenarioError(f"{name}: not a scenario: a mapping of sections (name, cluster, ...) is needed")
    return value, lines


def _locate(value: dict[str, Any], name: str, given: dict[_Path, str]) -> None:
    """Files are where the scenario's file says, seen from its own folder; where an override says it, from here."""
    if name.startswith("preset "):
        return
    cluster, power, faults = (found if isinstance(found := value.get(key), dict) else {} for key in ("cluster", "power", "faults"))
    if isinstance(faults.get("script"), str) and ("faults", "script") not in given:
        faults["script"] = str(Path(name).parent / faults["script"])
    holders: list[tuple[_Path, Any]] = [(("cluster",), cluster), *[(("power", key), power.get(key)) for key in SERIES]]
    holders += [(("cluster", "parts", str(at)), part) for at, part in enumerate(_listed(cluster.get("parts")))]
    for at, service in enumerate(_listed(value.get("services"))):
        requests = service.get("requests") if isinstance(service, dict) else None
        holders.append((("services", str(at), "requests"), requests))
    for place, holder in holders:
        if isinstance(holder, dict) and isinstance(holder.get("path"), str) and (*place, "path") not in given:
            holder["path"] = str(Path(name).parent / holder["path"])


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _override(value: dict[str, Any], override: str, given: dict[_Path, str]) -> None:
    """Put one ``a.b=value`` into the document."""
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise ScenarioError(f"--set {override}: not of the form section.key=value, e.g. clock.cycle=1s")
    path: _Path = tuple(steps)
    if steps[:2] == ["workload", "options"] and len(steps) > 2:
        new: Any = text  # an option of a reader stays text and is not interpreted as YAML
        path = ("workload", "options", ".".join(steps[2:]))
    else:
        try:
            new = yaml.safe_load(text) if text.strip() else None
        except (yaml.YAMLError, ValueError, RecursionError):
            new = text
    holder: Any = value
    for depth, step in enumerate(path[:-1]):
        inner = _step(holder, step, override)
        if inner is None:
            inner = {}
            _put(holder, step, inner, override)
        if not isinstance(inner, dict | list):
            raise ScenarioError(f"--set {override}: {'.'.join(map(str, path[: depth + 1]))} is a single value, so it has no keys")
        holder = inner
    if path[0] == "cluster" and len(path) in (2, 4) and path[-1] in SIZES and isinstance(holder, dict):
        for size in SIZES:  # an override of one replaces the others
            if (*path[:-1], size) not in given:
                holder.pop(size, None)
    _put(holder, path[-1], new, override)
    given[path] = override


def _step(holder: Any, step: str | int, override: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(step)
    return holder[_index(holder, step, override)]


def _put(holder: Any, step: str | int, new: Any, override: str) -> None:
    """``None`` takes a key out, so that it has its default."""
    if isinstance(holder, dict) and new is None:
        holder.pop(step, None)
    elif isinstance(holder, dict):
        holder[step] = new
    else:
        holder[_index(holder, step, override)] = new


def _index(holder: list[Any], step: str | int, override: str) -> int:
    if not str(step).isdecimal() or not int(step) < len(holder):
        raise ScenarioError(f"--set {override}: {step!r} is not an index of a list with {len(holder)} items")
    return int(step)


def _explain(problem: Any, source: _Source) -> str:
    """One line for one of pydantic's errors."""
    path: _Path = tuple(problem["loc"])
    dotted = ".".join(map(str, path)) or "scenario"
    kind, got = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        allowed = _keys(path[:-1])
        close = get_close_matches(str(path[-1]), allowed, n=1)
        message = f"unknown key{f', did you mean {close[0]}?' if close else ''}; allowed: {', '.join(allowed)}"
    elif kind == "missing":
        message = "missing"
    elif kind == "model_type":
        message = f"a section is needed, with keys {', '.join(_keys(path))}"
    elif kind in ("greater_than_equal", "less_than_equal") and isinstance(got, str):
        message = f"{got} is too {'little' if kind == 'greater_than_equal' else 'much'}; allowed: {_limit(got, **problem['ctx'])}"
    elif kind == "value_error":
        message = str(problem["ctx"]["error"])
    else:
        shown = repr(got)
        message = f"{problem['msg'][0].lower()}{problem['msg'][1:]}, got {shown if len(shown) <= 80 else shown[:77] + '...'}"
    return f"{source.place(path)}: {dotted}: {message}"


def _limit(got: str, ge: float | None = None, le: float | None = None) -> str:
    """A bound in the unit of what was given: a percentage, a duration, or a power."""
    limit = ge if ge is not None else le
    assert limit is not None
    try:
        parse_duration(got)
    except ValueError:
        shown = f"{limit * 100:g}%" if got.strip().endswith("%") else f"{limit:g} W"
    else:
        shown = format_duration(int(limit))
    return f"{shown} or more" if ge is not None else f"at most {shown}"


def _keys(path: _Path) -> list[str]:
    """The keys allowed in a section."""
    model: type[BaseModel] = Scenario
    for step in path:
        field = model.model_fields.get(str(step)) if isinstance(step, str) else None
        if field is None:
            continue
        models = _models(field.annotation)
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
