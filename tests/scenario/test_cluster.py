"""The section ``cluster``: dragonflies, files, several fabrics and their WAN; every mistake is told with its field."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.scenario import ScenarioError, build_cluster, dump, load
from emulator.scenario.build import build_graph, plans
from emulator.scenario.cluster import FabricOfHosts, WanSettings
from emulator.scenario.units import parse_bandwidth
from topology.clos import ClosPlan
from topology.dragonfly import DragonflyPlan

SITES = """\
name: three-fabrics
assumptions: ["Assumed: everything."]
cluster:
  parts:
    - {name: hall-a, site: Abilene, gpus: 512, switch: qm9700}
    - {name: hall-b, site: Abilene, host: gb200-nvl72, hosts: 36, oversubscription: {building: 4}}
    - {name: fly, site: Oak Ridge, builder: dragonfly, host: frontier-node, switch: rosetta, hosts: 96, hosts_per_rack: 32,
       group_switches: 8, global_links_per_pair: 3}
  wan: {gateway_bandwidth: 8Tbps, distance_km: 1400}
"""


@pytest.fixture(name="sites", scope="module")
def _sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "sites.yaml"
    path.write_text(SITES, "utf-8")
    return path


def test_three_fabrics_on_two_sites(sites: Path) -> None:
    scenario = load(sites)
    cluster = build_cluster(scenario)
    assert cluster.name == "three-fabrics"
    assert (cluster.host_count, scenario.cluster.host_count) == (64 + 36 + 96, 64 + 36 + 96)
    assert cluster.site_names == ("Abilene", "Oak Ridge")
    assert [host.name for host in cluster.host_types] == ["hgx-h100", "gb200-nvl72", "frontier-node"]
    assert {level.name: len(level) for level in cluster.levels}["building"] == 3
    assert cluster.counts.wan_links == 40  # 8 Tb/s over 200 Gb/s ports, the slower end's
    assert cluster.assumptions == ("Assumed: everything.",)
    # What hall-b sends to other buildings is a quarter of its 36 x 4 x 400 Gb/s.
    links = cluster.links
    building = cluster.level("building")
    outer = building.uplinks[building.uplink_start[1] : building.uplink_start[2]]
    assert links.bytes_per_second[outer].sum() == pytest.approx(36 * 4 * 50e9 / 4)
    first, second, third = plans(scenario)
    assert isinstance(first, ClosPlan)
    assert isinstance(second, ClosPlan)
    assert isinstance(third, DragonflyPlan)
    assert (first.hosts_per_rack, second.hosts_per_rack, third.hosts_per_rack) == (8, 18, 32)


def test_it_survives_being_written(sites: Path, tmp_path: Path) -> None:
    scenario = load(
        sites, ["cluster.wan.links=[{between: [Oak Ridge, Abilene], distance_km: 9, bandwidth: 3Gbps}]", "cluster.wan.distance_km="]
    )
    path = tmp_path / "again.yaml"
    path.write_text(dump(scenario), "utf-8")
    assert load(path) == scenario
    cluster = build_cluster(scenario)
    assert cluster.links.bytes_per_second[cluster.peers[-1].links].tolist() == [3e9 / 8]


def test_overrides_reach_the_parts(sites: Path) -> None:
    scenario = load(sites, ["cluster.parts.0.hosts=16", "cluster.parts.1.oversubscription.building=2", "cluster.wan.distance_km=1"])
    assert [part.host_count for part in scenario.cluster.parts] == [16, 36, 96]
    assert scenario.cluster.parts[0].gpus is None
    assert scenario.cluster.parts[1].oversubscription.building == 2.0
    near, far = build_cluster(scenario), build_cluster(load(sites))
    times = [cluster.links.latency_seconds[cluster.peers[-1].links[0]] for cluster in (near, far)]
    assert times[1] - times[0] == pytest.approx(1399 * 5e-6)


def test_one_dragonfly() -> None:
    overrides = ["cluster.builder=dragonfly", "cluster.host=frontier-node", "cluster.switch=rosetta", "cluster.hosts=9408"]
    cluster = build_cluster(load("laptop", [*overrides, "cluster.hosts_per_rack=128", "cluster.global_links_per_pair=4"]))
    assert (cluster.counts.leaf, cluster.counts.racks, cluster.counts.global_links) == (74 * 32, 74, 74 * 73 // 2 * 4)
    assert cluster.counts.taper == pytest.approx(512 / 292)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "topology.conf").write_text(
        "SwitchName=s0 Nodes=n[0-5]\nSwitchName=s1 Nodes=n[6-11]\nSwitchName=s2 Switches=s[0-1]\n", "utf-8"
    )
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"name: mine\ncluster: {{builder: file, path: {tmp_path}/topology.conf, host: hgx-h200, hosts_per_rack: 3, site: here}}\n", "utf-8"
    )
    scenario = load(path)
    cluster = build_cluster(scenario)
    assert scenario.cluster.host_count is None
    assert plans(scenario) == ()
    assert cluster.host_names == tuple(f"n{number}" for number in range(12))
    assert (cluster.host_types[0].name, cluster.site_names, cluster.counts.racks) == ("hgx-h200", ("here",), 4)
    assert np.diff(cluster.level("leaf").first_host).tolist() == [6, 6]
    with pytest.raises(ScenarioError, match=r"cluster\.path: .*'abc' is not a format; known: node-link"):
        build_cluster(load(path, ["cluster.format=abc"]))
    (tmp_path / "topology.conf").write_text("SwitchName=s0 Nodes=n[0-\n", "utf-8")
    with pytest.raises(ScenarioError, match=r"cluster\.path: .*topology\.conf:1"):
        build_cluster(scenario)
    with pytest.raises(ScenarioError, match=r"cluster\.path: /nope: cannot be read: No such file"):
        build_cluster(load(path, ["cluster.path=/nope"]))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["cluster.parts.0.gpus=12"], "cluster.parts.0: gpus is 12: hgx-h100 has 8 GPUs"),
        (["cluster.parts.0.gpuz=8"], "cluster.parts.0.gpuz: unknown key, did you mean gpus?"),
        (["cluster.parts.3.gpus=8"], "'3' is not an index of a list with 3 items"),
        (["cluster.parts.1.groups=3"], "cluster.parts.1: groups is a key for builder dragonfly, but the builder is clos"),
        (["cluster.parts.2.planes=2"], "cluster.parts.2: planes is a key for builder clos, but the builder is dragonfly"),
        (["cluster.parts.0.builder=file", "cluster.parts.0.gpus="], "cluster.parts.0: builder file needs a path"),
        (["cluster.parts.0.path=x"], "path is a key for builder file"),
        (["cluster.gpus=8"], "cluster: with parts, gpus belongs into each part, not into the cluster"),
        (["cluster.site=x"], "with parts, site belongs into each part"),
        (["cluster.parts=3"], "cluster.parts: 3 is not a list"),
        (["cluster.parts=[]", "cluster.gpus=8"], "cluster: wan joins the sites of several parts, but the cluster has no parts"),
        (["cluster.parts.0.hosts=4000000"], "the parts make 4000132 hosts"),
        (["cluster.parts.0={gpus: 8}"], "cluster.parts.0.name: missing"),
        (["cluster.wan.links=[{between: [a, b], distance_km: 1}]"], "cluster.wan: needs either links"),
        (["cluster.wan.distance_km="], "cluster.wan: needs either links"),
        (["cluster.wan.distance_km=-1"], "cluster.wan.distance_km: input should be greater than or equal to 0"),
        (["cluster.wan.distance_km=40000"], "less than or equal to 20100"),
        (["cluster.wan.gateway_bandwidth=5"], "cluster.wan.gateway_bandwidth: 5 is not a bandwidth"),
        (["cluster.wan.gateway_bandwidth=0Tbps"], "'0Tbps' is not a bandwidth"),
        (["cluster.wan={distance_km: 3}"], "cluster.wan.gateway_bandwidth: missing"),
        (["cluster.wan.distance_km=", "cluster.wan.links=[{between: [a], distance_km: 1}]"], "cluster.wan.links.0.between: "),
    ],
)
def test_mistakes_in_parts(sites: Path, overrides: list[str], text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load(sites, overrides)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["cluster.parts.1.name=hall-a"], "cluster.parts: two parts are called hall-a"),
        (["cluster.parts.2.site=Abilene"], "cluster.wan: a wan joins sites, but there is only Abilene"),
        (["cluster.wan="], "cluster.wan: the sites Abilene, Oak Ridge need a wan that joins them"),
        (["cluster.parts.1.hosts_per_rack=8"], "cluster.parts.1.hosts_per_rack: hosts_per_rack is 8, but gb200-nvl72"),
        (["cluster.parts.0.oversubscription.leaf=900"], "cluster.parts.0.oversubscription.leaf: "),
        (["cluster.parts.2.groups=2"], "cluster.parts.2.groups: groups is 2"),
        (
            ["cluster.wan.distance_km=", "cluster.wan.links=[{between: [Abilene, Mars], distance_km: 1}]"],
            "wan.links.0.between: there is no site Mars",
        ),
    ],
)
def test_what_cannot_be_built(sites: Path, overrides: list[str], text: str) -> None:
    with pytest.raises(ScenarioError) as error:
        build_cluster(load(sites, overrides))
    assert text in str(error.value)


KEYS = [f"parts.{part}.{key}" for part in range(3) for key in FabricOfHosts.model_fields] + [
    f"wan.{key}" for key in WanSettings.model_fields
]
WORDS = [
    "1Tbps",
    "null",
    "true",
    "[]",
    "{}",
    "dragonfly",
    "file",
    "aurora-node",
    "gb300-nvl72",
    "rosetta",
    "isolated",
    "Abilene",
    "/",
    "x",
    "2.5",
]


@given(overrides=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(-2, 90) | st.sampled_from(WORDS)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_override_of_a_part_ends_in_a_traceback(sites: Path, overrides: list[tuple[str, Any]]) -> None:
    try:
        scenario = load(sites, [f"cluster.{key}={value}" for key, value in overrides])
        if sum(plan.hosts for plan in plans(scenario)) > 5000:
            return
        cluster = build_cluster(scenario)
    except ScenarioError:
        return
    assert cluster.host_count == scenario.cluster.host_count
    assert len(cluster.site_names) == len({part.site for part in scenario.cluster.parts})


def test_graphs_are_in_the_vocabulary(sites: Path) -> None:
    graph = build_graph(load(sites))
    assert graph.nodes["hall-b/domain-0"]["host"] == "gb200-nvl72"
    assert graph.nodes["Abilene/gateway"]["tier"] == "wan"
    assert graph.nodes["fly/switch-g0-0"]["group"] == "fly/0"
    assert graph.edges["Abilene/gateway", "Oak Ridge/gateway"]["distance_km"] == 1400


def test_bandwidths() -> None:
    assert parse_bandwidth("400Gbps") == 50e9
    assert parse_bandwidth(" 1.5 Tbps ") == 1.5e12 / 8
    assert parse_bandwidth("8e14bps") == 1e14
    for wrong in ("", "1", 1, "1 Tb/s", "-1Gbps", "0bps", "1e99Tbps", None, True):
        with pytest.raises(ValueError, match="not a bandwidth"):
            parse_bandwidth(wrong)


@pytest.mark.parametrize("value", ["8.0", "8"])
def test_whole_numbers_may_be_written_as_floats(value: str) -> None:
    scenario = load("laptop", [f"cluster.hosts_per_rack={value}", f"seed={value}", f"runtime.actors={value}", f"cluster.hosts={value}"])
    assert (scenario.cluster.hosts_per_rack, scenario.seed, scenario.runtime.actors, scenario.cluster.hosts) == (8, 8, 8, 8)
    assert type(scenario.seed) is int


@pytest.mark.parametrize("key", ["cluster.hosts_per_rack", "seed", "runtime.actors", "scheduler.pending_limit", "jobs.max_restarts"])
def test_a_part_of_a_whole_is_refused_with_its_place(key: str) -> None:
    with pytest.raises(ScenarioError, match=rf"--set {key}=2\.5: {key}: .*2\.5"):
        load("laptop", [f"{key}=2.5"])
