"""Policies and placements by name. Policies are on the shelf, come from an installed package (entry points of the group
``gigawatt.policies``), or are a function in a file.

A function takes the draft of the cycle, and its options as keywords with defaults: ``def plan(draft, weight: float = 1.0)``. A package may
give such a function, or a ``Policy``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from emulator.scheduler.placement import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy

GROUP = "gigawatt.policies"


class UnusablePolicy(ValueError):
    """No policy of this name, or it cannot be loaded; the text says why and what is allowed."""


def split_file(name: str) -> tuple[Path, str] | None:
    """File and function of ``path.py:function``; None for the name of a policy."""
    path, colon, function = name.rpartition(":")
    return (Path(path), function) if colon and path.endswith(".py") else None


def check_policy(name: str) -> str:
    """``name`` itself. Raises UnusablePolicy where no policy is called so; files are looked at by ``find``."""
    if name not in POLICIES and split_file(name) is None and name not in (installed := _installed()):
        raise UnusablePolicy(_unknown("policy", name, [*POLICIES, *installed]) + ", or FILE.py:FUNCTION")
    return name


def check_placement(name: str) -> str:
    """``name`` itself. Raises ValueError where no placement is called so."""
    if name not in PLACEMENTS:
        raise ValueError(_unknown("placement", name, list(PLACEMENTS)))
    return name


def _unknown(what: str, name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    meant = f", did you mean {close[0]}?" if close else ""
    return f"there is no {what} {name!r:.80}{meant}; allowed: {', '.join(known)}"


def find(name: str, options: Mapping[str, Any]) -> Policy:
    """The policy of this name, with these options. Raises UnusablePolicy."""
    if (place := split_file(name)) is not None:
        path, function = place
        return _made(name, _from_file(path, function), options, str(path.absolute()))
    check_policy(name)
    if name in POLICIES:
        return _made(name, POLICIES[name], options, "")
    entry = _installed()[name]
    try:
        given = entry.load()
    except Exception as error:
        raise UnusablePolicy(f"policy {name} of {entry.value} cannot be loaded: {type(error).__name__}: {error}") from error
    return _made(name, given, options, inspect.getsourcefile(inspect.unwrap(getattr(given, "plan", given))) or entry.value)


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _from_file(path: Path, function: str) -> Any:
    """What is called ``function`` in the file, which is run for it."""
    try:
        code = compile(path.read_text("utf-8"), str(path.absolute()), "exec")
    except OSError as error:
        raise UnusablePolicy(f"policy {path}:{function}: {path} cannot be read: {error.strerror}; allowed: a Python file") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UnusablePolicy(f"policy {path}:{function}: {path}{line} is no Python: {getattr(error, 'msg', error)}") from error
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(code, names)  # noqa: S102 - the user's own file, as if it had been started
    except (Exception, SystemExit) as error:
        raise UnusablePolicy(f"policy {path}:{function}: {path} fails when it is read: {type(error).__name__}: {error}") from error
    if function not in names:
        functions = [name for name, value in names.items() if inspect.isfunction(value) and not name.startswith("_")]
        raise UnusablePolicy(f"policy {path}:{function}: {path} has no {function}; allowed: {', '.join(functions) or 'a function there'}")
    return names[function]


def _made(name: str, given: Any, options: Mapping[str, Any], file: str) -> Policy:
    if isinstance(given, Policy):
        return replace(given, name=name, plan=_with_options(name, given.plan, options), file=file)
    if not callable(given):
        raise UnusablePolicy(f"policy {name} is {type(given).__name__}; allowed: a function of the draft")
    return Policy(name, _with_options(name, given, options), file=file)


def _with_options(name: str, plan: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """``plan`` with its options, of the types that it annotates."""
    first, *others = inspect.signature(plan).parameters.values() or (None,)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise UnusablePolicy(f"policy {name} takes no argument; allowed: a function of the draft")
    known = {one.name: one for one in others}
    if missing := [one.name for one in others if one.default is one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]:
        raise UnusablePolicy(f"policy {name}: {', '.join(missing)} has no default; allowed: options with defaults behind the draft")
    if unknown := [key for key in options if key not in known]:
        allowed = f"its options are {', '.join(known)}" if known else "it has none"
        raise UnusablePolicy(f"policy {name} has no option {unknown[0]!r}; {allowed}")
    return partial(plan, **{key: _typed(name, known[key], value) for key, value in options.items()}) if options else plan


def _typed(name: str, option: inspect.Parameter, value: Any) -> Any:
    """``value`` as what ``option`` is annotated with."""
    if option.annotation is option.empty:
        return value
    try:
        return TypeAdapter(option.annotation).validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UnusablePolicy(f"policy {name}: option {option.name}: {problem['msg']}, got {problem['input']!r:.80}") from error
    except PydanticUserError as error:
        wanted = getattr(option.annotation, "__name__", option.annotation)
        raise UnusablePolicy(
            f"policy {name}: option {option.name} is of the type {wanted}, which no text can be made into; allowed: str, int, float, bool"
        ) from error
