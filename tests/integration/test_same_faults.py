"""One answer with everything that may fail: the digest over actors and pacing, and with an actor killed on the way."""

import json
from pathlib import Path

from tests.integration.program import live, run
from tests.prometheus import wait_until

SCENARIO = """
name: all-faults
cluster: {host: gb200-nvl72, hosts: 216, hosts_per_rack: 18, switch: quantum-x800, buildout: {initial_racks: 8, until: 12h}}
clock: {cycle: 10s, until: 1d}
workload: {kind: generated, generated: {load: 0.9}}
fabric: {faults: {enabled: true, cable_percent_per_month: 100}}
faults:
  host_rate_per_1000_node_days: 200
  memory_errors: all
  crews: 3
  lemons: {ratio: 0.05}
  new_hosts: {factor: 5, settle: 3d, burn_in: 2h}
  suspects: {per_1000_node_days: 40}
  slow: {per_1000_node_days: 40}
  units:
    rack: {per_year: 40}
    leaf: {per_year: 20}
    cooling_unit: {per_year: 60, racks: 3, repair: 2h}
    power_feed: {per_year: 60, racks: 5, repair: 2h}
    switch_tray: {per_year: 100}
    backplane: {per_year: 20, repair: 3h}
  script: [{at: 5h, kind: gpu, name: "r00001-h02#1"}, {at: 12h, kind: rack, name: 3}]
"""


def test_where_and_how_it_runs_does_not_matter(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(SCENARIO)
    summary, _ = run("run", file, "--until", "1d", "--actors", "inline")
    assert summary["jobs"]["restarts"] > 10
    for actors in (2, 5):
        assert run("run", file, "--until", "1d", "--actors", actors)[0]["digest"] == summary["digest"]
    with live(tmp_path, file, "--until", "1d", "--actors", "2", "--speed", "8000", "-o", tmp_path / "out", "-q") as session:
        session.address("API")
        wait_until(lambda: len(session.actors()) == 2, 60, "two actors")
        session.actors()[0].kill()
        assert session.process.wait(180) == 0, session.printed
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["digest"] == summary["digest"]
