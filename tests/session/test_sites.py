"""Sites in a live session: what is refused at the door, why a job waits, what is counted, and that it outlives a crash."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.errors import InvalidRequest
from emulator.engine.job_control import JobState
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.runtime.submissions import jobs_of, payload_of
from emulator.scenario import Scenario
from emulator.workload.jobs import SECOND, JobColumns, Locality, job_columns

FIRST = 10**9
SITES = """
name: two
cluster:
  parts:
  - {name: west, site: west, host: hgx-h100, hosts: 4, hosts_per_rack: 4}
  - {name: east, site: east, host: hgx-h100, hosts: 2, hosts_per_rack: 2}
  wan: {gateway_bandwidth: 800Gbps, distance_km: 100}
clock: {cycle: 10s, until: 1h, speed: max}
workload: {kind: none}
faults: {enabled: false}
runtime: {actors: inline}
scheduler:
  sites:
    every: 10s
    datasets: [{name: web, home: west, size: 3TB, tenants: [crawlers]}]
"""


def jobs(count: int = 1, *, site: str = "", prefer: str = "", dataset: str = "", **columns: Any) -> JobColumns:
    wish = Locality(site, prefer, dataset)
    return job_columns(count, **{"submit_ns": 0, "gpus": 8, "duration_ns": 95 * SECOND, "locality": 0, "localities": (wish,)} | columns)


@pytest.fixture
def paused(session: Callable[..., Session]) -> Callable[..., Session]:
    def make(text: str = SITES, **options: Any) -> Session:
        made = session(text, **options)
        made.pause()
        made.start()
        return made

    return make


def test_what_is_not_there_is_refused(paused: Callable[..., Session], scenario: Callable[..., Scenario]) -> None:
    made = paused()
    for wanted, field, allowed in (
        (jobs(site="mars"), "site", "west, east"),
        (jobs(prefer="mars"), "prefer_site", "west, east"),
        (jobs(dataset="maps"), "dataset", "web"),
    ):
        with pytest.raises(InvalidRequest, match="there is no") as caught:
            made.submit(wanted)
        assert (caught.value.field, caught.value.allowed) == (field, allowed)
    made.submit(jobs(site="east"), "r")
    with pytest.raises(InvalidRequest, match="was used for another request"):
        made.submit(jobs(site="west"), "r")
    with pytest.raises(InvalidRequest, match="names a site or a dataset"):
        paused(SITES.split("scheduler:", maxsplit=1)[0]).submit(jobs(site="east"))


def test_data_is_waited_for_counted_and_there_after_a_crash(
    paused: Callable[..., Session], scenario: Callable[..., Scenario], tmp_path: Path
) -> None:
    """3 TB take 30 s at 800 Gb/s. West is full, so the crawlers' job goes to east; what requires west waits in the global queue."""
    made = paused(state_dir=tmp_path / "state")
    made.submit(jobs(4, site="west", duration_ns=1000 * SECOND))
    made.submit(jobs(tenant=0, tenants=("crawlers",), locality=-1, localities=()))
    made.submit(jobs(site="west", gpus=16))
    made.submit(jobs(site="east", gpus=24))
    made.step(2)
    why = made.explain(FIRST + 4)
    assert (why.kind, why.text) == ("data", "dataset web is on its way to east, until 30 s")
    why = made.explain(FIRST + 5)
    assert (why.kind, why.position) == ("dispatch", 0)
    assert why.text == "waits to be dispatched: west has 0 of 32 GPUs free and 0 waited for, score -0.5, closed: no room"
    assert made.job(FIRST + 6).state == JobState.INFEASIBLE
    assert made.job(FIRST + 6).reason == "it requires site east, which is too small for it; large enough: west"
    snapshot = made.snapshot()
    assert {kind: count for kind, count in snapshot.pending_jobs_by_reason.items() if count} == {"data": 1, "dispatch": 1}
    assert snapshot.sites is not None
    assert [(site.pending_jobs, site.dispatched_jobs, site.received_bytes) for site in snapshot.sites.sites] == [
        (0, 4, 0),
        (1, 1, 3 * 10**12),
    ]
    assert [site.demand_ratio for site in snapshot.sites.sites] == [1.5, 0.5], "who waits to be dispatched to west is its demand"
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    again: Any = open_session(scenario(SITES), state_dir=tmp_path / "crashed")
    again.pause()
    again.start()
    digests = []
    for one in (made, again):
        with closing(one):
            one.step(3)
            assert (one.job(FIRST + 4).state, one.job(FIRST + 4).start_seconds) == (JobState.RUNNING, 30.0)
            one.step(120)
            assert {one.job(FIRST + number).state for number in range(6)} == {JobState.FINISHED}
            one.stop()
            values = summary(one.outcome())
            assert values["sites"]["by_site"]["east"]["received_bytes"] == 3 * 10**12
            digests.append(values["digest"])
    assert digests[0] == digests[1]


def test_the_journal_keeps_them() -> None:
    payload = json.loads(json.dumps(payload_of(jobs(2, prefer="east"))))
    assert jobs_of(payload).localities == (Locality("", "east", ""),)
    for word in ("locality", "localities"):
        del payload[word]
    assert jobs_of(payload).locality.tolist() == [-1, -1]
