"""The examples of the formats' own documentation (see examples/README.md)."""

from pathlib import Path

import numpy as np
import pytest

from topology.compile import compile_cluster
from topology.formats import FORMATS, detect, lost, read_graph, write_graph

EXAMPLES = Path(__file__).parent / "examples"

#: file: format, host type, leaf units by hosts, pods
READ = {
    "slurm/tree.conf": ("slurm-tree", "hgx-h100", [6, 6, 6], 1),
    "slurm/guide-1.conf": ("slurm-tree", "hgx-h100", [2, 2, 2, 2], 2),
    "slurm/guide-2.conf": ("slurm-tree", "hgx-h100", [4, 4, 4, 4], 1),
    "slurm/guide-3.conf": ("slurm-tree", "hgx-h100", [4, 4, 4, 4], 1),
    "slurm/block.conf": ("slurm-block", "hgx-h100", [32, 32, 32, 32], 1),
    "slurm/yaml-1.yaml": ("slurm-yaml", "hgx-h100", [2, 2], 1),
    "slurm/yaml-2.yaml": ("slurm-yaml", "hgx-h100", [4], 1),
    "topograph/modeling.yaml": ("topograph", "hgx-h100", [3], 1),
    "topograph/small-tree.yaml": ("topograph", "hgx-h100", [3, 3], 1),
    "topograph/medium.yaml": ("topograph", "gb200-nvl72", [2, 2, 2, 2], 2),
    "topograph/medium-h100.yaml": ("topograph", "hgx-h100", [2, 2, 2, 2], 2),
    "topograph/nvl72.yaml": ("topograph", "gb200-nvl72", [18, 18, 18, 18], 2),
    "topograph/crusoe-small.yaml": ("topograph", "hgx-h100", [2, 2, 2], 2),
    "topograph/dual-xclr-irregular.yaml": ("topograph", "hgx-h100", [9, 9, 7, 9, 9, 5], 2),
}


@pytest.mark.parametrize("name", READ)
def test_the_documentations_examples_are_read(name: str) -> None:
    form, host, leaves, pods = READ[name]
    path = EXAMPLES / name
    assert detect(path.read_text()) == form
    cluster = compile_cluster(read_graph(path, host=host))
    assert np.diff(cluster.level("leaf").first_host).tolist() == leaves
    assert len(cluster.level("pod")) == pods
    assert len(cluster.level("site")) == 1
    assert any("Assumed: host" in sentence for sentence in cluster.assumptions)


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_read_is_written_again(name: str, form: str, tmp_path: Path) -> None:
    _, host, _, _ = READ[name]
    graph = read_graph(EXAMPLES / name, host=host)
    cluster = compile_cluster(graph)
    path = tmp_path / "again"
    path.write_text(write_graph(graph, cluster, form))
    assert detect(path.read_text()) == form
    again = compile_cluster(read_graph(path, host=host))
    assert again.host_names == cluster.host_names
    for level in ("leaf", "pod") if form != "slurm-block" else ("domain",):
        assert again.level(level).first_host.tolist() == cluster.level(level).first_host.tolist()
    if form in ("slurm-tree", "slurm-yaml", "topograph"):
        assert again.switch_names is not None
        assert cluster.switch_names is not None
        assert again.switch_names[: len(cluster.level("leaf"))] == cluster.switch_names[: len(cluster.level("leaf"))]
    assert bool(lost(cluster, form)) == (form not in ("node-link", "graphml"))


def test_names_are_the_files() -> None:
    cluster = compile_cluster(read_graph(EXAMPLES / "slurm/guide-1.conf"))
    assert cluster.host_names == tuple(f"tux{number}" for number in range(8))
    assert cluster.switch_names == ("s0", "s1", "s2", "s3", "s4", "s5", "s6")
    assert cluster.host_name(3) == "tux3"


def test_spines_listed_one_by_one_are_a_bank_and_link_speed_is_relative() -> None:
    """Slurm's guide, second example: four switches above the same four leaves; s3 has twice the LinkSpeed of the others."""
    cluster = compile_cluster(read_graph(EXAMPLES / "slurm/guide-2.conf"))
    assert cluster.switch_names == ("s0", "s1", "s2", "s3", "s[4-7]")
    assert cluster.counts.spine == 4
    up = cluster.links.bytes_per_second[cluster.level("leaf").uplinks]
    assert (up[3] / up[:3]).tolist() == [2.0, 2.0, 2.0]
    assert up[3] == 4 * 8 * 50e9  # 4 hosts of 8 NICs at 400 Gb/s
    assert any("LinkSpeed" in sentence for sentence in cluster.assumptions)


def test_nvl72_domains() -> None:
    cluster = compile_cluster(read_graph(EXAMPLES / "topograph/nvl72.yaml", host="gb200-nvl72"))
    assert cluster.level("domain").first_host.tolist() == [0, 18, 36, 54, 72]
    assert cluster.host_names is not None
    assert cluster.host_names[:2] == ("node1101", "node1102")
    assert cluster.counts.gpus == 288


def test_blocks_of_more_hosts_than_a_domain_are_cut() -> None:
    cluster = compile_cluster(read_graph(EXAMPLES / "slurm/block.conf", host="gb200-nvl72"))
    assert np.diff(cluster.level("domain").first_host).tolist() == [18, 14] * 4
    assert len(cluster.level("leaf")) == 4


def test_what_no_switch_has_is_left_out_and_said() -> None:
    cluster = compile_cluster(read_graph(EXAMPLES / "topograph/medium-h100.yaml"))
    assert "Left out: 2 nodes that are under no switch: n10-[1-2]." in cluster.assumptions
    cluster = compile_cluster(read_graph(EXAMPLES / "topograph/dual-xclr-irregular.yaml"))
    assert "Left out: switch rack-1-03, which has no hosts below it." in cluster.assumptions
