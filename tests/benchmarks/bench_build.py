"""What a cluster costs before its first event: CPU time of load, build and compile, as a ratio to networkx taking in the same graph.

A process of its own each, three times, the median. The limits are ten times what was measured, so that only a change of order fails.
"""

from collections.abc import Callable
from statistics import median

import pytest

from tests.benchmarks.clocks import in_process_of_its_own

#: Preset -> the most CPU time it may take, as a ratio to the floor.
MOST = {"superpod-b200": 180.0, "colossus": 40.0, "frontier": 30.0, "million-gpu": 60.0, "stargate-10gw": 60.0}
MOST_BYTES = 1.5 * 2**30


@pytest.mark.parametrize("preset", MOST)
def test_building_a_preset(preset: str, row: Callable[..., None]) -> None:
    runs = [in_process_of_its_own("cost_of_building", preset) for _ in range(3)]
    build, compiled, floor = (median(run[f"{part}_seconds"] for run in runs) for part in ("build", "compile", "floor"))
    peak = max(run["peak_bytes"] for run in runs)
    row(
        "Building and compiling a cluster",
        preset=preset,
        gpus=f"{runs[0]['gpus']:,}",
        nodes=f"{runs[0]['nodes']:,}",
        edges=f"{runs[0]['edges']:,}",
        build_s=build,
        compile_s=compiled,
        networkx_s=floor,
        ratio=(build + compiled) / floor,
        most=MOST[preset],
        peak_GiB=peak / 2**30,
    )
    assert peak <= MOST_BYTES
    assert build + compiled <= MOST[preset] * floor
