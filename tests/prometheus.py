"""A real Prometheus for tests: started on a free loopback port with the configuration that this repository ships, ended by its pid.

with run_prometheus(tmp_path, "http://127.0.0.1:9464/sd") as prometheus:
    assert prometheus.without_data(dashboard_expressions()) == []
"""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/gigawatt.json"

needs_prometheus = pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed (Debian package prometheus)")
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian package prometheus)")


def dashboard_expressions(path: Path = DASHBOARD) -> list[str]:
    """Every expression of a dashboard, with the values that Grafana would fill in for a scrape interval of 5 s."""
    panels = json.loads(path.read_text())["panels"]
    raw = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return list(dict.fromkeys(expr.replace("$__rate_interval", "20s").replace("$cluster", ".*") for expr in raw))


def rule_names() -> list[str]:
    """What the shipped recording rules write."""
    paths = [CONFIGURATION.parent / name for name in yaml.safe_load(CONFIGURATION.read_text())["rule_files"]]
    rules = [rule for path in paths for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
    return [rule["record"] for rule in rules if "record" in rule]


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Ask again every 0.1 s until ``condition`` holds. Raises TimeoutError saying ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Prometheus:
    url: str
    log: Path

    def _get(self, path: str, **parameters: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{path} {parameters}: {error.read().decode(errors='replace')}") from error

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query, now; empty where there are none. Raises ValueError with Prometheus' words where it is wrong."""
        result: list[dict[str, Any]] = self._get("/api/v1/query", query=expr)["result"]
        return result

    def value(self, expr: str) -> float:
        """The value of a query that has exactly one series."""
        (series,) = self.query(expr)
        return float(series["value"][1])

    def targets(self) -> list[dict[str, Any]]:
        active: list[dict[str, Any]] = self._get("/api/v1/targets", state="active")["activeTargets"]
        return active

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self._get("/api/v1/metadata")
        return found

    def wait_for_targets(self, count: int, seconds: float = 60.0) -> None:
        """Until ``count`` targets are up."""

        def up() -> bool:
            return sum(bool(target["health"] == "up") for target in self.targets()) >= count

        wait_until(up, seconds, f"{count} targets to be up")

    def without_data(self, expressions: Iterable[str], seconds: float = 60.0) -> list[str]:
        """The expressions that have returned no series within ``seconds``."""
        missing = list(expressions)
        deadline = time.monotonic() + seconds
        while True:
            missing = [expr for expr in missing if not self.query(expr)]
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(0.2)


def _listening(process: psutil.Process) -> int | None:
    """The port that a process listens on, None while there is none."""
    for connection in process.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN:
            return int(connection.laddr.port)
    return None


@contextmanager
def run_prometheus(tmp_path: Path, sd_url: str, *, interval: str = "1s") -> Iterator[Prometheus]:
    """Prometheus with the shipped configuration and rules, asking ``sd_url`` what to scrape every ``interval``.

    Only the discovery address and the intervals differ from what is shipped. Skips the test where Prometheus is not installed; raises
    RuntimeError with its log where it does not come up.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed (Debian package prometheus)")
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval)
    configuration["rule_files"] = [str(CONFIGURATION.parent / name) for name in configuration["rule_files"]]
    (job,) = configuration["scrape_configs"]
    job["http_sd_configs"] = [{"url": sd_url, "refresh_interval": interval}]
    home = tmp_path / "prometheus"
    home.mkdir()
    (home / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    log = home / "log"
    command = [
        binary,
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={home / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=home)
    watched = psutil.Process(process.pid)
    try:

        def up() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"prometheus ended with {process.returncode}:\n{log.read_text()}")
            return _listening(watched) is not None

        wait_until(up, 60, "prometheus to listen")
        prometheus = Prometheus(f"http://127.0.0.1:{_listening(watched)}", log)

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=30) as response:
                    return bool(response.status == 200)
            except urllib.error.HTTPError:
                return False

        wait_until(ready, 60, "prometheus to be ready")
        yield prometheus
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
