"""Islands: sites that nothing joins. A job runs on one of them or never."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.scheduler.explain import explain_pending
from emulator.scheduler.limits import Limits
from emulator.scheduler.placements import PLACEMENTS
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import State
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES, SECOND, job_columns
from topology.cluster import Cluster
from topology.compile import compile_cluster
from topology.formats import read_graph

_ISLANDS = """SwitchName=east Switches=e[1-2]
SwitchName=e1 Nodes=n[1-6]
SwitchName=e2 Nodes=n[7-10]
SwitchName=west Nodes=n[11-16]
"""
_LEAF = LEVEL_NAMES.index("leaf")


@pytest.fixture(scope="module")
def islands(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return _cluster(tmp_path_factory.mktemp("islands"), _ISLANDS)


def _cluster(folder: Path, text: str, **options: Any) -> Cluster:
    path = folder / "topology.conf"
    path.write_text(text)
    return compile_cluster(read_graph(path, hosts_per_rack=2, **options))


def _arrived(cluster: Cluster, gpus: list[int], **chosen: Any) -> Scheduler:
    policy, placement = POLICIES[chosen.pop("policy", "easy")], PLACEMENTS[chosen.pop("placement", "topology")]
    scheduler = Scheduler(cluster, SchedulerSettings(policy, placement, **chosen), SECOND)
    count = len(gpus)
    jobs = job_columns(
        count,
        job_id=np.arange(count),
        submit_ns=np.zeros(count, dtype=np.int64),
        gpus=np.array(gpus),
        duration_ns=np.full(count, 100 * SECOND),
        estimate_ns=np.full(count, 100 * SECOND),
    )
    for slot in scheduler.add(jobs):
        scheduler.arrive(slot)
    return scheduler


@pytest.mark.parametrize("policy", ["fifo", "easy", "sjf", "conservative"])
@pytest.mark.parametrize("placement", PLACEMENTS)
@given(gpus=st.lists(st.integers(1, 100), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)
def test_no_job_spans_islands(policy: str, placement: str, gpus: list[int], islands: Cluster) -> None:
    scheduler = _arrived(islands, gpus, policy=policy, placement=placement)
    site = islands.level("site").host_unit
    table = scheduler.table
    assert [table.state[slot] == State.INFEASIBLE for slot in range(len(gpus))] == [wanted > 80 for wanted in gpus]
    running: list[int] = []
    for cycle in range(len(gpus) + 1):
        for slot in running:
            scheduler.release(slot, at_ns=cycle * 100 * SECOND)
        running = [slot for slot, _ in scheduler.plan(cycle * 100 * SECOND).starts]
        for slot in running:
            assert len({int(site[host]) for host in scheduler.hosts_of(table.rows[slot])}) == 1
    assert not scheduler.pending_jobs  # what fits on an island has run


def test_what_waits_for_an_island_says_so(islands: Cluster) -> None:
    """16 hosts, 10 at most in one island: the first two jobs have 5 and 2 of them."""
    scheduler = _arrived(islands, [40, 16, 72], policy="fifo", placement="topology")
    scheduler.plan(0)
    assert explain_pending(scheduler, 2).text == (
        "needs 9 whole hosts inside one island; 9 whole hosts are free, at most 6 of them in one island (the largest has 10)"
    )


def test_limits_have_the_largest_units_name_and_size(islands: Cluster) -> None:
    limits = Limits(islands)
    assert limits.never_fits(88, ANY_LEVEL, ()) == (
        "88 GPUs never fit: no job runs on two islands, and the largest island (site/east) holds 80 GPUs",
        80,
    )
    assert limits.never_fits(64, _LEAF, (0,)) == ("64 GPUs inside one leaf never fit: the largest leaf (e1) holds 48 GPUs", 48)
    assert limits.never_fits(64, LEVEL_NAMES.index("rack"), (0,)) == ("64 GPUs inside one rack never fit: each rack holds 16 GPUs", 16)
    assert limits.never_fits(9, LEVEL_NAMES.index("host"), (0,)) == ("9 GPUs inside one host never fit: each host holds 8 GPUs", 8)


def test_limits_of_several_types(tmp_path: Path) -> None:
    text = "SwitchName=a Nodes=n[1-5],g[1-20]\nSwitchName=b Nodes=n[6-8]\nSwitchName=t Switches=a,b\n"
    types = {"n[1-8]": "hgx-h100", "g[1-20]": "gb200-nvl72"}
    path = tmp_path / "topology.conf"
    path.write_text(text)
    limits = Limits(compile_cluster(read_graph(path, host_types=types)))
    message, most = limits.never_fits(200, _LEAF, ())
    assert "the largest leaf of hgx-h100 hosts (a-hgx-h100) holds 40 GPUs" in message
    assert "each leaf of gb200-nvl72 hosts holds 80 GPUs" in message
    assert most == 80
    domain = LEVEL_NAMES.index("domain")
    assert limits.never_fits(100, domain, (1,)) == (
        "100 GPUs inside one domain never fit: the largest domain of gb200-nvl72 hosts holds 72 GPUs",
        72,
    )
    assert limits.never_fits(500, ANY_LEVEL, ()) == (
        "500 GPUs never fit on this cluster of 64 hgx-h100 GPUs and 80 gb200-nvl72 GPUs",
        80,
    )
