"""compose, the image and Grafana's provisioning: by a schema of the fields used, and by how they hang together."""

import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from emulator.telemetry.server import DEFAULT_PORT

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy/compose/compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]

_STRINGS = {"type": "array", "items": {"type": "string"}}
#: The Compose Specification's words for the fields that are used, closed.
_SERVICE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "pattern": r"^[a-z0-9./-]+:v?\d+\.\d+\.\d+$"},
        "build": {
            "type": "object", "additionalProperties": False,
            "properties": {"context": {"type": "string"}, "dockerfile": {"type": "string"}},
        },
        "command": _STRINGS,
        "init": {"type": "boolean"},
        "shm_size": {"type": "string", "pattern": r"^\d+[kmg]b$"},
        "stop_grace_period": {"type": "string", "pattern": r"^\d+s$"},
        "security_opt": _STRINGS,
        "cap_drop": _STRINGS,
        "network_mode": {"type": "string"},
        "ports": _STRINGS,
        "volumes": _STRINGS,
        "environment": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        "depends_on": {
            "oneOf": [
                _STRINGS,
                {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object", "additionalProperties": False, "required": ["condition"],
                        "properties": {"condition": {"enum": ["service_started", "service_healthy", "service_completed_successfully"]}},
                    },
                },
            ]
        },
        "healthcheck": {
            "type": "object", "additionalProperties": False,
            "properties": {
                "test": _STRINGS,
                "interval": {"type": "string"}, "timeout": {"type": "string"}, "start_period": {"type": "string"},
                "retries": {"type": "integer"},
            },
        },
    },
}  # fmt: skip
_FILE = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "services": {"type": "object", "additionalProperties": _SERVICE},
        "volumes": {"type": "object"},
    },
}


def test_it_fits_the_schema() -> None:
    jsonschema.validate(yaml.safe_load(COMPOSE.read_text()), _FILE)


@pytest.mark.parametrize("name", SERVICES)
def test_everything_is_published_on_loopback_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), port
    assert SERVICES[name].get("network_mode") != "host"


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists(name: str) -> None:
    declared = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for volume in SERVICES[name].get("volumes", []):
        source, _, mode = volume.split(":") if volume.count(":") == 2 else (*volume.split(":"), "")
        if source.startswith("."):
            assert (COMPOSE.parent / source).is_dir(), source
            assert mode == "ro"
        else:
            assert source in declared


def test_prometheus_reads_the_shipped_configuration_beside_the_emulator() -> None:
    prometheus = SERVICES["prometheus"]
    assert prometheus["network_mode"] == "service:emulator"  # so 127.0.0.1 is the emulator's
    assert "--config.file=/etc/prometheus/prometheus.yml" in prometheus["command"]
    assert "../prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    published = {port.split(":")[-1] for port in SERVICES["emulator"]["ports"]}
    assert published == {"7070", str(DEFAULT_PORT), "9090"}
    assert SERVICES["emulator"]["healthcheck"]["test"][-1] == f"http://127.0.0.1:{DEFAULT_PORT}/healthz"


def test_grafana_finds_its_datasource_and_dashboard() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://emulator:9090", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards/gigawatt.yml").read_text())["providers"]
    mounts = dict(volume.removesuffix(":ro").split(":") for volume in SERVICES["grafana"]["volumes"])
    assert mounts["../grafana/dashboards"] == provider["options"]["path"]
    assert mounts["../grafana/provisioning"] == "/etc/grafana/provisioning"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])
    assert (ROOT / "deploy/grafana/dashboards" / Path(home).name).is_file()


def test_the_image_is_small_pinned_and_not_root() -> None:
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", base) for base in bases)
    last_stage = lines[max(i for i, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line.split()[1] for line in last_stage if line.startswith("USER ")]
    assert users == ["1000:1000"]
    assert last_stage.index("USER 1000:1000") < min(i for i, line in enumerate(last_stage) if line.startswith("ENTRYPOINT"))
    assert f"EXPOSE 7070 {DEFAULT_PORT}" in last_stage


def test_the_image_is_installed_from_the_locks() -> None:
    installs = re.findall(r"pip (?:install|wheel) .*", (ROOT / "deploy/Dockerfile").read_text())
    sources = [line.split()[-1] for line in installs]
    assert sources == ["requirements/build.txt", ".", "/requirements/run.txt", "/wheels/*.whl"]
    assert all("--no-deps" in line for line in installs)


def test_the_build_context_holds_what_the_wheel_is_built_from() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"  # nothing but what is named
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {f"!{package}/" for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    build = "!" + project["tool"]["hatch"]["build"]["hooks"]["custom"]["path"].split("/")[0] + "/"
    licences = [name for name in project["project"]["license-files"] if "/" not in name]
    files = {f"!{name}" for name in ("pyproject.toml", project["project"]["readme"], *licences)}
    assert {rule for rule in rules if rule.startswith("!")} == packages | {build} | files | {"!requirements/"}
    # Stubs are generated in the image, not carried in.
    assert rules.index("emulator/v1/") > rules.index("!emulator/")
