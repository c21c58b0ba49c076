"""Requests that a generator hands out in a CPU second, minute by minute, as a pool takes them."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

import pytest

from emulator.workload.requests import WORLD, Arrivals, Generator, GeneratorSettings
from tests.benchmarks.clocks import cpu_seconds

MINUTE = 60 * 10**9
PLAIN = GeneratorSettings(diurnal_ratio=0.5, zones=WORLD, burst_shape=19.0, burst_period_seconds=300.0)
TALKATIVE = replace(PLAIN, session_ratio=0.6, system_tokens=1000)
#: Requests per CPU second that are asked for, of a pool with 1,000 requests a second and more.
FLOOR = 5e6


@pytest.mark.parametrize(("name", "settings"), [("lengths of Azure", PLAIN), ("sessions", TALKATIVE)])
def test_requests_per_second(row: Callable[..., None], name: str, settings: GeneratorSettings) -> None:
    for rate in (10.0, 100.0, 1000.0):
        cursor = Arrivals(Generator(replace(settings, requests_per_second=rate)), 1, 0, 0)
        cursor.take(MINUTE, 0.0, 1.0)
        speeds = []
        for _ in range(7):
            counts: list[int] = []

            def minute(counts: list[int] = counts) -> None:
                counts.append(len(cursor.take(cursor.at_ns + MINUTE, 0.0, 1.0)))  # noqa: B023

            speeds.append(1.0 / cpu_seconds(minute, least=0.3) * sum(counts) / len(counts))
        row("Requests generated", what=name, per_emulated_second=rate, per_cpu_second=f"{median(speeds):,.0f}")
        if settings is PLAIN and rate >= 1000.0:
            assert median(speeds) >= FLOOR
