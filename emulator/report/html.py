"""report.html: one page without any other file or outside asset."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from emulator.report.chart import Series, chart
from emulator.report.outcome import STATES, Outcome
from emulator.report.tables import TIER_NAMES, Rows, sections
from emulator.scheduler.reasons import KINDS
from topology.cluster import TIERS

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--dim:#60666d;--paper:#fff;--rule:#e3e6e9;
--blue:#0b62c4;--amber:#b35900;--red:#c1272d;--green:#1d7a3a;--violet:#7a3fb8}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--dim:#9aa0a6;--paper:#15181b;--rule:#2c3136;
--blue:#6cabf7;--amber:#f0a35e;--red:#f28b82;--green:#7fcf95;--violet:#c79bf2}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:900px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}p.lead{color:var(--dim);margin-top:.2rem}
table{border-collapse:collapse;width:100%}th{font-weight:400;color:var(--dim);text-align:left;width:17rem}
th,td{padding:.2rem .6rem .2rem 0;border-bottom:1px solid var(--rule);vertical-align:top;overflow-wrap:anywhere}
figure{margin:1.6rem 0}figcaption{display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap}small{color:var(--dim)}
figcaption i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.35em}
svg,img{width:100%;height:auto}svg text{fill:var(--dim);font-size:12px}.grid{stroke:var(--rule)}
polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}
""".strip()

#: What the kinds of reasons of pending jobs are called.
_REASON_NAMES = {
    "quota": "quota",
    "capacity": "free GPUs",
    "fragmentation": "whole hosts",
    "topology": "hosts within a level",
    "power": "power",
    "hold": "their release",
    "reservation": "reserved hosts",
    "dependency": "other jobs' ends",
    "dispatch": "being sent to a site",
    "data": "their data",
    "priority": "their turn",
    "policy": "what the policy says",
}
#: How many of the pending jobs' reasons to show.
_REASONS = 8


def page(outcome: Outcome, values: Mapping[str, Any]) -> str:
    """The whole document, from the outcome and its summary."""
    tables = "".join(_table(title, rows) for title, rows in sections(values))
    reasons = _reasons(outcome)
    if reasons:
        tables += _table("Why jobs are pending, failed or were refused", reasons)
    title = f"{escape(outcome.scenario)}: {outcome.gpus:,} GPUs, {escape(outcome.policy)}"
    ended = "Interrupted before its end: the figures cover the part that ran. " if outcome.interrupted else ""
    lead = f"{ended}An emulation by Gigawatt. The hardware is modelled, the scheduling is real; times are emulated."
    return document(title, lead, "".join(_charts(outcome)) + tables + _machine(outcome))


def document(title: str, lead: str, body: str) -> str:
    """A page with this heading, a sentence under it, and ``body``; all three are HTML."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Gigawatt: {title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f'<p class="lead">{lead}</p>{body}</body></html>\n'
    )


def image(svg: str, words: str) -> str:
    """A drawing as an image, so that its style and that of the page do not affect each other; ``words`` are for who cannot see it."""
    return f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}">'


def _machine(outcome: Outcome) -> str:
    if outcome.picture is None:
        return ""
    return "<h2>The machine</h2>" + image(outcome.picture(), f"Tiers and units of {outcome.scenario}")


def _charts(outcome: Outcome) -> list[str]:
    line = outcome.timeline
    watts, unit = (1e6, "MW") if len(line) and line.facility_power_watts.max() >= 1e6 else (1e3, "kW")
    times = line.time_seconds
    percent_of_gpus = 100.0 / max(outcome.gpus, 1)
    used_tiers = [place for place in range(len(TIERS)) if len(line) and line.link_peak_ratio[:, place].any()]
    colours = ("--green", "--blue", "--violet", "--amber", "--red")
    return [
        chart(
            "GPUs",
            "% of all",
            times,
            [
                Series("held by jobs", line.gpus_busy * percent_of_gpus, "--blue", filled=True),
                Series("SM activity", line.gpu_utilization_ratio * (outcome.gpus - line.gpus_planned) * percent_of_gpus, "--green"),
                Series("down, cordoned or reserved", (line.gpus_down + line.gpus_cordoned) * percent_of_gpus, "--red"),
                *([Series("not in service yet", line.gpus_planned * percent_of_gpus, "--violet")] if line.gpus_planned.any() else []),
            ],
            top=100.0,
        ),
        chart(
            "Jobs",
            "jobs",
            times,
            [
                Series("pending", line.pending_jobs.astype(np.float64), "--amber", filled=True),
                Series("running", line.running_jobs.astype(np.float64), "--blue"),
            ],
        ),
        *_reasons_chart(outcome),
        chart(
            "Power",
            unit,
            times,
            [
                Series("IT", line.power_watts, "--blue", filled=True),
                Series("switches, part of IT", line.switch_power_watts, "--green"),
                Series("facility", line.facility_power_watts, "--amber"),
            ],
            scale=watts,
        ),
        chart(
            "Trunks: the fullest of each tier, and the mean of the NICs",
            "% of its capacity",
            times,
            [
                Series(TIER_NAMES[TIERS[place]], line.link_peak_ratio[:, place] * 100.0, colours[number % len(colours)], highest=True)
                if place
                else Series("NICs, mean", line.link_load_ratio[:, place] * 100.0, colours[number % len(colours)])
                for number, place in enumerate(used_tiers)
            ],
            top=100.0,
        )
        if used_tiers
        else "",
    ]


def _reasons_chart(outcome: Outcome) -> list[str]:
    """What the pending jobs wait for; nothing where none ever waits."""
    line = outcome.timeline
    waited_for = [place for place in range(len(KINDS)) if line.pending_jobs_by_reason[:, place].any()]
    colours = ("--amber", "--blue", "--violet", "--red", "--green", "--dim")
    series = [
        Series(_REASON_NAMES[KINDS[place]], line.pending_jobs_by_reason[:, place].astype(np.float64), colours[number % len(colours)])
        for number, place in enumerate(waited_for)
    ]
    return [chart("Pending jobs, by what they wait for", "jobs", line.time_seconds, series)] if series else []


def _reasons(outcome: Outcome) -> Rows:
    """The commonest (state, reason) of jobs that have one, the commonest first."""
    jobs = outcome.jobs
    pairs, counts = np.unique(np.stack([jobs.state, jobs.reason])[:, jobs.reason >= 0], axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_REASONS]
    shown = [(f"{STATES[pairs[0, i]]}: {counts[i]:,}", outcome.jobs.reasons[pairs[1, i]]) for i in order]
    more = int(counts.sum() - counts[order].sum())
    return (
        [*shown, ("", f"and {more:,} more jobs, with {len(counts) - len(order):,} other reasons (jobs.parquet has all)")] if more else shown
    )


def _table(title: str, rows: Rows) -> str:
    body = "".join(f"<tr><th scope=row>{escape(label)}</th><td>{escape(value)}</td></tr>" for label, value in rows)
    return f"<h2>{escape(title)}</h2><table>{body}</table>"
