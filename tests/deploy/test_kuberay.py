"""The Kubernetes files, by schemas of the fields that they use.

The operators' own definitions are some thousand fields each and not at hand offline; here is what KubeRay's RayCluster (ray.io/v1), the
Prometheus operator's PodMonitor, PrometheusRule (v1) and ScrapeConfig (v1alpha1), and Kubernetes' pod template say of the fields used,
closed, so that a misspelt field fails.
"""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from emulator.telemetry.rules import GROUPS
from emulator.telemetry.server import DEFAULT_PORT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/kuberay"

Schema = dict[str, Any]


def closed(required: str = "", **properties: Schema) -> Schema:
    """An object with these fields and no others; ``required`` names some."""
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


def array(items: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


TEXT: Schema = {"type": "string", "minLength": 1}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
DNS_LABEL: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
#: IANA service names, as container ports have them.
PORT_NAME: Schema = {"type": "string", "pattern": "^(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$"}
QUANTITY: Schema = {"type": "string", "pattern": r"^\d+(\.\d+)?(m|[kMGT]i?|Ki)?$"}
DURATION: Schema = {"type": "string", "pattern": r"^(\d+(ms|s|m|h))+$"}
STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}

RESOURCES = closed(cpu=QUANTITY, memory=QUANTITY)
CONTAINER = closed(
    "name image resources",
    name=DNS_LABEL,
    image={"type": "string", "pattern": r"^[a-z0-9./-]+:[\w.-]+$"},
    imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
    ports=array(closed("name containerPort", name=PORT_NAME, containerPort={"type": "integer", "minimum": 1, "maximum": 65535})),
    resources=closed("requests limits", requests=RESOURCES, limits=RESOURCES),
    securityContext=closed(allowPrivilegeEscalation=FLAG, capabilities=closed(drop=array(TEXT))),
    volumeMounts=array(closed("name mountPath", name=DNS_LABEL, mountPath=TEXT)),
)
POD = closed(
    "containers",
    automountServiceAccountToken=FLAG,
    securityContext=closed(
        runAsNonRoot=FLAG, runAsUser=COUNT, runAsGroup=COUNT, fsGroup=COUNT,
        seccompProfile=closed("type", type={"enum": ["RuntimeDefault", "Localhost", "Unconfined"]}),
    ),
    containers=array(CONTAINER),
    volumes=array(closed("name", name=DNS_LABEL, emptyDir=closed(medium={"enum": ["", "Memory"]}, sizeLimit=QUANTITY))),
)  # fmt: skip
TEMPLATE = closed("spec", metadata=closed(labels=STRINGS), spec=POD)
RAY_CLUSTER = closed(
    "headGroupSpec",
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=closed("mode", mode={"enum": ["disabled", "token"]}),
    headGroupSpec=closed(
        "template", serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}, rayStartParams=STRINGS, template=TEMPLATE
    ),
    workerGroupSpecs=array(
        closed(
            "groupName maxReplicas minReplicas template",
            groupName=DNS_LABEL, replicas=COUNT, minReplicas=COUNT, maxReplicas=COUNT, rayStartParams=STRINGS, template=TEMPLATE,
        )
    ),
)  # fmt: skip
RELABELINGS = array(
    closed(
        sourceLabels=array(TEXT), targetLabel=TEXT, regex=TEXT, replacement=TEXT,
        action={"enum": ["replace", "keep", "drop", "labelmap", "labeldrop", "labelkeep", "hashmod", "lowercase", "uppercase"]},
    )
)  # fmt: skip
POD_MONITOR = closed(
    "podMetricsEndpoints selector",
    selector=closed(matchLabels=STRINGS),
    podMetricsEndpoints=array(
        closed(port=PORT_NAME, path=TEXT, interval=DURATION, scrapeTimeout=DURATION, relabelings=RELABELINGS),
    ),
)
SCRAPE_CONFIG = closed(
    scrapeInterval=DURATION,
    scrapeTimeout=DURATION,
    httpSDConfigs=array(closed("url", url={"type": "string", "pattern": "^https?://.+$"}, refreshInterval=DURATION)),
    relabelings=RELABELINGS,
)
RULE = closed("expr", record=TEXT, alert=TEXT, expr=TEXT, labels=STRINGS, annotations=STRINGS, **{"for": DURATION})
PROMETHEUS_RULE = closed(groups=array(closed("name", name=TEXT, rules=array(RULE))))
SPECS = {
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("monitoring.coreos.com/v1", "PodMonitor"): POD_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
    ("monitoring.coreos.com/v1alpha1", "ScrapeConfig"): SCRAPE_CONFIG,
}


