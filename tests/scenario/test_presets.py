"""Every preset: counts, ports within the radix, power within the cap, each statement labelled, and docs/presets.md up to date."""

import json
import re
from functools import lru_cache
from pathlib import Path

import networkx as nx
import pytest
from typer.testing import CliRunner

from emulator.cli.app import app
from emulator.scenario import load, presets
from emulator.scenario.build import build_graph
from emulator.scenario.presets_page import Figures, figures, markdown
from topology import catalog
from topology.catalog import SwitchType
from topology.compile import compile_cluster

NAMES = [name for name, _ in presets()]
DOCS = Path(__file__).parents[2] / "docs" / "presets.md"

#: GPUs, hosts, racks; leaves, spines, cores.
COUNTS = {
    "laptop": (256, 32, 8, 8, 4, 0),
    "superpod-h100": (1016, 127, 32, 32, 16, 0),
    "superpod-b200": (1024, 128, 32, 32, 16, 0),
    "eagle": (14_400, 1800, 450, 450, 450, 225),
    "hpn": (15_360, 1920, 480, 15 * 16, 120, 0),
    "oci-16k": (16_384, 2048, 512, 512, 256, 128),
    "oci-24k": (24_000, 3000, 750, 750, 375, 188),
    "meta-24k": (24_576, 3072, 8 * 192, 8 * 192, 104, 13),
    "gpt4": (25_000, 3125, 782, 1250, 782, 157),
    "frontier": (37_632, 9408, 74, 74 * 32, 0, 0),
    "aurora": (63_744, 10_624, 166, 5600, 0, 0),
    "colossus": (100_000, 12_500, 1563, 1568, 1568, 784),
    "chat-at-scale": (100_000, 12_500, 1563, 1568, 1568, 784),
    "tide": (100_000, 12_500, 1563, 1568, 1568, 784),
    "oci-gb200": (131_072, 32_768, 1821, 2428, 2048, 1024),
    "colossus-2": (200_000, 25_000, 1563 + 2 * 782, 1568 + 2 * 784, 1568 + 2 * 784, 1960),
    "buildout": (400_000, 100_000, 5556, 7412, 6252, 3908),
    "stargate-abilene": (400_000, 100_000, 5556, 7412, 6252, 3908),
    "stargate-abilene-expanded": (600_000, 150_000, 5556 + 2778, 11_118, 9378, 5862),
    "million-gpu": (1_000_000, 200_000, 20_840, 24_568, 21_536, 12_292),
    "datacenter-5gw": (2_000_000, 500_000, 27_778, 37_058, 31_258, 19_538),
    "stargate": (2_800_000, 700_000, 38_891, 51_874, 43_901, 27_370),
    "stargate-10gw": (4_000_000, 1_000_000, 55_559, 74_110, 62_657, 39_094),
    "abundant-intelligence": (4_000_000, 1_000_000, 55_559, 74_110, 62_657, 39_094),
}
#: Megawatts that the site has.
CAPS = {
    "gpt4": 25,
    "frontier": 30,
    "aurora": 60,
    "colossus": 150,
    "chat-at-scale": 150,
    "tide": 150,
    "colossus-2": 300,
    "buildout": 1000,
    "stargate-abilene": 1200,
    "stargate-abilene-expanded": 1800,
    "million-gpu": 2500,
    "datacenter-5gw": 5000,
    "stargate": 7000,
    "stargate-10gw": 10_000,
    "abundant-intelligence": 10_000,
}


def over_capacity(graph: nx.Graph) -> list[str]:
    """Switches with more cables than they have ports: each cable takes a port of its speed or a part of a faster one."""
    kinds = {
        node: catalog.switch(data.get("switch", graph.graph["switch"]))
        for node, data in graph.nodes(data=True)
        if data["tier"] != "endpoint"
    }
    ports = lru_cache(None)(SwitchType.ports_at)
    own = {name: catalog.host(name).nic_bytes_per_second for name in catalog.HOSTS}
    over = []
    for node, kind in kinds.items():
        used = 0.0
        for other, cable in graph.adj[node].items():
            speed = cable.get("lane_bytes_per_second") or own[graph.nodes[other].get("host", graph.graph["host"])]
            used += cable["lanes"] / ports(kind, speed)
        if used > graph.nodes[node].get("switches", 1) * (1 + 1e-9):
            over.append(node)
    return over


