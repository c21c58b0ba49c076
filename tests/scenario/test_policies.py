"""Policies by name, from files and from installed packages, with their options."""

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from emulator.scenario import ScenarioError, build_cluster, load, policies
from emulator.scenario.files import as_json, files_of
from emulator.scenario.models import Scenario
from emulator.scenario.policies import UnusablePolicy, find, find_placement
from emulator.scenario.policies_page import docstring, markdown
from emulator.scheduler import policies as shelf
from emulator.scheduler.draft import Draft
from emulator.scheduler.free import FreeIndex
from emulator.scheduler.pending import by_estimate
from emulator.scheduler.placement import Ask
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy, PolicyError
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.workload.jobs import job_columns

MINE = """
seen = []
def plan(draft, weight: float = 1.5, name: str = "x", on: bool = False):
    draft.append((weight, name, on))
def bare(draft):
    draft.append("bare")
def needs(draft, weight):
    pass
def odd(draft, weight: "Nope" = 1, inner: object() = 2):
    pass
def nothing():
    pass
number = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def given(name: str, /, **options: str | float | bool) -> list[object]:
    """What the policy of this name does to a list."""
    done: list[object] = []
    find(name, options).plan(done)  # type: ignore[arg-type]  # stands for the draft
    return done


def test_a_function_in_a_file(mine: str) -> None:
    assert given(f"{mine}:bare") == ["bare"]
    assert given(f"{mine}:plan") == [(1.5, "x", False)]
    assert given(f"{mine}:plan", weight=2, name="y", on=True) == [(2.0, "y", True)]
    assert find(f"{mine}:bare", {}).file == mine


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        ("plan", {"wieght": 1}, "has no option 'wieght'; its options are weight, name, on"),
        ("plan", {"weight": "heavy"}, "option weight: Input should be a valid number, unable to parse string as a number, got 'heavy'"),
        ("bare", {"weight": 1}, "has no option 'weight'; it has none"),
        ("needs", {}, "weight has no default; allowed: options with defaults behind the draft"),
        ("odd", {"weight": 1}, "option weight is of the type Nope, which no text can be made into; allowed: str, int, float, bool"),
        ("nothing", {}, "takes no argument; allowed: a function of the draft"),
        ("number", {}, "is int; allowed: a function of the draft"),
        ("plam", {}, "has no plam; allowed: plan, bare, needs, odd, nothing"),
    ],
)
def test_what_is_no_policy(mine: str, function: str, options: dict[str, str | int], told: str) -> None:
    with pytest.raises(UnusablePolicy) as caught:
        find(f"{mine}:{function}", options)
    assert str(caught.value).endswith(told)
    assert f"policy {mine}:{function}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def plan(draft:\n", "line 1 is no Python: '(' was never closed"),
        ("import nosuchmodule\n", "fails when it is read: ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("import sys\nsys.exit(3)\n", "fails when it is read: SystemExit: 3"),
        ("", "has no plan; allowed: a function there"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(UnusablePolicy) as caught:
        find(f"{tmp_path}/bad.py:plan", {})
    assert str(caught.value).endswith(told)
    with pytest.raises(UnusablePolicy, match="cannot be read: No such file or directory; allowed: a Python file"):
        find(f"{tmp_path}/none.py:plan", {})


def entry_plan(draft: Draft, weight: int = 1) -> None:
    del draft, weight


ENTRY_POLICY = Policy("theirs", entry_plan, by_estimate, heads_only=True)


def test_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {
        name: EntryPoint(name, f"{__name__}:{what}", "gigawatt.policies") for name, what in (("f", "entry_plan"), ("p", "ENTRY_POLICY"))
    }
    entries["gone"] = EntryPoint("gone", "nosuchmodule:plan", "gigawatt.policies")
    monkeypatch.setattr(EntryPoint, "load", lambda entry: globals()[entry.attr] if entry.name != "gone" else __import__("nosuchmodule"))
    monkeypatch.setattr(policies, "_installed", lambda _: entries)
    assert find("f", {"weight": 3}).file == __file__
    found = find("p", {})
    assert (found.order, found.heads_only, found.file) == (by_estimate, True, __file__)
    with pytest.raises(UnusablePolicy, match="policy gone of nosuchmodule:plan cannot be loaded: ModuleNotFoundError"):
        find("gone", {})
    allowed = f"{', '.join(POLICIES)}, f, p, gone, FILE.py:FUNCTION, or grpc"
    with pytest.raises(UnusablePolicy, match=rf"there is no policy 'g'.*; allowed: {allowed}"):
        find("g", {})


def test_a_scenario_names_them(mine: str) -> None:
    scenario = load("laptop", [f"scheduler.policy={mine}:plan", "scheduler.policy_options.weight=2.5", "scheduler.placement=spread"])
    assert scenario.scheduler.policy_options == {"weight": "2.5"}
    assert files_of(scenario)[-1] == Path(mine)
    assert Scenario.model_validate(as_json(scenario)) == scenario
    for override, told in (
        (
            "scheduler.policy=esy",
            f"there is no policy 'esy', did you mean easy?; allowed: {', '.join(POLICIES)}, FILE.py:FUNCTION, or grpc://HOST:PORT",
        ),
        (
            "scheduler.placement=spred",
            f"did you mean spread?; allowed: {', '.join(PLACEMENTS)}, or FILE.py:FUNCTION",
        ),
    ):
        with pytest.raises(ScenarioError) as caught:
            load("laptop", [override])
        assert str(caught.value).endswith(told)


PLACE = """
def place(free, ask, seed: int = 0, shift: int = 0):
    return [(seed, shift, ask.gpus)]
