"""A live Colossus on Ray: a real Prometheus watches it, a second terminal uses it, Ctrl-C ends it."""

import subprocess
from pathlib import Path

import psutil

from emulator.service.client import Client
from tests.integration.program import COMMAND, ROOT, descendants, live
from tests.prometheus import dashboard_expressions, needs_prometheus, rule_names, run_prometheus, wait_until


@needs_prometheus
def test_every_expression_of_the_dashboard_returns_data(tmp_path: Path) -> None:
    quota = "scheduler.queues=[{name: default, quota: 90000, cohort: all, borrowing_limit: 10000, lending_limit: 10000}]"
    chat = "services=[{name: chat, model: llama3.1-70b, tensor: 4, replicas: 8, requests: {per_second: 5}, prefix_cache: {enabled: true}}]"
    given = "--set", quota, "--set", "scheduler.cohorts=[{name: all}]", "--set", "scheduler.sites.every=1m", "--set", chat
    with live(tmp_path, "colossus", "--speed", "600", "--actors", "2", "-q", *given) as session, Client(session.address("API")) as client:
        discovery = f"http://{session.address('discovery')}"
        client.inject_fault(target="host", number=5, duration_seconds=3600)
        with run_prometheus(tmp_path, discovery) as prometheus:
            prometheus.wait_for_targets(3)  # the head and two actors
            assert prometheus.without_data([*dashboard_expressions(), *rule_names()]) == []
            assert prometheus.value("sum(gigawatt_rack_gpus)") == 100_000
            assert prometheus.value("sum(gigawatt_gpus)") == 100_000


def test_a_second_terminal_submits_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with live(tmp_path, "colossus", "--speed", "60", "--actors", "2", "-q", "-o", tmp_path / "out") as session:
        api = session.address("API")
        started = descendants(session.process.pid)
        assert len(session.actors()) == 2
        submit = [*COMMAND, "job", "submit", "--gpus", "1024", "--duration", "1h", "--api", api, "-o", "json"]
        assert subprocess.run(submit, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0
        with Client(api) as client:
            wait_until(lambda: client.job(1_000_000_000).state == "running", 60, "the job to run")
            job = client.job(1_000_000_000)
            assert (job.gpus, job.placement_level) == (1024, "pod")
        assert _listening(session.process.pid, started) == {"127.0.0.1"}
        assert session.interrupt() == 130
        assert "digest" in session.printed
        assert (tmp_path / "out" / "summary.json").exists()
        wait_until(lambda: not any(process.is_running() for process in started), 30, "every process to be gone")


def _listening(pid: int, others: list[psutil.Process]) -> set[str]:
    """Addresses on which the program and what it started listen."""
    addresses = set()
    for process in [psutil.Process(pid), *others]:
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        addresses |= {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
    return {address.removeprefix("::ffff:") for address in addresses}