@pytest.fixture(scope="module")
def of_all() -> dict[str, Figures]:
    found = {}
    for name in NAMES:
        scenario = load(name)
        graph = build_graph(scenario)
        assert over_capacity(graph) == [], name
        found[name] = figures(scenario, compile_cluster(graph))
    return found


def test_every_preset_has_its_counts(of_all: dict[str, Figures]) -> None:
    counts = {name: found.counts for name, found in of_all.items()}
    assert {name: (c.gpus, c.hosts, c.racks, c.leaf, c.spine, c.core) for name, c in counts.items()} == COUNTS


def test_power_at_measured_maximum_draw_is_within_the_cap(of_all: dict[str, Figures]) -> None:
    caps = {name: found.scenario.power.cap for name, found in of_all.items() if found.scenario.power.cap is not None}
    assert caps == {name: megawatts * 1e6 for name, megawatts in CAPS.items()}
    assert [name for name, cap in caps.items() if of_all[name].peak_watts > cap] == []
    # 8.4 kW a host and 940 W a switch keep Colossus within 150 MW; a host's rating of 10.2 kW would not.
    assert of_all["colossus"].switch_watts == 3920 * 940
    assert of_all["colossus"].peak_watts == pytest.approx((12_500 * 8400 + 3920 * 940) * 1.2)
    assert 12_500 * catalog.HGX_H100.rated_watts * 1.2 > CAPS["colossus"] * 1e6
    assert 8e6 < of_all["frontier"].peak_watts < 30e6


def test_planned_power_is_two_and_a_half_kilowatts_a_chip(of_all: dict[str, Figures]) -> None:
    for name in ("buildout", "datacenter-5gw", "stargate", "stargate-10gw"):
        assert CAPS[name] * 1e6 / of_all[name].counts.gpus == 2500.0


def test_sites_buildings_and_generations(of_all: dict[str, Figures]) -> None:
    assert of_all["stargate-abilene"].buildings == 8
    largest = max(len(range(5556 * b // 8, 5556 * (b + 1) // 8)) for b in range(8)) * 72
    assert 50_000 <= largest < 50_000 + 72  # GPUs a building, not racks
    assert set(of_all["stargate"].sites) >= {"abilene", "shackelford", "milam", "lordstown", "dona-ana", "midwest"}
    assert (len(of_all["stargate"].sites), len(of_all["stargate-10gw"].sites), len(of_all["million-gpu"].sites)) == (7, 10, 4)
    assert dict(of_all["colossus-2"].hosts_by_type) == {"hgx-h100": 18_750, "hgx-h200": 6250}
    assert dict(of_all["million-gpu"].hosts_by_type) == {
        "hgx-a100": 12_500,
        "hgx-h100": 25_000,
        "hgx-h200": 12_500,
        "gb200-nvl72": 100_000,
        "gb300-nvl72": 50_000,
    }


def test_every_two_sites_are_joined_by_a_wan_link(of_all: dict[str, Figures]) -> None:
    for found in of_all.values():
        wan, sites = found.scenario.cluster.wan, found.sites
        pairs = {frozenset(link.between) for link in wan.links} if wan else set()
        assert pairs == {frozenset((one, other)) for one in sites for other in sites if one != other}
        for link in wan.links if wan else ():
            assert 50 <= link.distance_km <= 5000


def test_docs_page_is_current(of_all: dict[str, Figures]) -> None:
    """Written by `python -m emulator.scenario.presets_page docs/presets.md`."""
    assert DOCS.read_text("utf-8") == markdown(list(of_all.values()))


@pytest.mark.parametrize("name", NAMES)
def test_every_statement_says_what_it_is(name: str) -> None:
    scenario = load(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario.assumptions
    for text in scenario.assumptions:
        assert re.match(r"(Published|Derived|Inferred|Assumed)( \([^)]+\))?(, as a goal|, not published)?: ", text), text
        assert text.endswith((".", ".)"))


def test_presets_are_listed_by_size() -> None:
    listed = CliRunner().invoke(app, ["presets", "-o", "json"])
    assert listed.exit_code == 0, listed.output
    rows = json.loads(listed.output)
    assert [row["name"] for row in rows] == sorted(COUNTS, key=lambda name: (COUNTS[name][0], name))
    assert [row["gpus"] for row in rows] == sorted(count[0] for count in COUNTS.values())
