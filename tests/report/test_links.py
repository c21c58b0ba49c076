"""What a run says about its links: the table by tier, links.parquet and the picture are one set of numbers."""

import re
from pathlib import Path

import numpy as np
import pytest

from emulator.report.files import write
from emulator.report.outcome import Outcome
from emulator.report.picture.load import read_load
from emulator.report.picture.page import picture
from emulator.report.tables import sections
from emulator.report.units import percent
from emulator.runtime.opening import open_session
from emulator.scenario import build_cluster, load
from topology.cluster import TIERS


def run(name: str, *settings: str) -> Outcome:
    session = open_session(load(name, ["runtime.actors=inline", *settings]))
    try:
        return session.run_to_end()
    finally:
        session.close()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("superpod-b200", ("clock.until=3h",)),
        ("superpod-b200", ("clock.until=3h", "cluster.oversubscription.leaf=4", "scheduler.placement=spread")),
        ("superpod-b200", ("clock.until=3h", "cluster.buildout={initial_racks: 4, until: 3h}")),
        ("frontier", ("clock.until=20m",)),
    ],
)
def test_the_table_the_file_and_the_picture_agree(name: str, settings: tuple[str, ...], tmp_path: Path) -> None:
    outcome = run(name, *settings)
    values = write(tmp_path, outcome)
    cluster = build_cluster(load(name, settings))
    from_file, links = read_load(tmp_path, cluster), cluster.links
    for tier, said in values["fabric"]["by_tier"].items():
        here = links.tier == TIERS.index(tier)
        mean = np.average(from_file.mean_ratio[here], weights=from_file.weight[here])
        assert said["mean_utilization_ratio"] == pytest.approx(mean, rel=1e-9)
        assert said["busiest_mean_utilization_ratio"] == from_file.mean_ratio[here].max()
        assert 0.0 <= said["mean_utilization_ratio"] <= said["busiest_mean_utilization_ratio"] <= said["peak_utilization_ratio"] + 1e-9
        assert said["peak_utilization_ratio"] <= 0.95 * (1 + 1e-8)
        if tier != "host_leaf":
            assert said["peak_utilization_ratio"] == from_file.peak_ratio[here].max()
    assert outcome.picture is not None
    shown = outcome.picture()
    assert picture(cluster, load(name, settings), from_file) == shown
    words = dict(dict(sections(values))["Fabric"])
    for tier, label in (("leaf_spine", "leaf-spine trunks"), ("host_leaf", "NICs"), ("local", "local trunks"), ("global", "global trunks")):
        if tier in values["fabric"]["by_tier"]:
            said = values["fabric"]["by_tier"][tier]
            figures = [percent(said[f"{key}_utilization_ratio"]) for key in ("mean", "busiest_mean", "peak")]
            assert re.findall(r"[0-9.]+ %", words[label]) == figures
            nics = tier == "host_leaf"
            assert f">mean load {figures[0]}<" in shown
            assert f">busiest trunk, {f'mean {figures[1]}' if nics else f'at its peak {figures[2]}'}<" in shown


def test_links_that_are_still_to_come_are_no_capacity() -> None:
    """Half of the racks come at the end: what the others' links carried is over what these could."""
    whole = run("superpod-b200", "clock.until=3h", "faults.enabled=false")
    built = run("superpod-b200", "clock.until=3h", "faults.enabled=false", "cluster.buildout={initial_racks: 16, until: 30d}")
    assert built.capacity_gpu_seconds == pytest.approx(whole.capacity_gpu_seconds / 2, rel=0.01)
    at_publications = built.timeline.link_load_ratio[:, 0].mean()  # the same ratio, now and then
    assert built.tiers["host_leaf"].mean_ratio == pytest.approx(at_publications, rel=0.1)
