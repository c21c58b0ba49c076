"""Pictures: what they say is what the cluster has, every text has its place, and what is asked wrongly is answered."""

import os
import re
import shutil
import string
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner

from emulator.cli.app import app
from emulator.report.html import page
from emulator.report.outcome import Outcome
from emulator.report.picture.anatomy import take_apart
from emulator.report.picture.font import BOLD, REGULAR, advance_widths, covers
from emulator.report.picture.ink import SMALLEST, Sheet, fitted, text_width
from emulator.report.picture.load import LinkLoad, LoadError, heat, ink_on, read_load
from emulator.report.picture.page import picture
from emulator.report.picture.row import WIDTH, bits, line_width
from emulator.report.picture.write import png
from emulator.report.summary import summary
from emulator.scenario import Scenario, build_cluster, load
from topology.cluster import Cluster
from topology.describe import link_name
from topology.lookup import find_host, find_rack, find_switch

SVG = "{http://www.w3.org/2000/svg}"
KINDS = {
    "laptop": ("laptop",),
    "superpod-b200": ("superpod-b200",),
    "colossus": ("colossus",),
    "isolated rails": ("laptop", "cluster.gpus=2048", "cluster.rails=isolated"),
    "plain": ("laptop", "cluster.rail_optimised=false"),
    "buildings": ("laptop", "cluster.gpus=4096", "cluster.buildings=3", "cluster.oversubscription.building=4"),
    "one host": ("laptop", "cluster.gpus=8"),
    "nvl72": ("laptop", "cluster.host=gb200-nvl72", "cluster.gpus=720", "cluster.hosts_per_rack=18"),
    "frontier": ("frontier",),
    "million-gpu": ("million-gpu",),
}


@cache
def machine(kind: str) -> tuple[Cluster, Scenario]:
    scenario = load(KINDS[kind][0], list(KINDS[kind][1:]))
    return build_cluster(scenario), scenario


