"""Scenarios: presets, overrides, errors that say where and what is allowed, and no traceback whatever comes in."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from emulator.scenario import Scenario, ScenarioError, build_cluster, dump, load, presets
from emulator.scenario.build import plans
from emulator.scenario.units import format_duration, parse_duration, parse_power, parse_speed
from topology.describe import describe

SECOND = 10**9
BENCHMARKS = sorted((Path(__file__).parents[1] / "benchmarks" / "scenarios").glob("*.yaml"))

MINIMAL = """\
name: mine
cluster:
  gpus: 256
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    return path


def test_presets_have_names_descriptions_and_labelled_assumptions() -> None:
    names = [name for name, _ in presets()]
    assert names == sorted(names)
    assert {"colossus", "eagle", "laptop", "superpod-b200", "superpod-h100"} <= set(names)
    for name, description in presets():
        scenario = load(name)
        assert scenario.name == name
        assert scenario.description == description
        assert len(scenario.assumptions) >= 1


@pytest.mark.parametrize("source", [*(name for name, _ in presets()), *BENCHMARKS], ids=lambda source: Path(source).stem)
def test_every_scenario_survives_being_written(source: Path | str, tmp_path: Path) -> None:
    scenario = load(source)
    assert load(written(tmp_path, dump(scenario))) == scenario


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("colossus", [], (100_000, 1563, 1568, 1568, 784)),
        ("eagle", [], (14_400, 450, 450, 450, 225)),
        ("laptop", [], (256, 8, 8, 4, 0)),
        ("laptop", ["cluster.gpus=128"], (128, 4, 4, 2, 0)),
        ("laptop", ["cluster.hosts=1"], (8, 1, 1, 1, 0)),
        ("superpod-b200", ["cluster.scalable_units=16"], (4096, 128, 128, 128, 64)),
        ("superpod-h100", ["cluster.scalable_units=3"], (760, 24, 24, 16, 0)),
    ],
)
def test_presets_build(name: str, overrides: list[str], expected: tuple[int, ...]) -> None:
    counts = build_cluster(load(name, overrides)).counts
    assert (counts.gpus, counts.racks, counts.leaf, counts.spine, counts.core) == expected


def test_preset_assumptions_reach_the_description() -> None:
    assert describe(build_cluster(load("laptop")))["assumptions"] == list(load("laptop").assumptions)


def test_benchmark_scenarios_have_the_sizes_of_their_names() -> None:
    sizes = {path.stem: load(path).cluster.host_count for path in BENCHMARKS}
    assert sizes == {"h100-100k": 12_500, "h100-4m": 500_000, "nvl72-55556": 55_556 * 18}
    assert build_cluster(load(BENCHMARKS[-1], ["cluster.hosts=18000"])).counts.domains == 1000


def test_overrides() -> None:
    scenario = load(
        "laptop",
        ["clock.cycle=500ms", "clock.speed=max", "cluster.oversubscription.leaf=3", "scheduler.queues=[{name: a, priority: 2}, {name: b}]"],
    )
    assert scenario.clock.cycle == SECOND // 2
    assert math.isinf(scenario.clock.speed)
    assert scenario.cluster.oversubscription.leaf == 3.0
    assert [(queue.name, queue.priority) for queue in scenario.scheduler.queues] == [("a", 2), ("b", 0)]
    assert load("laptop", ["seed=1", "seed=2"]).seed == 2
    assert load("laptop", ["power.cap=2MW"]).power.cap == 2e6
    assert load("colossus", ["power.cap="]).power.cap is None
    assert load("colossus", ["cluster.hosts=12"]).cluster.host_count == 12
    assert load("colossus", ["cluster.gpus=96"]).cluster.host_count == 12


