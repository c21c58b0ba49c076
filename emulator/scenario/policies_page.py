"""docs/policy-reference.md, written from the shelves: ``python -m emulator.scenario.policies_page docs/policy-reference.md``."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from emulator.scheduler import placements, policies
from emulator.scheduler.placement import Placement
from emulator.scheduler.policy import Count, NotNegative, Policy, Positive

_INTRO = """\
# Reference of the policies and placements

Written by `python -m emulator.scenario.policies_page docs/policy-reference.md` from the docstrings of `emulator/scheduler/policies/` and
`emulator/scheduler/placements/`; do not edit. [Policies](policies.md) says how to choose one, and how to write your own.

Options are given by `--policy-option NAME=VALUE` and `--placement-option NAME=VALUE`, or as `policy_options` and `placement_options` of the
scenario's section `scheduler`. A list or a mapping is written as JSON: `--policy-option 'shares={"research": 3}'`.
"""


def markdown() -> str:
    """The whole page."""
    lines = [_INTRO]
    lines += _section("Policies", "--policy", policies.POLICIES, lambda policy: policy.plan, policies.__name__)
    lines += _section("Placements", "--placement", placements.PLACEMENTS, lambda placement: placement.place, placements.__name__)
    return "\n".join(lines)


def docstring(name: str, package: str) -> str:
    """What the file of a policy or placement says of it."""
    return inspect.cleandoc(import_module(f"{package}.{name.replace('-', '_')}").__doc__ or "")


def _section(
    title: str,
    option: str,
    shelf: Mapping[str, Policy] | Mapping[str, Placement],
    function: Callable[[Any], Callable[..., Any]],
    package: str,
) -> Iterator[str]:
    yield f"## {title}\n"
    for name, one in shelf.items():
        yield f"### `{option} {name}`\n"
        yield re.sub("``", "`", docstring(name, package)) + "\n"
        options = [option for option in inspect.signature(function(one)).parameters.values() if option.default is not option.empty]
        if options:
            yield "| option | type | default |\n|---|---|---|"
            yield "\n".join(f"| `{option.name}` | {_type(option)} | {_default(option)} |" for option in options) + "\n"
            yield re.sub("``", "`", inspect.getdoc(function(one)) or "") + "\n"


def _type(option: inspect.Parameter) -> str:
    kind = option.annotation
    text = (
        kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "").replace("collections.abc.", "").replace(" | None", "")
    )
    for name, constrained in (("float above 0", Positive), ("float from 0", NotNegative), ("int from 0", Count)):
        text = text.replace(str(constrained).replace("typing.", ""), name)
    if get_origin(kind) is Literal:
        text = " or ".join(get_args(kind))
    return text


def _default(option: inspect.Parameter) -> str:
    if option.name == "seed":
        return "the scenario's"
    default = option.default
    return "none" if default is None or default == () else str(list(default) if isinstance(default, tuple) else default).lower()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), "utf-8")
