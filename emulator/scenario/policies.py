"""Policies and placements by name. They are on the shelf, come from an installed package (entry points of the groups ``gigawatt.policies``
and ``gigawatt.placements``), or are a function in a file.

A policy takes the draft of the cycle, a placement the index of free GPUs and what is asked for, and both their options as keywords with
defaults: ``def plan(draft, weight: float = 1.0)``, ``def place(free, ask, weight: float = 1.0)``. An option that is called ``seed`` is the
scenario's seed unless it is given. A package may give such a function, or a ``Policy`` or ``Placement``.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from emulator.scenario.outside import SCHEME, outside_address
from emulator.scheduler.placement import Placement
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy


class UnusablePolicy(ValueError):
    """No policy or placement of this name, or it cannot be loaded; the text says why and what is allowed."""


Found = TypeVar("Found", Policy, Placement)


@dataclass(frozen=True)
class _Kind(Generic[Found]):
    """What policies and placements differ in."""

    word: str
    group: str  # of entry points
    shelf: Mapping[str, Found]
    made: type[Found]
    does: str  # the field that is the function
    arguments: tuple[str, ...]  # of the function, before its options
    also: str = "or FILE.py:FUNCTION"  # what is allowed besides names


_POLICY = _Kind("policy", "gigawatt.policies", POLICIES, Policy, "plan", ("the draft",), "FILE.py:FUNCTION, or grpc://HOST:PORT")
_PLACEMENT = _Kind("placement", "gigawatt.placements", PLACEMENTS, Placement, "place", ("the index of free GPUs", "what is asked for"))


def split_file(name: str) -> tuple[Path, str] | None:
    """File and function of ``path.py:function``; None for the name of a policy or placement."""
    path, colon, function = name.rpartition(":")
    return (Path(path), function) if colon and path.endswith(".py") and not name.startswith(SCHEME) else None


def check_policy(name: str) -> str:
    """``name`` itself. Raises ValueError where no policy is called so; files are looked at by ``find``, programs outside by nobody here."""
    if outside_address(name) is not None:
        return name
    return _checked(_POLICY, name)


def check_placement(name: str) -> str:
    """``name`` itself. Raises UnusablePolicy where no placement is called so; files are looked at by ``find_placement``."""
    return _checked(_PLACEMENT, name)


def find(name: str, options: Mapping[str, Any], seed: int = 0) -> Policy:
    """The policy of this name, with these options. Raises UnusablePolicy."""
    return _found(_POLICY, name, options, seed)


def find_placement(name: str, options: Mapping[str, Any], seed: int = 0) -> Placement:
    """The placement of this name, with these options. Raises UnusablePolicy."""
    return _found(_PLACEMENT, name, options, seed)


def _checked(kind: _Kind[Found], name: str) -> str:
    if name in kind.shelf or split_file(name) is not None:
        return name
    installed: dict[str, EntryPoint] = _installed(kind.group)
    if name in installed:
        return name
    known = [*kind.shelf, *installed]
    close = get_close_matches(name, known, n=1)
    meant = f", did you mean {close[0]}?" if close else ""
    raise UnusablePolicy(f"there is no {kind.word} {name!r:.80}{meant}; allowed: {', '.join(known)}, {kind.also}")


def _found(kind: _Kind[Found], name: str, options: Mapping[str, Any], seed: int) -> Found:
    if (place := split_file(name)) is not None:
        path, function = place
        return _made(kind, name, _from_file(kind, path, function), options, seed, str(path.absolute()))
    _checked(kind, name)
    if name in kind.shelf:
        return _made(kind, name, kind.shelf[name], options, seed, "")
    entry = _installed(kind.group)[name]
    try:
        given = entry.load()
    except Exception as error:
        raise UnusablePolicy(f"{kind.word} {name} of {entry.value} cannot be loaded: {type(error).__name__}: {error}") from error
    source = inspect.getsourcefile(inspect.unwrap(getattr(given, kind.does, given)))
    return _made(kind, name, given, options, seed, source or entry.value)


def _installed(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def _from_file(kind: _Kind[Found], path: Path, function: str) -> Any:
    """What is called ``function`` in the file, which is run for it."""
    what = f"{kind.word} {path}:{function}"
    try:
        code = compile(path.read_text("utf-8"), str(path.absolute()), "exec")
    except OSError as error:
        raise UnusablePolicy(f"{what}: {path} cannot be read: {error.strerror}; allowed: a Python file") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise UnusablePolicy(f"{what}: {path}{line} is no Python: {getattr(error, 'msg', error)}") from error
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(code, names)  # noqa: S102 - the user's own file, as if it had been started
    except (Exception, SystemExit) as error:
        raise UnusablePolicy(f"{what}: {path} fails when it is read: {type(error).__name__}: {error}") from error
    if function not in names:
        functions = [name for name, value in names.items() if inspect.isfunction(value) and not name.startswith("_")]
        raise UnusablePolicy(f"{what}: {path} has no {function}; allowed: {', '.join(functions) or 'a function there'}")
    return names[function]


def _made(kind: _Kind[Found], name: str, given: Any, options: Mapping[str, Any], seed: int, file: str) -> Found:
    if isinstance(given, kind.made):
        changes: dict[str, Any] = {kind.does: _with_options(kind, name, getattr(given, kind.does), options, seed)}
        return replace(given, name=name, file=file, **changes)
    if not callable(given):
        raise UnusablePolicy(f"{kind.word} {name} is {type(given).__name__}; allowed: a function of {' and '.join(kind.arguments)}")
    return kind.made(name, _with_options(kind, name, given, options, seed), file=file)


def _with_options(kind: _Kind[Found], name: str, function: Callable[..., Any], options: Mapping[str, Any], seed: int) -> Callable[..., Any]:
    """``function`` with its options, of the types that it annotates."""
    what, arguments = f"{kind.word} {name}", " and ".join(kind.arguments)
    parameters = list(inspect.signature(function).parameters.values())
    first, others = parameters[: len(kind.arguments)], parameters[len(kind.arguments) :]
    taken = [one for one in first if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(taken) < len(kind.arguments):
        raise UnusablePolicy(f"{what} takes {len(taken) or 'no'} argument; allowed: a function of {arguments}")
    known = {one.name: one for one in others}
    if missing := [one.name for one in others if one.default is one.empty or one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]:
        raise UnusablePolicy(f"{what}: {', '.join(missing)} has no default; allowed: options with defaults behind {arguments}")
    if unknown := [key for key in options if key not in known]:
        allowed = f"its options are {', '.join(known)}" if known else "it has none"
        raise UnusablePolicy(f"{what} has no option {unknown[0]!r}; {allowed}")
    if "seed" in known:
        options = {"seed": seed} | dict(options)
    return partial(function, **{key: _typed(what, known[key], value) for key, value in options.items()}) if options else function


def _typed(what: str, option: inspect.Parameter, value: Any) -> Any:
    """``value`` as what ``option`` is annotated with; of a list or mapping, a text is JSON."""
    if option.annotation is option.empty:
        return value
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(option.annotation)
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and option.annotation is not str:
            return adapter.validate_json(value)
        return adapter.validate_python(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UnusablePolicy(f"{what}: option {option.name}: {problem['msg']}, got {problem['input']!r:.80}") from error
    except PydanticUserError as error:
        wanted = getattr(option.annotation, "__name__", option.annotation)
        raise UnusablePolicy(
            f"{what}: option {option.name} is of the type {wanted}, which no text can be made into; allowed: str, int, float, bool"
        ) from error