def test_a_trace_with_options_as_they_were_written() -> None:
    options = ["workload.kind=trace", "workload.path=philly.csv.gz", "workload.format=philly"]
    scenario = load("laptop", [*options, "workload.options.virtual_cluster=0123", "workload.options.from=2017-10-01"])
    assert scenario.workload.options == {"virtual_cluster": "0123", "from": "2017-10-01"}


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["cluster.gpus=0"], "--set cluster.gpus=0: cluster.gpus: input should be greater than or equal to 1, got 0"),
        (["cluster.gpus=12"], "a multiple of 8 is needed"),
        (["cluster.hostz=1"], "unknown key, did you mean host"),
        (["schedular.policy=fifo"], "--set schedular.policy=fifo: schedular: unknown key, did you mean scheduler?"),
        (["scheduler.policy=fifoo"], "there is no policy 'fifoo', did you mean fifo?"),
        (["scheduler.queues=3"], "3 is not a list"),
        (["scheduler.queues=[]"], "at least 1 item"),
        (["scheduler.queues=[{name: a}, {name: a}]"], "different names"),
        (["cluster.switch=sn560"], "did you mean sn5600"),
        (["cluster=3"], "cluster: a section is needed, with keys builder, host"),
        (["nonsense"], "not of the form section.key=value"),
        (["a..b=1"], "not of the form"),
        (["seed.x=1"], "seed is a single value"),
        (["assumptions.7=x"], "'7' is not an index of a list with 1 items"),
        (["clock.cycle=10"], "10 is not a duration"),
        (["clock.cycle=0s"], "0s is too little; allowed: 1ms or more"),
        (["clock.cycle=8d"], "8d is too much; allowed: at most 7d"),
        (["power.cap=0W"], "0W is too little; allowed: 1 W or more"),
        (["clock.until=200000d"], "longer than a century"),
        (["clock.speed=-1"], "-1 is not a speed"),
        (["clock.speed=.nan"], "not a speed"),
        (["power.cap=100"], "100 is not a power"),
        (["faults.repair.nic=5"], "--set faults.repair.nic=5: faults.repair.nic: 5 is not a duration"),
        (["faults.repair.nic=0s"], "allowed: 1ns or more"),
        (["workload.kind=trace"], "a trace needs both path and format"),
        (["runtime.actors=0"], "allowed are auto, inline and 1 to 10000"),
        (["fabric.routing=hashed"], "should be 'adaptive', 'ecmp', 'minimal' or 'valiant', got 'hashed'"),
        (["cluster.scalable_units=2", "cluster.gpus=8"], "exactly one of hosts, gpus and scalable_units"),
        (["cluster.hosts=5000000"], "less than or equal to 4000000"),
        (["cluster.gpus=99999999999"], "multiple of 8"),
        (["cluster.gpus=80000000000"], "allowed are 1 to 4000000"),
        (["cluster.scalable_units=99999999999999999999"], "allowed are 1 to 4000000"),
    ],
)
def test_bad_overrides(overrides: list[str], text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load("laptop", overrides)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["cluster.hosts=9000"], "cluster.buildings: 9000 hgx-h100 hosts in 1 building(s) put 2250 leaves in a plane"),
        (["cluster.rails=isolated", "cluster.rail_optimised=false"], "cluster.rails: isolated rails need"),
        (["cluster.oversubscription.leaf=64"], "cluster.oversubscription.leaf"),
        (["cluster.host=gb200-nvl72", "cluster.hosts_per_rack=8"], "cluster.hosts_per_rack"),
        (["cluster.array_hosts=33"], "allow 1 to 32"),
        (["cluster.host=gb300-nvl72", "cluster.hosts_per_rack=18", "cluster.switch=qm8790"], "fewer than the 18 NICs"),
    ],
)
def test_fabrics_that_do_not_exist(overrides: list[str], text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        build_cluster(load("laptop", overrides))
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: mine\ncluster:\n  gpus: 256\n  hozt: hgx-h100\n", "mine.yaml:4: cluster.hozt: unknown key, did you mean host?"),
        ("name: mine\ncluster:\n  gpus: many\n", "mine.yaml:3: cluster.gpus: input should be a valid integer"),
        ("name: mine\n", "mine.yaml: cluster: missing"),
        ("name: mine\nname: yours\n", "mine.yaml:2: name is given twice (first in line 1)"),
        ("name: [mine\n", "mine.yaml:2: bad YAML"),
        ("- a\n", "not a scenario"),
        ("", "not a scenario"),
        ("name: mine\n? [a]\n: 3\n", "mine.yaml:2: a key is a plain word"),
        ("name: !!python/object:os.system x\ncluster: {gpus: 8}\n", "bad YAML"),
        ("name: 2017-13-45\ncluster: {gpus: 8}\n", "bad YAML"),
        ("name: yes\ncluster: {gpus: 8}\n", "mine.yaml:1: name: input should be a valid string, got True"),
        (
            "name: mine\ncluster: {gpus: 8}\nscheduler:\n  queues:\n  - name: a\n  - nome: b\n",
            "mine.yaml:6: scheduler.queues.1.nome: unknown key",
        ),
        ("a: &a [x]\nb: &b [*a, *a]\n" + "".join(f"k{i}: &k{i} [{', '.join([f'*{prev}'] * 10)}]\n" for i, prev in enumerate(
            ["b", *(f"k{i}" for i in range(9))])), "more than 100000 values"),
        ("a: &a [*a]\n", "mine.yaml"),
        ("[" * 3000, "bad YAML"),
    ],
)  # fmt: skip
def test_bad_files_say_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load(written(tmp_path, text))
    assert message in str(error.value)
    assert len(str(error.value)) < 5000


