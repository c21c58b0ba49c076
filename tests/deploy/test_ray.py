"""The cluster launcher's files, by Ray's own schema and Ray's own preparation of them."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "deploy/ray").glob("*.yaml"))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    autoscaler = pytest.importorskip("ray.autoscaler", reason="ray is not installed")
    loaded: dict[str, Any] = json.loads((Path(autoscaler.__file__).parent / "ray-schema.json").read_text())
    return loaded


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return loaded


def test_both_clouds_are_there() -> None:
    assert [path.stem for path in FILES] == ["aws", "gcp"]


def test_it_fits_the_schema(config: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.validate(config, schema)


def test_the_schema_is_strict(config: dict[str, Any], schema: dict[str, Any]) -> None:
    for wrong in ({"max_worker": 4}, {"docker": {"images": "x"}}, {"max_workers": "4"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(copy.deepcopy(config) | wrong, schema)


def test_ray_prepares_it(config: dict[str, Any]) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util", reason="this Ray keeps it elsewhere")
    prepared = util.prepare_config(copy.deepcopy(config))
    util.validate_config(prepared)
    assert prepared["available_node_types"]["racks"]["max_workers"] == 4
    # What we say is not overruled by Ray's defaults.
    assert prepared["head_start_ray_commands"] == config["head_start_ray_commands"]


def test_it_is_closed_and_authenticated(config: dict[str, Any]) -> None:
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in config["file_mounts"]
    (start,) = (command for command in config["head_start_ray_commands"] if "--head" in command)
    assert "--dashboard-host=127.0.0.1" in start
    assert "security_group" not in config["provider"]


def test_head_and_workers_agree(config: dict[str, Any]) -> None:
    assert config["head_node_type"] in config["available_node_types"]
    (start,) = (re.search(r"--port=(\d+)", command) for command in config["head_start_ray_commands"] if "--head" in command)
    assert start
    assert any(f"$RAY_HEAD_IP:{start[1]}" in command for command in config["worker_start_ray_commands"])
    (pip,) = config["setup_commands"]
    assert any(pip.split()[-1].startswith(mounted) for mounted in config["file_mounts"])