def documents() -> dict[str, dict[str, Any]]:
    """Every document of the folder, by its kind."""
    found = [document for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
    return {document["kind"]: document for document in found}


def resource(spec: Schema) -> Schema:
    metadata = closed("name", name=DNS_LABEL, labels=STRINGS, namespace=DNS_LABEL)
    return closed("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=metadata, spec=spec)


def test_every_kind_is_there() -> None:
    assert set(documents()) == {kind for _, kind in SPECS}


@pytest.mark.parametrize("document", documents().values(), ids=lambda document: document["kind"])
def test_it_fits_its_schema(document: dict[str, Any]) -> None:
    jsonschema.validate(document, resource(SPECS[document["apiVersion"], document["kind"]]))


def test_a_misspelt_field_does_not_fit() -> None:
    document = documents()["PodMonitor"]
    document["spec"]["podMetricsEndpoint"] = document["spec"].pop("podMetricsEndpoints")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, resource(POD_MONITOR))


def pods() -> list[dict[str, Any]]:
    spec = documents()["RayCluster"]["spec"]
    return [spec["headGroupSpec"]["template"]["spec"], *(group["template"]["spec"] for group in spec["workerGroupSpecs"])]


def test_volumes_are_those_that_are_mounted_and_requests_are_limits() -> None:
    for pod in pods():
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_nothing_runs_as_root() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert all(container["securityContext"]["capabilities"]["drop"] == ["ALL"] for container in pod["containers"])


def test_the_monitor_finds_the_heads_port() -> None:
    found = documents()
    ports = {port["name"]: port["containerPort"] for port in pods()[0]["containers"][0]["ports"]}
    assert ports["gw-metrics"] == DEFAULT_PORT
    name = found["RayCluster"]["metadata"]["name"]
    # KubeRay labels its pods so, and names the head's service after the cluster.
    assert found["PodMonitor"]["spec"]["selector"]["matchLabels"] == {"ray.io/cluster": name, "ray.io/node-type": "head"}
    assert [endpoint["port"] for endpoint in found["PodMonitor"]["spec"]["podMetricsEndpoints"]] == ["gw-metrics"]
    assert [sd["url"] for sd in found["ScrapeConfig"]["spec"]["httpSDConfigs"]] == [f"http://{name}-head-svc:{DEFAULT_PORT}/sd"]


def test_monitors_give_the_labels_that_rules_and_dashboard_use() -> None:
    found = documents()
    monitor = {rule["targetLabel"]: rule["replacement"] for rule in found["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["relabelings"]}
    assert monitor == {"job": "gigawatt", "cluster": "gigawatt", "role": "head"}
    keep, *rest = found["ScrapeConfig"]["spec"]["relabelings"]
    assert keep == {"sourceLabels": ["role"], "regex": "shard", "action": "keep"}  # or the head would be scraped twice
    assert {rule["targetLabel"]: rule["replacement"] for rule in rest} == {"job": "gigawatt", "cluster": "gigawatt"}


def test_the_rules_are_the_same_everywhere() -> None:
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    assert documents()["PrometheusRule"]["spec"] == shipped
    assert [[rule["expr"] for rule in group["rules"]] for group in shipped["groups"]] == [
        [*(rule.expr for rule in group.rules), *(alert.expr for alert in group.alerts)] for group in GROUPS
    ]


def test_ray_is_one_version_everywhere() -> None:
    texts = [path.read_text() for path in (*(ROOT / "deploy").rglob("*.yaml"), ROOT / "requirements/run.txt")]
    pattern = r"(?:rayproject/ray:|^ray==|rayVersion: \")(\d+\.\d+\.\d+)"
    versions = [version for text in texts for version in re.findall(pattern, text, re.MULTILINE)]
    assert len(versions) == 4
    assert len(set(versions)) == 1
