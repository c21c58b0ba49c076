"""``python -m emulator.telemetry [ROOT]`` writes what is generated from the metric table into the tree at ROOT (here, without one)."""

import sys
from pathlib import Path

from emulator.telemetry.dashboard import dashboard_json
from emulator.telemetry.docs import metrics_markdown
from emulator.telemetry.rules import prometheusrule_yaml, rules_yaml


def generated() -> dict[str, str]:
    """Path under the repository's root -> text."""
    return {
        "docs/metrics.md": metrics_markdown(),
        "deploy/prometheus/rules.yml": rules_yaml(),
        "deploy/kuberay/prometheusrule.yaml": prometheusrule_yaml(),
        "deploy/grafana/dashboards/gigawatt.json": dashboard_json(),
    }


def main(arguments: list[str]) -> int:
    """Write all generated files under the root given (default: here). Returns 2 and writes nothing where that is not the repository's."""
    root = Path(arguments[0]) if arguments else Path()
    if not (root / "pyproject.toml").is_file():
        print(f"{root.resolve()} is not the root of the repository: it has no pyproject.toml", file=sys.stderr)
        return 2
    for name, text in generated().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
