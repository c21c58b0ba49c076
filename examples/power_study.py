"""What caps cost a machine that computes all the time, and a request to draw a quarter less for three hours.

    python examples/power_study.py

prints the tables of docs/power.md: all 100,000 GPUs of ``colossus`` compute for ten hours, under one cap after the other, then without a
cap and with a request at 2 h.
"""

from contextlib import closing
from typing import Any

from emulator.power.clocks import CLOCK_RATIO, SLOWDOWN
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import load
from emulator.workload.jobs import SECOND, job_columns

HOURS = 10
CAPS = (150, 130, 120, 110, 100, 90, 80)


def run(*settings: str) -> dict[str, Any]:
    """The summary of one run, in this process."""
    fixed = ("workload.kind=none", "faults.enabled=false", "clock.until=40h", "runtime.actors=inline")
    with closing(open_session(load("colossus", [*fixed, *settings]), to_end_of_work=True)) as session:
        session.submit(job_columns(1, submit_ns=0, gpus=100_000, duration_ns=HOURS * 3600 * SECOND, utilization=1.0))
        return summary(session.run_to_end())


def main() -> None:
    pue = 1.2
    print("| cap, MW | drawn at most, MW | clock | hours | slowdown | by the curve | MWh |\n|---|---|---|---|---|---|---|")
    for cap in CAPS:
        made = run(f"power.cap={cap}MW")
        power, hours = made["power"], made["emulated_seconds"] / 3600
        curve = SLOWDOWN[CLOCK_RATIO.index(power["lowest_clock_ratio"])]
        drawn, energy = made["power_watts"]["peak"] * pue / 1e6, made["facility_energy_joules"] / 3.6e9
        clock, slowdown = power["lowest_clock_ratio"], power["slowdown_ratio"]
        print(f"| {cap} | {drawn:.2f} | {clock:.1%} | {hours:.2f} | {slowdown:.4f} | {curve:.4f} | {energy:,.0f} |")
    (event,) = run("power.events=[{at: 2h, duration: 3h, reduce: 25%}]")["power"]["events"]
    print()
    for key, value in event.items():
        print(f"{key}: {value:,.1f}" if isinstance(value, float) else f"{key}: {value}")


if __name__ == "__main__":
    main()
