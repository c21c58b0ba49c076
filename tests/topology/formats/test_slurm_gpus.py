"""Which nodes have GPUs, from gres.conf and slurm.conf as sites have them."""

from pathlib import Path

import pytest

from topology.formats.errors import FormatError
from topology.formats.slurm_gpus import NodeGpus, host_types, read_gres_conf, read_slurm_conf

_CONF = """# cluster
ClusterName=lab   # ours
SlurmctldParameters=cloud_dns,idle_on_node_suspend
NodeName=DEFAULT CPUs=128 RealMemory=2000000 Gres=gpu:h100:8(S:0-1),nvme:1 \\
    State=UNKNOWN
NodeName=g[01-04] Feature="a b"
nodename=h[1-2],h5 gres=gpu:H200:no_consume:8
NodeName=login[1-2] Gres=
Include old.conf
Include /etc/slurm/nowhere.conf
PartitionName=all Nodes=ALL Default=YES
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "old.conf").write_text("NodeName=o[1-2] Gres=gpu:tesla:4\n")
    (tmp_path / "slurm.conf").write_text(_CONF)
    return tmp_path / "slurm.conf"


def _gres(folder: Path, text: str) -> NodeGpus:
    (folder / "gres.conf").write_text(text)
    return read_gres_conf(folder / "gres.conf")


def test_nodes_of_slurm_conf(conf: Path) -> None:
    found = read_slurm_conf(conf)
    assert {node: dict(gpus) for node, gpus in found.by_node.items()} == {
        **{f"g0{number}": {"h100": 8} for number in range(1, 5)},
        **{name: {"h200": 8} for name in ("h1", "h2", "h5")},
        "login1": {},
        "login2": {},
        "o1": {"tesla": 4},
        "o2": {"tesla": 4},
    }
    assert len(found.notes) == 1
    assert "/etc/slurm/nowhere.conf" in found.notes[0]
    with pytest.raises(FormatError, match=r"no known host type matches o\[1-2\], 4 GPUs of type tesla"):
        host_types(found, None, {}, "hgx-h100")
    assert host_types(found, None, {"o[1-2]": "none"}, "hgx-h100") == {"o[1-2]": "none", "g[01-04]": "hgx-h100", "h[1-2,5]": "hgx-h200"}


def test_gres_conf(tmp_path: Path) -> None:
    """Files are counted, lines of a node add up, and what is no GPU is nothing."""
    found = _gres(
        tmp_path,
        """AutoDetect=off
NodeName=a[1-2] Name=gpu Type=nvidia_h100_80gb_hbm3 File=/dev/nvidia[0-3] Cores=0-31 # first socket
NodeName=a[1-2] Name=gpu Type=nvidia_h100_80gb_hbm3 \\
  File=/dev/nvidia[4-5,6-7]
NodeName=b1 Name=gpu Type=a100 Count=8
NodeName=b1 Name=mps Count=800
""",
    )
    assert host_types(None, found, {}, "hgx-h100") == {"a[1-2]": "hgx-h100", "b1": "hgx-a100"}


def test_a_line_without_nodes_is_of_all(tmp_path: Path, conf: Path) -> None:
    everywhere = _gres(tmp_path, "Name=gpu Type=a100 File=/dev/nvidia[0-7]\n")
    assert host_types(None, everywhere, {}, "hgx-h100") == {"*": "hgx-a100"}
    (tmp_path / "slurm.conf").write_text("NodeName=n[1-2] Gres=gpu:8\nNodeName=login\n")
    assert host_types(read_slurm_conf(conf), everywhere, {}, "hgx-h100") == {"n[1-2]": "hgx-a100"}


def test_a_type_that_nobody_says_is_the_usual_one(tmp_path: Path, conf: Path) -> None:
    (tmp_path / "slurm.conf").write_text("NodeName=n[1-2] Gres=gpu:8\nNodeName=m[1-2] Gres=gpu:4\n")
    nodes = read_slurm_conf(conf)
    with pytest.raises(FormatError, match=r"matches m\[1-2\], 4 GPUs; hgx-h200 has 8"):
        host_types(nodes, None, {}, "hgx-h200")
    given = host_types(nodes, None, {"m[1-2]": "gb200-nvl72"}, "hgx-h200")
    assert given == {"m[1-2]": "gb200-nvl72", "n[1-2]": "hgx-h200"}


def test_what_slurm_finds_itself(tmp_path: Path, conf: Path) -> None:
    """AutoDetect: gres.conf may say the type, slurm.conf how many."""
    detected = _gres(tmp_path, "AutoDetect=nvml\n")
    with pytest.raises(FormatError, match="AutoDetect alone"):
        host_types(None, detected, {}, "hgx-h100")
    (tmp_path / "slurm.conf").write_text("NodeName=n[1-2] Gres=gpu:8\n")
    assert host_types(read_slurm_conf(conf), detected, {}, "hgx-h100") == {"n[1-2]": "hgx-h100"}
    typed = _gres(tmp_path, "AutoDetect=nvml\nName=gpu Type=h200\n")
    assert host_types(read_slurm_conf(conf), typed, {}, "hgx-h100") == {"n[1-2]": "hgx-h200"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NodeName=n1 Gres=gpu:h100:many:8\n", "conf:1: Gres 'gpu:h100:many:8' is not of the form"),
        ("NodeName=n1 Gres=gpu:h100:800000\n", "of at most 64"),
        ("NodeName=n[1- Gres=gpu:8\n", "conf:1: .*without"),
        ("PartitionName=x Nodes=ALL\n", "no line with NodeName"),
        ("\nNodeName=n1 Gres\n", "conf:2: 'Gres' is not of the form Key=value"),
        ("Include slurm.conf\n", "too deeply"),
    ],
)
def test_errors_of_slurm_conf(text: str, problem: str, conf: Path) -> None:
    conf.write_text(text)
    with pytest.raises(FormatError, match=problem):
        read_slurm_conf(conf)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Name=gpu Count=lots\n", "conf:1: Count 'lots'"),
        ("Name=gpu File=/dev/nvidia[0-999]\n", "File: "),
        ("Name=nic Count=8\n", "no line with Name=gpu"),
        ("Name gpu\n", "not of the form"),
    ],
)
def test_errors_of_gres_conf(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=problem):
        _gres(tmp_path, text)
