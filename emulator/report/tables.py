"""The summary as titled rows of words: what the terminal table and the HTML page both show."""

from collections.abc import Mapping
from typing import Any

from emulator.report.units import gibibytes, percent, si, span

Rows = list[tuple[str, str]]


def sections(values: Mapping[str, Any], sources: Mapping[str, Mapping[str, int]]) -> list[tuple[str, Rows]]:
    """``(title, [(label, value), ...])`` from a summary and the sources of its jobs."""
    jobs, wait, completion = values["jobs"], values["wait_seconds"], values["completion_seconds"]
    in_process = not values["actors"]
    result: list[tuple[str, Rows]] = [
        (
            "Run",
            [
                ("scenario", f"{values['scenario']}, seed {values['seed']}, policy {values['policy']}"),
                ("cluster", f"{values['gpus']:,} GPUs, {values['hosts']:,} hosts, {values['racks']:,} racks, {values['links']:,} cables"),
                ("emulated", f"{span(values['emulated_seconds'])} in {span(values['wall_seconds'])} of wall time{_speed(values)}"),
                ("cost", f"{span(values['cpu_seconds'])} of CPU, {gibibytes(values['peak_rss_bytes'])}, {values['events']:,} events"),
                ("runtime", "in-process" if in_process else f"Ray, {values['actors']} actor" + "s" * (values["actors"] != 1)),
                ("digest", values["digest"]),
            ],
        ),
        (
            "Jobs",
            [
                ("submitted", f"{jobs['submitted']:,}"),
                *((name, f"{jobs[name]:,}") for name in ("finished", "running", "pending")),
                *((name, f"{jobs[name]:,}") for name in ("failed", "cancelled", "infeasible", "rejected") if jobs[name]),
                ("preemptions, restarts", f"{jobs['preemptions']:,}, {jobs['restarts']:,}"),
                ("wait mean, p50, p90, p99", ", ".join(span(wait[key]) for key in ("mean", "p50", "p90", "p99"))),
                ("completion mean, p50, p90, p99", ", ".join(span(completion[key]) for key in ("mean", "p50", "p90", "p99"))),
            ],
        ),
        (
            "GPUs",
            [
                ("allocated", percent(values["gpu_allocation_ratio"])),
                ("utilised (SM activity)", percent(values["gpu_utilization_ratio"])),
                ("goodput (held time not lost)", percent(values["goodput_ratio"])),
                ("MFU of training", percent(values["mfu_ratio"])),
                ("free GPUs on partly used hosts", percent(values["fragmentation_ratio"])),
            ],
        ),
        (
            "Power and fabric",
            [
                ("IT power mean, peak", f"{si(values['power_watts']['mean'], 'W')}, {si(values['power_watts']['peak'], 'W')}"),
                ("IT energy", _energy(values["it_energy_joules"])),
                ("facility energy", _energy(values["facility_energy_joules"])),
                ("water", f"{values['water_litres']:,.0f} L" if values["water_litres"] is not None else "-"),
                ("most loaded link", percent(values["fabric"]["peak_link_utilization_ratio"])),
                ("slowdown of training by the fabric", _times(values["fabric"]["mean_slowdown_ratio"])),
            ],
        ),
    ]
    if sources:
        result.append(("Sources of work", [(name, _rows(rows)) for name, rows in sources.items()]))
    return result


def _speed(values: Mapping[str, Any]) -> str:
    wall = values["wall_seconds"]
    return f" ({values['emulated_seconds'] / wall:,.0f}x)" if wall else ""


def _energy(joules: float | None) -> str:
    """In watt-hours, as bills are."""
    return "-" if joules is None else si(joules / 3600, "Wh")


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}x"


def _rows(rows: Mapping[str, int]) -> str:
    dropped = [f"{count:,} {reason}" for reason, count in sorted(rows.items()) if reason != "kept" and count]
    return f"{rows.get('kept', 0):,} jobs" + (f"; left out: {', '.join(dropped)}" if dropped else "")