def some_load(cluster: Cluster) -> LinkLoad:
    count = len(cluster.links)
    down = np.zeros(count)
    down[[0, count // 2, count - 1]] = 60.0
    return LinkLoad(np.linspace(0, 1, count), np.linspace(0, 1, count), down, cluster.links.bytes_per_second)


def texts(svg: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(f"{SVG}text"))


def box(text: ET.Element) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a line of text in the shipped font."""
    size, content = float(text.attrib["font-size"]), text.text or ""
    width = text_width(content, size, bold="font-weight" in text.attrib)
    x, y = float(text.attrib["x"]), float(text.attrib["y"])
    left = x - {"middle": width / 2, "end": width}.get(text.attrib.get("text-anchor", ""), 0.0)
    return left, left + width, y - 0.75 * size, y + 0.2 * size


@pytest.mark.parametrize("loaded", [False, True], ids=["plain", "loaded"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_is_on_the_sheet_readable_and_apart_from_the_others(kind: str, loaded: bool) -> None:
    cluster, scenario = machine(kind)
    svg = picture(cluster, scenario, some_load(cluster) if loaded else None, loaded_from="out" if loaded else "")
    assert len(svg) < 300_000
    height = float(ET.fromstring(svg).attrib["height"])
    boxes = [(box(text), text.text) for text in texts(svg)]
    for (left, right, top, bottom), content in boxes:
        assert 0 <= left <= right <= WIDTH, content
        assert 0 <= top <= bottom <= height, content
    assert min(float(text.attrib["font-size"]) for text in texts(svg)) >= SMALLEST
    for at, (one, content) in enumerate(boxes):
        for other, other_content in boxes[at + 1 :]:
            apart = one[1] <= other[0] or other[1] <= one[0] or one[3] <= other[2] or other[3] <= one[2]
            assert apart, f"{content!r} and {other_content!r} overlap"


def test_it_says_what_the_cluster_has() -> None:
    said = {text.text for text in texts(picture(*machine("colossus")))}
    assert said >= {
        "784 core switches in all",
        "1,568 spine switches in all",
        "1,568 leaf switches in all",
        "196 arrays in all",
        "100,352 × 400G up",
        "100,000 × 400G up",
        "Array 0 of 196: 8 racks under 8 leaf switches",
        "19 more",
        "Hosts and switches draw at most 109 MW, the facility 130 MW (PUE 1.2); cap 150 MW",
    }
    dragonfly = {text.text for text in texts(picture(*machine("frontier")))}
    assert dragonfly >= {"74 groups in all", "2,368 switches in all", "From group p000 292 global cables, 58.4 Tb/s each way:"}
    assert "4 to each of 73 groups" in dragonfly


@pytest.mark.parametrize("kind", KINDS)
def test_racks_hosts_and_switches_have_the_names_that_commands_take(kind: str) -> None:
    cluster, scenario = machine(kind)
    said = "\n".join(text.text or "" for text in texts(picture(cluster, scenario, some_load(cluster), loaded_from="out")))
    assert not re.search(r"\b(rack|host|leaf|spine|core|switch|site) [0-9]", said)
    finders = {r"\br[0-9]+\b(?!-)": find_rack, r"\br[0-9]+-h[0-9]+\b": find_host, r"\b(?:leaf|spine|core)-[0-9]+\b": find_switch}
    for pattern, find in finders.items():
        for name in re.findall(pattern, said):
            find(cluster, name)
    assert cluster.host_name(0) in said


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_a_level_add_up_to_the_machine(kind: str) -> None:
    cluster, _ = machine(kind)
    anatomy = take_apart(cluster, some_load(cluster))
    assert anatomy.switches.sum() == cluster.links.switches.sum()
    for step in anatomy.steps:
        units = step.inner
        assert units.hosts.sum() == cluster.host_count
        assert units.gpus.sum() == cluster.gpu_count
        assert units.hosts_by_type.sum(axis=0).tolist() == list(cluster.type_hosts)
        assert (units.mean_ratio <= units.peak_ratio + 1e-12).all()
        for tier in step.tiers:
            assert tier.everywhere == cluster.links.switches[cluster.links.node_tier == tier.tier].sum()
    inmost = anatomy.steps[-1]
    assert {tier.tier for tier in inmost.tiers} >= {1}


def test_a_picture_has_the_same_bytes_again() -> None:
    cluster, scenario = machine("superpod-b200")
    assert picture(cluster, scenario) == picture(build_cluster(scenario), scenario)


def test_names_are_text_and_nothing_else() -> None:
    scenario = load("laptop", ['name="a<b>&\\u0007\\" "', "description=" + "much ado " * 60])
    svg = picture(build_cluster(scenario), scenario)
    assert 'a<b>&?" ' in {text.text for text in texts(svg)}


def test_load_is_in_the_colours_and_dead_links_are_marked() -> None:
    cluster, scenario = machine("superpod-b200")
    count = len(cluster.links)
    mean, down = np.zeros(count), np.zeros(count)
    uplinks = cluster.level("leaf").uplinks
    array = uplinks[cluster.level("leaf").uplink_start[1] : cluster.level("leaf").uplink_start[2]]
    mean[array], down[array[0]] = 1.0, 5.0
    root = ET.fromstring(picture(cluster, scenario, LinkLoad(mean, mean, down, cluster.links.bytes_per_second)))
    filled = [rect for rect in root.iter(f"{SVG}rect") if rect.attrib["fill"] == heat(1.0) and float(rect.attrib["height"]) > 50]
    assert len(filled) == 1, "array 2 alone is full"
    crosses = [path for path in root.iter(f"{SVG}path") if path.attrib["stroke"] == "#000000"]
    assert len(crosses) == 2, "the dead link's array and the key"
    said = {text.text for text in root.iter(f"{SVG}text")}
    assert {"1 trunk down at some time", "mean load 25.0 %"} <= said


def write_links(directory: Path, cluster: Cluster, **other: object) -> None:
    count = len(cluster.links)
    columns = {
        "link": np.arange(count),
        "name": [link_name(cluster, link) for link in range(count)],
        "mean_utilization_ratio": np.full(count, 0.25),
        "peak_utilization_ratio": np.full(count, 0.5),
        "down_seconds": np.zeros(count),
        "in_service_seconds": np.ones(count),
    }
    parquet.write_table(pa.table(columns | other), directory / "links.parquet")


def test_a_run_is_read_and_one_of_another_cluster_refused(tmp_path: Path) -> None:
    cluster, _ = machine("laptop")
    write_links(tmp_path, cluster)
    assert read_load(tmp_path, cluster).mean_ratio.tolist() == [0.25] * len(cluster.links)
    with pytest.raises(LoadError, match="another cluster"):
        read_load(tmp_path, machine("superpod-b200")[0])
    with pytest.raises(LoadError, match="another cluster"):
        read_load(tmp_path, machine("one host")[0])
    write_links(tmp_path, cluster, mean_utilization_ratio=np.full(len(cluster.links), np.nan))
    with pytest.raises(LoadError, match="not finite"):
        read_load(tmp_path, cluster)
    write_links(tmp_path, cluster, down_seconds=["x"] * len(cluster.links))
    with pytest.raises(LoadError, match="cannot be read"):
        read_load(tmp_path, cluster)
    (tmp_path / "links.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(LoadError, match="cannot be read"):
        read_load(tmp_path, cluster)
    with pytest.raises(LoadError, match="does not exist"):
        read_load(tmp_path / "nowhere", cluster)


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner()
    for name in ("out.svg", "out.png"):
        assert run.invoke(app, ["topology", "show", "laptop", "--picture", str(tmp_path / name)]).exit_code == 0
    assert ET.parse(tmp_path / "out.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "out.png").read_bytes()[16:20] == (2 * int(WIDTH)).to_bytes(4, "big")
    for wrong in (
        ["--picture", str(tmp_path / "out.gif")],
        ["--picture", str(tmp_path / "nowhere" / "out.svg")],
        ["--load", str(tmp_path)],
        ["--picture", str(tmp_path / "out.svg"), "--load", str(tmp_path)],
    ):
        assert run.invoke(app, ["topology", "show", "laptop", *wrong]).exit_code != 0


def drawn(content: str, *, bold: bool = False) -> bytes:
    sheet = Sheet()
    sheet.text(5, 25, content, 190, bold=bold)
    return png(sheet.document(200, 40, ""))


@pytest.mark.parametrize("bold", [False, True], ids=["regular", "bold"])
def test_every_character_of_a_png_has_a_shape_of_its_own(bold: bool) -> None:
    """A missing font leaves nothing, a missing character the same box for all."""
    shapes = [drawn(character, bold=bold) for character in string.printable.split()[0] + "éñµ×≈→–…·"]
    assert drawn("") not in shapes
    assert len(set(shapes)) == len(shapes)


def test_regular_and_bold_are_two_fonts() -> None:
    assert drawn("words") != drawn("words", bold=True)


def test_widths_are_those_of_the_shipped_font() -> None:
    """Known advances of DejaVu Sans 2.37, in units of 2,048 to the em."""
    regular, bold = advance_widths(REGULAR), advance_widths(BOLD)
    assert {letter: regular[letter] * 2048 for letter in " iM0"} == {" ": 651, "i": 569, "M": 1767, "0": 1303}
    assert {letter: bold[letter] * 2048 for letter in " iM0"} == {" ": 713, "i": 702, "M": 2038, "0": 1425}
    assert text_width("M0", 20.0) == (1767 + 1303) / 2048 * 20.0
    assert covers("Düsseldorf → Ελλάδα\n")
    assert not covers("集群")


_IN_ITS_OWN_NAMESPACE = """
import os, subprocess, sys
for folder in ("/usr/share/fonts", "/usr/local/share/fonts", "/etc/fonts"):
    if os.path.isdir(folder):
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
from emulator.cli import main
sys.argv[1:] = ["topology", "show", "laptop", "--picture", sys.argv[1]]
main()
"""


def test_a_png_has_the_same_bytes_without_fonts_on_the_machine(tmp_path: Path) -> None:
    unshare = ["unshare", "--mount", "--map-root-user"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*unshare, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode
    ):
        pytest.skip("the machine's fonts cannot be hidden here: that needs unshare and the right to mount in a namespace of one's own")
    command = [sys.executable, "-c", _IN_ITS_OWN_NAMESPACE, str(tmp_path / "without.png")]
    subprocess.run([*unshare, *command], check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)})
    assert CliRunner().invoke(app, ["topology", "show", "laptop", "--picture", str(tmp_path / "with.png")]).exit_code == 0
    assert (tmp_path / "without.png").read_bytes() == (tmp_path / "with.png").read_bytes()


def test_a_character_that_the_font_lacks_does_not_stop_the_picture() -> None:
    assert drawn("a集b").startswith(b"\x89PNG")


@given(st.text(max_size=80), st.floats(8, 30), st.floats(0, 400), st.booleans())
def test_fitted_text_fits(content: str, size: float, room: float, bold: bool) -> None:
    shown, at = fitted(content, size, room, bold=bold)
    assert text_width(shown, at, bold=bold) <= room * (1 + 1e-9) or not shown
    assert content.startswith(shown.removesuffix("…"))
    assert min(size, SMALLEST) <= at <= max(size, SMALLEST)


def test_the_scale_darkens_and_text_on_it_reads() -> None:
    def luminance(colour: str) -> float:
        linear = [float(((int(colour[at : at + 2], 16) / 255 + 0.055) / 1.055) ** 2.4) for at in (1, 3, 5)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    steps = [heat(ratio) for ratio in np.linspace(0, 1, 101)]
    assert all(luminance(one) > luminance(other) for one, other in pairwise(steps))
    for colour in steps:
        light, dark = sorted((luminance(colour), luminance(ink_on(colour))))
        assert (dark + 0.05) / (light + 0.05) >= 4.5, "WCAG 2, AA"


def test_widths_and_words_of_bandwidth() -> None:
    assert line_width(100e9 / 8) == 1.0
    assert line_width(1e12 / 8) == pytest.approx(2.2)
    assert bits(50e9) == "400 Gb/s"


def test_the_report_has_the_picture_in_it(outcome: Outcome) -> None:
    svg = picture(*machine("laptop"))
    html = page(replace(outcome, picture=lambda: svg), summary(outcome))
    (data,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert b64decode(data).decode() == svg
    assert "data:image" not in page(outcome, summary(outcome))
