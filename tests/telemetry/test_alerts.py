"""The alerts that we ship, tried by promtool on series made up."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from emulator.telemetry.rules import FAST_BURN, GROUPS, KEPT_RATIO, SLOW_BURN
from tests.prometheus import CONFIGURATION, needs_promtool

RULES = CONFIGURATION.parent / "rules.yml"


def alert_names() -> list[str]:
    return [alert.alert for group in GROUPS for alert in group.alerts]


@needs_promtool
@pytest.mark.parametrize(
    ("missed", "firing"),
    [
        (0.5 * SLOW_BURN, []),
        (1.1 * SLOW_BURN, ["GigawattServiceBurnsSlowly"]),
        (0.9 * FAST_BURN, ["GigawattServiceBurnsSlowly"]),
        (1.1 * FAST_BURN, ["GigawattServiceBurnsFast", "GigawattServiceBurnsSlowly"]),
    ],
)
def test_services_that_miss_their_objectives(missed: float, firing: list[str], tmp_path: Path) -> None:
    """In every minute 100,000 requests of a service end, of which so many times the allowed part misses; the cancelled do not count."""
    bad = round(100_000 * missed * (1 - KEPT_RATIO))
    labels = 'cluster="c",service="chat"'
    series = {
        f'gigawatt_service_requests_total{{{labels},outcome="finished"}}': 90_000,
        f'gigawatt_service_requests_total{{{labels},outcome="rejected"}}': 10_000,
        f'gigawatt_service_requests_total{{{labels},outcome="cancelled"}}': 500_000,
        f"gigawatt_service_good_requests_total{{{labels}}}": 100_000 - bad,
    }
    severities = {alert.alert: alert for group in GROUPS for alert in group.alerts}
    expected = {
        name: [
            {
                "exp_labels": {"cluster": "c", "service": "chat", "severity": severities[name].severity},
                "exp_annotations": {"summary": severities[name].summary.replace("{{ $labels.service }}", "chat")},
            }
        ]
        for name in firing
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": f"0+{step}x420"} for name, step in series.items()],
        "alert_rule_test": [{"eval_time": "7h", "alertname": name, "exp_alerts": expected.get(name, [])} for name in alert_names()],
    }
    path = tmp_path / "test.yml"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    done = subprocess.run(
        [str(shutil.which("promtool")), "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
