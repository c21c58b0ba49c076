"""Reserved hosts of a scenario: what names mean, and errors that say where."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.scenario import ScenarioError, build_cluster
from emulator.scenario.load import load
from emulator.scenario.reserved_hosts import build_reservations
from emulator.scheduler.calendar import HostReservation
from topology.cluster import Cluster

BASE: dict[str, Any] = {
    "name": "kept",
    "cluster": {"host": "hgx-h100", "hosts": 16, "hosts_per_rack": 4, "switch": "qm9700"},
}
GIVEN: dict[str, Any] = {"name": "night", "hosts": "r00001", "start": "2h", "duration": "4h"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    file = tmp_path_factory.mktemp("scenario") / "kept.yaml"
    file.write_text(yaml.safe_dump(BASE))
    return build_cluster(load(file))


def built(tmp_path: Path, cluster: Cluster, *given: Mapping[str, object]) -> tuple[HostReservation, ...]:
    file = tmp_path / "kept.yaml"
    file.write_text(yaml.safe_dump(BASE | {"scheduler": {"queues": [{"name": "default"}, {"name": "class"}], "reservations": list(given)}}))
    return build_reservations(load(file), cluster)


@pytest.mark.parametrize(
    ("hosts", "numbers", "called"),
    [
        ("r00001", [4, 5, 6, 7], "rack r00001"),
        ("r00002-h03", [11], "host r00002-h03"),
        ("r[00000-00001]-h00", [0, 4], "hosts r[00000-00001]-h00"),
        (["r00000", "r00003-h01"], [0, 1, 2, 3, 13], "rack r00000, host r00003-h01"),
        ("all", list(range(16)), "all hosts"),
        (3, [13, 14, 15], "3 hosts"),
    ],
)
def test_what_hosts_mean(tmp_path: Path, cluster: Cluster, hosts: object, numbers: list[int], called: str) -> None:
    (found,) = built(tmp_path, cluster, GIVEN | {"hosts": hosts})
    assert (list(found.hosts), found.called) == (numbers, called)


def test_so_many_hosts_are_those_that_nothing_else_keeps_then(tmp_path: Path, cluster: Cluster) -> None:
    _, other, later = built(
        tmp_path,
        cluster,
        GIVEN | {"hosts": "r00003"},
        GIVEN | {"name": "other", "hosts": 2},
        GIVEN | {"name": "later", "hosts": 2, "start": "6h"},
    )
    assert (other.hosts, later.hosts) == ((10, 11), (14, 15))


@pytest.mark.parametrize(
    ("given", "field", "text"),
    [
        ({"hosts": "r00009"}, "hosts", "allowed: all, a rack"),
        ({"hosts": "r00001-h[00-"}, "hosts", "r00001-h"),
        ({"hosts": 17}, "hosts", "up to 12"),
        ({"hosts": 2, "gpu_type": "GB200"}, "gpu_type", "H100"),
        ({"gpu_type": "H100"}, "reservations", "a number of hosts"),
        ({"duration": "0s"}, "duration", "greater than 0"),
        ({"every": "1d"}, "reservations", "every and times go together"),
        ({"every": "3h", "times": 2}, "reservations", "less than the duration"),
        ({"queues": ["nobody"]}, "queues", "default, class"),
        ({"queues": ["class"], "maintenance": True}, "reservations", "maintenance is for nobody"),
        ({"running": "stop"}, "running", "requeue"),
        ({"name": "first"}, "name", "two of the name"),
        ({"name": "second", "hosts": "all", "start": "5h"}, "start", "r00002-h00 is kept at that time already, by reservation first"),
    ],
)
def test_errors_name_the_field(tmp_path: Path, cluster: Cluster, given: Mapping[str, object], field: str, text: str) -> None:
    first: Mapping[str, object] = GIVEN | {"name": "first", "hosts": "r00002", "start": "2h"}
    with pytest.raises(ScenarioError) as caught:
        built(tmp_path, cluster, first, {**GIVEN, **given})
    assert field in str(caught.value)
    assert text in str(caught.value)
