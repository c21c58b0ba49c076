"""Presets, topology and doctor."""

import json

import pytest

from emulator.cli import doctor
from emulator.cli.output import cell
from tests.cli.conftest import Run


def test_presets(gigawatt: Run) -> None:
    code, out, err = gigawatt("presets -o json")
    assert (code, err) == (0, "")
    gpus = {row["name"]: row["gpus"] for row in json.loads(out)}
    assert (gpus["colossus"], gpus["eagle"], gpus["laptop"]) == (100_000, 14_400, 256)
    assert "colossus" in gigawatt("presets")[1]


@pytest.mark.parametrize(("units", "counts"), [(2, (16, 8, 0)), (4, (32, 16, 0)), (8, (64, 32, 0)), (16, (128, 128, 64))])
def test_topology_has_the_published_counts(gigawatt: Run, units: int, counts: tuple[int, int, int]) -> None:
    """DGX SuperPOD B200 reference architecture, table "DGX SuperPOD Architecture"."""
    code, out, _ = gigawatt(f"topology show superpod-b200 --set cluster.scalable_units={units} -o json")
    assert code == 0
    shown = json.loads(out)
    assert tuple(shown["switches"][tier] for tier in ("leaf", "spine", "core")) == counts
    nodes = 32 * units
    core_links = 8 * nodes if counts[2] else 0
    assert shown["links"] == {"host_leaf": 8 * nodes, "leaf_spine": 8 * nodes, "spine_core": core_links}
    assert {"gpus", "hosts", "racks", "domains", "oversubscription", "bisection_bytes_per_second"} <= set(shown)


def test_topology_as_a_table_names_the_assumptions(gigawatt: Run) -> None:
    code, out, _ = gigawatt("topology show colossus")
    assert code == 0
    for shown in ("1,568", "784", "1,563", "worst_pod_to_pod_ratio", "assumptions"):
        assert shown in out


def test_doctor_fails_only_where_something_needed_is_missing(gigawatt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(status: doctor.Status) -> tuple[object, ...]:
        return (lambda: iter([doctor.Finding("thing", status, "why")]),)

    monkeypatch.setattr(doctor, "CHECKS", lacking(doctor.Status.WARNING))
    assert gigawatt("doctor")[0] == 0
    monkeypatch.setattr(doctor, "CHECKS", lacking(doctor.Status.MISSING))
    code, out, err = gigawatt("doctor -o json")
    assert (code, json.loads(out)[0]["detail"]) == (1, "why")
    assert err == "gigawatt: error: not ready: thing\n"


def test_doctor_looks_at_everything(gigawatt: Run) -> None:
    checks = {row["check"] for row in json.loads(gigawatt("doctor -o json")[1])}
    assert {"python", "ray", "API stubs", "memory", "API port", "metrics port", "prometheus"} <= checks


def test_version(gigawatt: Run) -> None:
    code, out, err = gigawatt("--version")
    assert (code, err) == (0, "")
    assert out.startswith("gigawatt ")


def test_of_many_ids_a_table_shows_some() -> None:
    """A fault of a power feed stops hundreds of jobs; JSON has them all."""
    assert cell("job_ids", ()) == "-"
    assert cell("job_ids", tuple(range(16))) == ",".join(map(str, range(16)))
    assert cell("job_ids", tuple(range(2016))) == ",".join(map(str, range(16))) + " and 2,000 more"