def fails(free, ask):
    return free.nothing
def short(free):
    pass
"""


def test_a_placement_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "where.py").write_text(PLACE)
    name = f"{tmp_path}/where.py:place"
    index: Any = None
    assert find_placement(name, {"shift": "3"}, seed=7).place(index, Ask(2)) == [(7, 3, 2)]
    assert find_placement(name, {"seed": "1"}, seed=7).place(index, Ask(2)) == [(1, 0, 2)], "given"
    scenario = load("laptop", [f"scheduler.placement={name}", "scheduler.placement_options.shift=3"])
    assert scenario.scheduler.placement_options == {"shift": "3"}
    assert files_of(scenario)[-1] == tmp_path / "where.py"
    assert Scenario.model_validate(as_json(scenario)) == scenario
    for function, options, told in (
        ("place", {"shfit": 1}, "has no option 'shfit'; its options are seed, shift"),
        ("short", {}, "takes 1 argument; allowed: a function of the index of free GPUs and what is asked for"),
    ):
        with pytest.raises(UnusablePolicy) as caught:
            find_placement(f"{tmp_path}/where.py:{function}", options)
        assert str(caught.value) == f"placement {tmp_path}/where.py:{function} {told}"
    with pytest.raises(UnusablePolicy, match="placement topology has no option 'x'; it has none"):
        find_placement("topology", {"x": 1})
    first, second = (find_placement("random", {}, seed).place for seed in (1, 2))
    cluster = FreeIndex(build_cluster(load("laptop")))
    assert [first(cluster, Ask(1, job_id=job)) for job in range(9)] != [second(cluster, Ask(1, job_id=job)) for job in range(9)]


def test_a_placement_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "where.py").write_text(PLACE)
    cluster = build_cluster(load("laptop"))
    for function, told in (("fails", ", line 5: AttributeError: "), ("place", ": breaks the rule")):
        placement = find_placement(f"{tmp_path}/where.py:{function}", {})
        scheduler = Scheduler(cluster, SchedulerSettings(placement=placement), 1)
        for slot in scheduler.add(job_columns(1, job_id=[1], submit_ns=[0], gpus=[4], duration_ns=[5])):
            scheduler.arrive(slot)
        with pytest.raises(PolicyError) as caught:
            scheduler.plan(0)
        assert str(caught.value).startswith(f"placement {tmp_path}/where.py:{function}{told}")


def test_the_shelf_has_a_citation_each() -> None:
    assert all(not policy.file for policy in POLICIES.values())
    for name in POLICIES:
        assert re.search(r"[A-Z][a-z]+.*(\d{4}|'\d\d)|Slurm", " ".join(docstring(name, shelf.__name__).split())), name


def test_the_reference_is_current() -> None:
    """Written by `python -m emulator.scenario.policies_page docs/policy-reference.md`."""
    assert (Path(__file__).parents[2] / "docs/policy-reference.md").read_text("utf-8") == markdown()


@pytest.mark.parametrize(
    ("policy", "option", "value", "told"),
    [
        ("fair-share", "half_life_hours", "0", "Input should be greater than 0, got '0'"),
        ("fair-share", "half_life_hours", "inf", "Input should be less than or equal to 1000000000, got 'inf'"),
        ("fair-share", "shares", '{"a": -1}', "Input should be greater than 0, got -1"),
        ("fair-share", "shares", "a=1", "Input should be a valid dictionary, got 'a=1'"),
        ("las", "quantum_minutes", "nan", "got 'nan'"),
        ("tiresias", "thresholds_gpu_hours", "[1, 0]", "greater than 0"),
        ("drf", "weights", "[1]", "Input should be an object, got [1]"),
        ("priority", "age_weight", "-1", "greater than or equal to 0"),
    ],
)
def test_a_value_out_of_bounds(policy: str, option: str, value: str, told: str) -> None:
    with pytest.raises(UnusablePolicy) as caught:
        find(policy, {option: value})
    assert str(caught.value).startswith(f"policy {policy}: option {option}: ")
    assert told in str(caught.value)


def test_a_list_or_mapping_is_json() -> None:
    plan: Any = find("tiresias", {"thresholds_gpu_hours": "[2, 5.5]"}).plan
    assert plan.keywords == {"thresholds_gpu_hours": [2.0, 5.5]}
    plan = find("fair-share", {"shares": '{"research": 3}'}).plan
    assert plan.keywords == {"shares": {"research": 3.0}}
