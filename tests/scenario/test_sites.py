"""The section scheduler.sites: what arrives, and what is refused where it is written."""

from pathlib import Path

import numpy as np
import pytest

from emulator.scenario import ScenarioError, build_cluster, dump, load
from emulator.scenario.build_sites import build_sites
from emulator.scheduler.sites import Sites, Weights, standing_milliwatts
from emulator.scheduler.table import NEVER

CLUSTER = """\
name: two
cluster:
  parts:
  - {name: west, site: west, host: hgx-h100, hosts: 8, hosts_per_rack: 4}
  - {name: east, site: east, host: dgx-b200, hosts: 4, hosts_per_rack: 4}
"""
WAN = "  wan: {gateway_bandwidth: 800Gbps, distance_km: 100}\n"


def sites_of(tmp_path: Path, sites: str) -> Sites:
    file = tmp_path / "sites.yaml"
    file.write_text(CLUSTER + WAN + "scheduler:\n  sites: " + sites + "\n")
    scenario = load(file)
    (tmp_path / "dumped.yaml").write_text(dump(scenario))
    assert load(tmp_path / "dumped.yaml") == scenario
    found = build_sites(scenario, build_cluster(scenario))
    assert found is not None
    return found


def test_the_defaults(tmp_path: Path) -> None:
    sites = sites_of(tmp_path, "{dispatch: global}")
    assert (sites.names, sites.every_ns, sites.backlog, sites.move_after_ns) == (("west", "east"), 60 * 10**9, 0.0, NEVER)
    assert (sites.weights, sites.move_data, sites.cap_milliwatts) == (Weights(), True, (None, None))
    assert sites.wan_bytes_per_second.tolist() == [[0.0, 1e11], [1e11, 0.0]], "the cluster's own"


def test_all_of_it_arrives(tmp_path: Path) -> None:
    sites = sites_of(
        tmp_path,
        "{every: 5m, backlog: 0.5, move_after: 1h, weights: {power: 0, prefer: 3}, links: [{between: [east, west], bandwidth: 8Gbps}],"
        " caps: {east: 1MW}, datasets: [{name: web, home: west, size: 1.5TB, tenants: [a]}, {name: maps, home: [west, east], size: 0,"
        " queues: q}], high_priority: 2}",
    )
    assert (sites.every_ns, sites.backlog, sites.move_after_ns, sites.high_priority) == (300 * 10**9, 0.5, 3600 * 10**9, 2)
    assert sites.weights == Weights(1.0, 0.0, 1.0, 3.0)
    assert sites.wan_bytes_per_second.tolist() == [[0.0, 1e9], [1e9, 0.0]]
    assert sites.cap_milliwatts == (None, round(1e9 / 1.2))
    assert [(one.name, one.size_bytes, one.homes) for one in sites.datasets] == [("web", 1_500_000_000_000, (0,)), ("maps", 0, (0, 1))]
    assert (sites.of_tenant, sites.of_queue) == ({"a": 0}, {"q": 1})


@pytest.mark.parametrize(
    ("sites", "told"),
    [
        ("{dispatch: local}", "scheduler.sites.dispatch: input should be 'global', got 'local'"),
        ("{caps: {mars: 1MW}}", "scheduler.sites.caps: 'mars' is no site of this cluster; allowed: west, east"),
        ("{caps: {east: 1kW}}", "scheduler.sites.caps.east: is 1,000W; allowed: above "),
        ("{datasets: [{name: a, home: mars, size: 1TB}]}", "scheduler.sites.datasets.0.home: 'mars' is no site"),
        ("{datasets: [{name: a, home: [], size: 1TB}]}", "scheduler.sites.datasets.0.home"),
        ("{datasets: [{name: a, home: west, size: 20}]}", "20 is not a size: write a number and B, kB"),
        ("{datasets: [{name: a, home: west, size: 0}, {name: a, home: west, size: 0}]}", "datasets need different names; given: a, a"),
        (
            "{datasets: [{name: a, home: west, size: 0, tenants: x}, {name: b, home: west, size: 0, tenants: x}]}",
            "tenant x reads two datasets",
        ),
        ("{links: [{between: [west, mars], bandwidth: 1Gbps}]}", "scheduler.sites.links.0.between: 'mars' is no site"),
        ("{bandwidth: 1Gbps, links: [{between: [west, east], bandwidth: 1Gbps}]}", "bandwidth is for every two sites"),
        ("{every: -1s}", "scheduler.sites.every"),
        ("{move_after: 0s}", "scheduler.sites.move_after"),
    ],
)
def test_what_is_refused(tmp_path: Path, sites: str, told: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        sites_of(tmp_path, sites)
    assert told in str(caught.value)


def test_data_needs_a_way(tmp_path: Path) -> None:
    (tmp_path / "topology.conf").write_text("SwitchName=west Nodes=n[1-4]\nSwitchName=east Nodes=n[5-8]\n")
    islands = f"name: islands\ncluster: {{builder: file, path: {tmp_path}/topology.conf, host: hgx-h100}}\nscheduler:\n  sites: "
    data = "datasets: [{name: a, home: site/west, size: 1TB}]"
    file = tmp_path / "islands.yaml"
    file.write_text(f"{islands}{{{data}}}\n")
    scenario = load(file)
    with pytest.raises(ScenarioError, match=r"scheduler\.sites\.bandwidth: nothing joins the sites"):
        build_sites(scenario, build_cluster(scenario))
    for more in ("move_data: false", "bandwidth: 8Gbps"):
        file.write_text(f"{islands}{{{data}, {more}}}\n")
        scenario = load(file)
        sites = build_sites(scenario, build_cluster(scenario))
        assert sites is not None
        assert sites.wan_bytes_per_second.any() == (more != "move_data: false")


def test_a_policy_outside_may_have_sites() -> None:
    scenario = load("laptop", ["scheduler.policy=grpc://localhost:1", "scheduler.sites.dispatch=global"])
    assert scenario.scheduler.sites is not None


def test_all_that_stands_is_some_sites(tmp_path: Path) -> None:
    """Hosts and switches of the sites make up the cluster, gateways included."""
    file = tmp_path / "c.yaml"
    file.write_text(CLUSTER + WAN)
    cluster = build_cluster(load(file))
    found = standing_milliwatts(cluster)
    links = cluster.links
    switches = int(np.rint(links.switch_watts * 1000).astype(np.int64) @ links.switches)
    hosts = sum(round(kind.idle_watts * 1000) * count for kind, count in zip(cluster.host_types, cluster.type_hosts, strict=True))
    assert int(found.sum()) == hosts + switches
    assert found.shape == (2,)
