"""What is committed is what the table gives, and it is sound."""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import promql_parser
import pytest

from emulator.telemetry.__main__ import generated, main
from emulator.telemetry.dashboard import COLUMNS, ROWS, dashboard, rows
from emulator.telemetry.metric import Kind
from emulator.telemetry.rules import GROUPS
from emulator.telemetry.server import DEFAULT_PORT
from emulator.telemetry.table import TABLE
from tests.prometheus import CONFIGURATION, ROOT, dashboard_expressions, needs_promtool

HISTOGRAMS = [metric.name for metric in TABLE if metric.kind is Kind.HISTOGRAM]
SERIES = {metric.name for metric in TABLE} | {r.record for g in GROUPS for r in g.rules}
SERIES |= {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}
RULES = [rule.expr for group in GROUPS for rule in group.rules] + [alert.expr for group in GROUPS for alert in group.alerts]


@pytest.mark.parametrize("name", list(generated()))
def test_committed_is_generated(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated()[name], f"{name} is stale: run python -m emulator.telemetry"


def test_the_generator_writes_into_a_repository_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "not the root of the repository" in capsys.readouterr().err
    (tmp_path / "pyproject.toml").touch()
    assert main([str(tmp_path)]) == 0
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.name != "pyproject.toml"} == set(generated())


@pytest.mark.parametrize("expression", [*dashboard_expressions(), *RULES])
def test_every_expression_parses_and_reads_what_is_served(expression: str) -> None:
    printed = promql_parser.parse(expression).prettify()
    read = set(re.findall(r"(?<![\w:])(?:(?:\w+:)?(?:gigawatt|kueue|inference_pool)_[\w:]+|vllm:\w+)", printed))
    assert read or "up{" in printed
    assert read <= SERIES


def test_every_metric_is_on_the_dashboard() -> None:
    text = " ".join(dashboard_expressions()) + " ".join(RULES)
    assert [metric.name for metric in TABLE if not re.search(rf"\b{metric.name}(_bucket|_sum)?\b", text)] == []
    # The row of leftovers stays short: a new metric belongs to a row.
    assert sum(len(panels) for _, panels in rows()[len(ROWS) :]) <= 4


def test_the_dashboard_is_laid_out() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    boxes = [panel["gridPos"] for panel in panels]
    assert all(box["x"] >= 0 and box["x"] + box["w"] <= COLUMNS and box["h"] >= 1 for box in boxes)
    for a, b in combinations(boxes, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"] or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (a, b)


def test_the_dashboard_is_what_grafana_reads() -> None:
    """The fields that Grafana's dashboard schema (kinds/dashboard, v39) requires or constrains, of those used here."""
    page = json.loads(json.dumps(dashboard()))
    assert page["schemaVersion"] >= 36
    assert {variable["type"] for variable in page["templating"]["list"]} == {"datasource", "query"}
    for panel in page["panels"]:
        assert panel["type"] in {"row", "timeseries", "stat", "gauge", "heatmap"}
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) >= 1
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["instant"] != target["range"]
            assert 'cluster=~"$cluster"' in target["expr"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    legends = {name for panel in page["panels"] for t in panel.get("targets", []) for name in re.findall(r"{{(\w+)}}", t["legendFormat"])}
    assert legends <= {label for metric in TABLE for label in metric.labels} | {"le", "role"}


def test_prometheus_asks_where_the_head_serves() -> None:
    assert f"http://127.0.0.1:{DEFAULT_PORT}/sd" in CONFIGURATION.read_text()


@needs_promtool
def test_promtool_accepts_configuration_and_rules() -> None:
    done = subprocess.run(["promtool", "check", "config", str(CONFIGURATION)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_generator_runs_as_a_module(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    done = subprocess.run([sys.executable, "-m", "emulator.telemetry", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == list(generated())
