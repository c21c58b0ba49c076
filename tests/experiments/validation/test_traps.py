"""Published figures that mislead: each of these readings is wrong, and nothing here rests on it.

The other ones have their tests where the figure is used: peaks with sparsity and NVLink's two directions in
`tests/workload/training/test_flops.py`, Llama 3's percentages and RSC's measured MTTF in `tests/jobs/test_ettr.py`, its
misprinted replicas and MegaScale's 12,288 GPUs in `test_published.py`, megawatts an hour, terawatt hours a year and Frontier's slots in
`tests/racks/test_power.py`.
"""

from pathlib import Path

import pytest

from emulator.jobs.ettr import mttf
from emulator.racks.faults import CAUSES, FaultSettings
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from topology import catalog

PRESETS = Path(__file__).resolve().parents[3] / "emulator/scenario/presets"


def test_trap_llama_3s_percentages_are_not_its_counts() -> None:
    """It prints 30.1 % for faulty GPUs, whose share of the 419 is 35.3 %. What is drawn are counts."""
    counts = {cause.name: cause.count for cause in CAUSES}
    assert sum(counts.values()) == 419
    assert counts["faulty_gpu"] / 419 == pytest.approx(0.353, abs=5e-4)
    assert abs(counts["faulty_gpu"] / 419 - 0.301) > 0.05


def test_trap_there_is_no_one_mtbf_of_100_000_gpus() -> None:
    """12,500 hosts: 0.51 h at Llama 3's rate, 0.30 h at RSC-1's, 0.82 h at RSC-2's, 0.83 h at FT-HSDP's. So the rate is the scenario's to
    choose, and the default says whose it is.
    """
    rates = {"Llama 3": 3.79, "RSC-1": 6.50, "RSC-2": 2.34, "FT-HSDP": 2.3}
    hours = {name: 24 * mttf(12_500, rate / 1000) for name, rate in rates.items()}
    assert {name: round(value, 2) for name, value in hours.items()} == {"Llama 3": 0.51, "RSC-1": 0.3, "RSC-2": 0.82, "FT-HSDP": 0.83}
    assert max(hours.values()) > 2.5 * min(hours.values())
    assert FaultSettings().host_rate_per_1000_node_days == rates["Llama 3"]


def test_trap_crusoes_50_000_nvl72_a_building_are_gpus_and_not_racks() -> None:
    """As racks one building would draw 6 GW and more, five times what all eight have."""
    host = catalog.host("gb200-nvl72")
    rack_watts = host.peak_watts * host.domain_hosts
    assert 50_000 * rack_watts >= 6e9 == 5 * 1.2e9
    assert 50_000 / host.domain_gpus * rack_watts < 0.15e9
    gpus = build_cluster(load("stargate-abilene")).gpu_count
    assert gpus <= 8 * 50_000


def test_trap_mlperfs_time_to_quality_fits_nothing() -> None:
    """It depends on the batch: minutes to a loss are in no row. What is compared are seconds of a step, from the logs."""
    published = Path(__file__).resolve().parents[3] / "emulator/experiments/validation/published"
    heads = [path.read_text(encoding="utf-8").splitlines()[0] for path in published.rglob("*.csv")]
    assert heads
    assert not any(word in head for head in heads for word in ("time_to", "minutes", "quality", "convergence"))


def test_trap_the_what_if_of_raps_for_zettascale10_is_no_source() -> None:
    """Its 72 nodes of 4 GPUs are filled in by hand: an NVL72 has 18 trays of 4. No preset and no record cites it."""
    host = catalog.host("gb200-nvl72")
    assert (host.domain_hosts, host.gpus) == (18, 4)
    texts = [path.read_text(encoding="utf-8") for path in (*PRESETS.glob("*.yaml"), Path(catalog.__file__))]
    assert not any("OCIZettascale" in text for text in texts)
