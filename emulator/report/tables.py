"""The summary as titled rows of text, which the terminal table and the HTML page both show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emulator.engine.gpu_time import HELD
from emulator.report.units import gibibytes, percent, si, span

Rows = list[tuple[str, str]]

#: What the links of a tier (`topology.cluster.TIERS`) are called.
TIER_NAMES = {
    "host_leaf": "NICs",
    "leaf_spine": "leaf-spine trunks",
    "spine_core": "spine-core trunks",
    "inter_building": "inter-building trunks",
    "wan": "WAN trunks",
    "local": "local trunks",
    "global": "global trunks",
}


def _outside(values: Mapping[str, Any]) -> Rows:
    """How it went with a policy outside."""
    outside = values.get("outside_policy")
    if outside is None:
        return []
    rows = [("policy asked", f"{outside['cycles']:,} times")]
    if outside["refused"]:
        rows.append(("actions refused", ", ".join(f"{rule} {count:,}" for rule, count in outside["refused"].items())))
    if (gone := outside["fallback"]) is not None:
        rows.append(("policy gone", f"{gone['policy']} decides from {span(gone['from_seconds'])} on: {gone['reason']}"))
    return rows


def _sites(values: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """Of a run whose jobs are dispatched to sites."""
    sites = values.get("sites")
    if sites is None:
        return []
    rows = [("global queue", f"{sites['queued_jobs']:,} jobs; mean demand {sites['queued_mean_ratio']:.2f} of all GPUs")]
    for name, site in sites["by_site"].items():
        text = f"demand {site['demand_ratio']:.2f}, high priority {site['high_demand_ratio']:.2f} of {site['gpus']:,} GPUs"
        moved = f", {site['moved_jobs']:,} moved away" if site["moved_jobs"] else ""
        came = f", {si(site['received_bytes'], 'B')} came" if site["received_bytes"] else ""
        rows.append((name, f"{text}; {site['dispatched_jobs']:,} jobs dispatched{moved}{came}"))
    return [("Sites", rows)]


def _inference(values: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """What became of the requests of services."""
    inference = values.get("inference")
    if inference is None:
        return []
    rows = [("requests", f"{inference['requests']:,.0f}, of which {percent(inference['run_ratio'])} were run one by one")]
    rows += [(name, _service(service)) for name, service in inference["services"].items()]
    return [("Serving", rows)]


def _service(service: Mapping[str, Any]) -> str:
    ways = ("completed", "rejected", "timed_out", "cancelled", "lost", "retried")
    counts = [f"{service[way]:,.0f} {way.replace('_', ' ')}" for way in ways if service[way] or way == "completed"]
    counts += [f"{service['remote_requests']:,.0f} from other sites"] if service["remote_requests"] else []
    first, later = (
        ", ".join("-" if one is None else span(one) for one in service[name].values()) for name in ("ttft_seconds", "tpot_seconds")
    )
    energy = "-" if service["joules_per_request"] is None else f"{service['joules_per_request'] / 3600:.3g} Wh a request"
    good = percent(service["slo_attainment_ratio"])
    return f"{', '.join(counts)}; {good} within objectives; TTFT {first}; TPOT {later} (p50, p90, p99); {energy}"


def _deadlines(values: Mapping[str, Any]) -> Rows:
    """How many jobs met theirs, where any has one."""
    due = values.get("deadlines")
    if due is None:
        return []
    still = due["jobs"] - due["met"] - due["missed"]
    return [("deadlines met, missed", f"{due['met']:,}, {due['missed']:,}" + (f" ({still:,} still to come)" if still else ""))]


def sections(values: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """``(title, [(label, value), ...])`` from a summary."""
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
                *_outside(values),
            ],
        ),
        (
            "Jobs",
            [
                ("submitted", f"{jobs['submitted']:,}"),
                *((name, f"{jobs[name]:,}") for name in ("finished", "running", "pending")),
                *((name, f"{jobs[name]:,}") for name in ("failed", "cancelled", "infeasible", "rejected") if jobs[name]),
                ("preemptions, restarts", f"{jobs['preemptions']:,}, {jobs['restarts']:,}"),
                *((("resizes", f"{jobs['resizes']:,}"),) if jobs["resizes"] else ()),
                ("wait mean, p50, p90, p99", ", ".join(span(wait[key]) for key in ("mean", "p50", "p90", "p99"))),
                ("completion mean, p50, p90, p99", ", ".join(span(completion[key]) for key in ("mean", "p50", "p90", "p99"))),
                *_deadlines(values),
            ],
        ),
        *_sites(values),
        *_inference(values),
        (
            "GPUs",
            [
                ("allocated", percent(values["gpu_allocation_ratio"])),
                ("utilised (SM activity)", percent(values["gpu_utilization_ratio"])),
                ("goodput (held time not lost)", percent(values["goodput_ratio"])),
                ("MFU of training", percent(values["mfu_ratio"])),
                ("free GPUs on partly used hosts", percent(values["fragmentation_ratio"])),
                ("GPU time held", _phases(values["gpu_seconds"], *HELD)),
                ("GPU time not held", _phases(values["gpu_seconds"], "idle", "down")),
            ],
        ),
        (
            "Power",
            [
                ("IT power mean, peak", f"{si(values['power_watts']['mean'], 'W')}, {si(values['power_watts']['peak'], 'W')}"),
                ("IT energy", _it_energy(values)),
                ("facility energy", _energy(values["facility_energy_joules"])),
                ("water", f"{values['water_litres']:,.0f} L" if values["water_litres"] is not None else "-"),
                *_capped(values["power"]),
            ],
        ),
        (
            "Fabric",
            [
                ("slowdown of training jobs, mean", _times(values["fabric"]["mean_slowdown_ratio"])),
                *((TIER_NAMES[tier], _load(load)) for tier, load in reversed(values["fabric"]["by_tier"].items())),
            ],
        ),
    ]
    result += [("Source of work", _source(source)) for source in values["sources"]]
    return result


def _capped(power: Mapping[str, Any] | None) -> Rows:
    """What caps on power did; nothing where they did not act."""
    if power is None:
        return []
    rows = []
    if power["capped_seconds"]:
        paid = f"work took {_times(power['slowdown_ratio'])} as long, lowest clock {percent(power['lowest_clock_ratio'])}"
        rows.append(
            (f"capped at {si(power['cap_watts'], 'W')}" if power["cap_watts"] else "capped", f"{span(power['capped_seconds'])}; {paid}")
        )
    for event in power["events"]:
        saved = f"{_energy(event['saved_joules'])} not drawn for {event['lost_gpu_seconds'] / 3600:,.0f} GPU hours"
        most = f"{si(event['most_watts'], 'W')} of {si(event['cap_watts'], 'W')} allowed"
        rows.append((f"asked for less, {event['place']}", f"{most}{'' if event['met'] else ', which was not met'}; {saved}"))
    return rows


def _speed(values: Mapping[str, Any]) -> str:
    wall = values["wall_seconds"]
    return f" ({values['emulated_seconds'] / wall:,.0f}x)" if wall else ""


def _phases(seconds: Mapping[str, float], *phases: str) -> str:
    """Parts of all GPU time in service; of phases in which no time passed only the first is shown."""
    total = sum(seconds.values())
    shown = [phase for phase in phases if seconds[phase] or phase == phases[0]]
    return ", ".join(f"{phase.replace('_', ' ')} {percent(seconds[phase] / total if total > 0 else None)}" for phase in shown)


def _load(load: Mapping[str, Any]) -> str:
    """Of one tier."""
    mean, busiest, peak = (percent(load[f"{key}_utilization_ratio"]) for key in ("mean", "busiest_mean", "peak"))
    return f"mean {mean}, busiest trunk {busiest} ({load['busiest_trunk']}), peak {peak}"


def _it_energy(values: Mapping[str, Any]) -> str:
    energy, switches = values["it_energy_joules"], values["switch_energy_joules"]
    return _energy(energy) + (f", {percent(switches / energy)} of it by switches" if energy else "")


def _energy(joules: float | None) -> str:
    """Energy in watt-hours."""
    return "-" if joules is None else si(joules / 3600, "Wh")


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}x"


def _source(source: Mapping[str, Any]) -> Rows:
    rows = [
        ("trace", f"{Path(source['path']).name}, format {source['format']}"),
        ("jobs kept", f"{source['kept']:,} of {source['read']:,} rows"),
        *(("left out", f"{count:,}: {reason}") for reason, count in sorted(source["dropped"].items(), key=lambda item: -item[1])),
        *(("note", note) for note in source["notes"]),
    ]
    return [(label if place == 0 or label != rows[place - 1][0] else "", value) for place, (label, value) in enumerate(rows)]