def test_no_such_scenario(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"no scenario called 'colosus'.*Did you mean colossus\? Presets: .*colossus, .*eagle"):
        load("colosus")
    with pytest.raises(ScenarioError, match=r"nowhere/x.yaml: cannot be read: No such file"):
        load("nowhere/x.yaml")
    with pytest.raises(ScenarioError, match="cannot be read: it is a directory"):
        load(tmp_path)
    with pytest.raises(ScenarioError, match=r"null|no scenario"):
        load("a\0b")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(ScenarioError, match="not UTF-8"):
        load(tmp_path / "latin.yaml")


def test_a_scenario_file_needs_only_a_name_and_a_size(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, MINIMAL))
    assert (scenario.cluster.host_count, scenario.clock.cycle, scenario.faults.host_rate_per_1000_node_days) == (32, 10 * SECOND, 3.79)


def fields(model: Any = Scenario, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Scenario.__mro__[1]):
            yield from fields(inner, (*path, name))
        else:
            yield ".".join((*path, name))


def test_null_takes_a_key_out() -> None:
    """So that it has its default, and what goes with another setting does not stand in its way."""
    assert load("colossus").power.wue_litres_per_kwh == 1.05
    changed = load("colossus", ["power.wue_litres_per_kwh=null", "power.nothing=null", "power.pue=null", "power.pue=1.3"])
    assert (changed.power.wue_litres_per_kwh, changed.power.pue) == (0.27, 1.3)
    with pytest.raises(ScenarioError, match="cluster: missing"):
        load("colossus", ["cluster=null"])


WORDS = ["1s", "24h", "1MW", "max", "null", "true", "[]", "{}", "[1,2]", "{a:1}", "1e400", "*x", "'", "&a", "0x10", "1:30", "."]
CHOICES = ["none", "rails", "isolated", "trace", "auto", "inline", "easy"]
HARDWARE = ["gb200-nvl72", "gb300-nvl72", "aurora-node", "frontier-node", "hgx-a100", "qm8790", "rosetta", "sn5600", "quantum-x800"]
values = st.one_of(
    st.integers(-5, 5), st.integers(), st.floats(), st.sampled_from(WORDS), st.sampled_from(CHOICES + HARDWARE), st.text(max_size=8)
)


@given(overrides=st.lists(st.tuples(st.sampled_from(list(fields())), values), min_size=1, max_size=4))
@example(overrides=[("cluster.hosts", 4_000_000), ("cluster.buildings", 1000)])
@example(overrides=[("cluster.hosts_per_rack", 2**31)])
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_override_ends_in_a_traceback(overrides: Any) -> None:
    try:
        scenario = load("laptop", [f"{key}={value}" for key, value in overrides])
        built = plans(scenario)
    except ScenarioError:
        return
    if sum(plan.hosts for plan in built) <= 20_000:
        assert build_cluster(scenario).host_count == scenario.cluster.host_count


@given(text=st.text(alphabet="abc:-[]{}&*!'\"#|> \n\t0123456789.,?%@`\0\x85", max_size=60))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_ends_in_a_traceback(tmp_path: Path, text: str) -> None:
    with pytest.raises(ScenarioError):
        load(written(tmp_path, text))


@given(nanoseconds=st.integers(0, 100 * 365 * 86_400 * SECOND))
def test_durations_round_trip(nanoseconds: int) -> None:
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


def test_units() -> None:
    assert parse_duration("1h30m") == 5400 * SECOND
    assert parse_duration("0.1s") == SECOND // 10
    assert parse_duration("500ms") == SECOND // 2
    assert parse_power("8.4kW") == 8400.0
    assert parse_speed(60) == 60.0
    no_durations: tuple[object, ...] = ("", "s", "1", "1 s 2", "-1s", "1x", "1s!", None, True, 1, [], "९s")
    for wrong in no_durations:
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(wrong)
    for bad in ("", "1", 1, "1mw", "-1W", None):
        with pytest.raises(ValueError, match="not a power"):
            parse_power(bad)


def test_presets_are_plain_yaml_with_known_sections() -> None:
    for name, _ in presets():
        assert set(yaml.safe_load(dump(load(name)))) == set(Scenario.model_fields)
