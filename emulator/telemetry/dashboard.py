"""The Grafana dashboard, written from the table: titles and layout are here, descriptions and units come from the metrics.

A metric that no panel shows gets one of its own in the last row, so nothing in the table can be missing from the dashboard.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from emulator.telemetry.metric import Kind, Metric, RackMetric
from emulator.telemetry.panel import PER_SECOND, Panel
from emulator.telemetry.service_panels import SERVICE_ROWS
from emulator.telemetry.table import TABLE
from emulator.telemetry.vllm_table import EngineMetric

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: The schema version that Grafana 10.1 to 11 writes; newer ones migrate it when they load it.
SCHEMA_VERSION = 39
COLUMNS = 24
#: In every selector: the clusters chosen at the top of the page.
CHOSEN = 'cluster=~"$cluster"'

#: Grafana's name for each unit of the table; what is counted is shown as a plain number.
UNITS = {"seconds": "s", "watts": "watt", "joules": "joule", "ratio": "percentunit", "bytes_per_second": "Bps", "flag": "bool"}

_METRICS = {metric.name: metric for metric in TABLE}
_NAME = re.compile(r"(?:(?:gigawatt|kueue|inference_pool)_|vllm:)\w+")


def _stat(title: str, expression: str, unit: str = "") -> Panel:
    return Panel(title, ((expression, ""),), "stat", unit, width=4, height=4)


def _share(title: str, expression: str) -> Panel:
    return Panel(title, ((expression, ""),), "gauge", width=4, height=4, top=1.0)


WAIT = "cluster:gigawatt_queue_wait_seconds"
PER_HOUR = f"{PER_SECOND} * 3600"

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Overview",
        (
            _stat("GPUs", "cluster:gigawatt_gpus:sum{}"),
            _share("GPUs allocated", "gigawatt_gpu_allocation_ratio{}"),
            _share("GPU utilization", "gigawatt_gpu_utilization_ratio{}"),
            _stat("Jobs running", 'gigawatt_jobs{state="running"}'),
            _stat("Jobs pending", 'gigawatt_jobs{state="pending"}'),
            _stat("IT power", "sum by (cluster) (gigawatt_it_power_watts{})"),
            _stat("Emulated time", "gigawatt_clock_emulated_seconds_total{}", "dtdurations"),
            _stat("Speed", 'gigawatt_clock_speed_ratio{kind="achieved"}', "suffix:x"),
            _stat("Wait, median", WAIT + ":p50{}"),
            _stat("Busiest trunk between switches", 'max by (cluster) (gigawatt_link_peak_ratio{tier!="host_leaf"})'),
            _stat("Hosts down", "cluster:gigawatt_rack_hosts_down:sum{}"),
            _stat("PUE", "gigawatt_pue_ratio{}", "none"),
        ),
    ),
    (
        "GPUs and jobs",
        (
            Panel("GPUs by state", (("sum by (state) (gigawatt_gpus{})", "{{state}}"),), stacked=True),
            Panel("Racks in service", (("gigawatt_racks_in_service{}", "in service"), ("gigawatt_racks{}", "all"))),
            Panel(
                "Allocation and utilization",
                (("gigawatt_gpu_allocation_ratio{}", "allocated"), ("gigawatt_gpu_utilization_ratio{}", "utilized")), top=1.0,
            ),
            Panel("Jobs pending and running", (('gigawatt_jobs{state=~"pending|running"}', "{{state}}"),)),
            Panel(
                "Jobs per emulated hour",
                (
                    (f"cluster:gigawatt_jobs_submitted:{PER_HOUR}", "submitted"),
                    (f"cluster:gigawatt_jobs_started:{PER_HOUR}", "started"),
                    (f"cluster_state:gigawatt_jobs_ended:{PER_HOUR}", "{{state}}"),
                ),
                note="By emulated time, over the last minute of wall time.",
            ),
            Panel("Wait before the first start", tuple((f"{WAIT}:{p}{{}}", p) for p in ("p50", "p90", "p99"))),
            Panel(
                "Waits",
                (("sum by (le) (increase(gigawatt_queue_wait_seconds_bucket[]))", "{{le}}"),), "heatmap",
            ),
            Panel("GPUs asked for, by queue", (('gigawatt_queue_gpus{state="pending"}', "{{queue}}"),), stacked=True),
            Panel("GPUs held, by queue", (('gigawatt_queue_gpus{state="running"}', "{{queue}}"),), stacked=True),
            Panel("Jobs pending, by what they wait for", (("gigawatt_pending_jobs{}", "{{reason}}"),), stacked=True),
            Panel("GPUs asked for, by what their jobs wait for", (("gigawatt_pending_gpus{}", "{{reason}}"),), stacked=True),
            Panel("Jobs by queue", (("gigawatt_queue_jobs{}", "{{queue}} {{state}}"),)),
            Panel("GPUs held, by what their jobs do", (("gigawatt_held_gpus{}", "{{phase}}"),), stacked=True),
            Panel(
                "Preemptions, migrations, resizes and restarts per emulated hour",
                (
                    (f"cluster:gigawatt_job_preemptions:{PER_HOUR}", "preemptions"),
                    (f"cluster:gigawatt_job_restarts:{PER_HOUR}", "restarts"),
                    (f"cluster:gigawatt_job_migrations:{PER_HOUR}", "migrations"),
                    (f"cluster:gigawatt_job_resizes:{PER_HOUR}", "resizes"),
                ),
            ),
            Panel("Jobs ended", (("gigawatt_jobs_ended_total{}", "{{state}}"),)),
        ),
    ),
    (
        "Quotas",
        (
            Panel(
                "GPUs used, of quotas",
                (
                    ("kueue_cluster_queue_resource_usage{}", "{{cluster_queue}} {{flavor}}"),
                    ("kueue_cluster_queue_nominal_quota{}", "{{cluster_queue}} {{flavor}}: quota"),
                ),
            ),
            Panel(
                "GPUs borrowed",
                (("clamp_min(kueue_cluster_queue_resource_usage{} - kueue_cluster_queue_nominal_quota{}, 0)",
                  "{{cluster_queue}} {{flavor}}"),), stacked=True,
            ),
            Panel("Jobs held back by quotas and limits", (('kueue_pending_workloads{status="inadmissible"}', "{{cluster_queue}}"),)),
            Panel(
                "Limits of borrowing and lending",
                (
                    ("kueue_cluster_queue_borrowing_limit{}", "{{cluster_queue}} {{flavor}}: borrows"),
                    ("kueue_cluster_queue_lending_limit{}", "{{cluster_queue}} {{flavor}}: lends"),
                ),
                note="No line: no limit.",
            ),
        ),
    ),
    (
        "Sites",
        (
            Panel("GPUs held and waited for, over those of the site", (("gigawatt_site_demand_ratio{}", "{{site}}"),), unit="none"),
            Panel(
                "Jobs that wait, in the global queue and at sites",
                (("gigawatt_global_queue_jobs{}", "global queue"), ("gigawatt_site_pending_jobs{}", "{{site}}")), stacked=True,
            ),
            Panel(
                "Jobs dispatched, and moved away",
                (("gigawatt_site_dispatched_jobs_total{}", "{{site}}"), ("gigawatt_site_moved_jobs_total{}", "{{site}}: moved away")),
            ),
            Panel("Bytes of datasets sent to a site", (("gigawatt_site_received_bytes_total{}", "{{site}}"),), unit="bytes"),
        ),
    ),
    *SERVICE_ROWS,
    (
        "Power",
        (
            Panel(
                "Power against the cap",
                (
                    ("sum by (cluster) (gigawatt_it_power_watts{})", "IT"),
                    ('gigawatt_it_power_watts{component="switches"}', "switches, part of IT"),
                    ("gigawatt_facility_power_watts{}", "facility"),
                    ("gigawatt_power_cap_watts{}", "cap"),
                ),
            ),
            Panel("Clock of the GPUs under a cap, or in heat", (("gigawatt_power_clock_ratio{}", "lowest"),)),
            Panel(
                "Time under a cap that acts, and in heat",
                (("gigawatt_power_capped_seconds_total{}", "capped"), ("gigawatt_power_throttled_seconds_total{}", "throttled")),
                unit="s",
            ),
            Panel("GPUs that compute, where it is hottest", (("gigawatt_gpu_hottest_celsius{}", "hottest"),), unit="celsius"),
            Panel("Power of hosts by pod", (("pod:gigawatt_rack_power_watts:sum{}", "{{site}} {{pod}}"),), stacked=True),
            Panel("Power of hosts by site", (("site:gigawatt_rack_power_watts:sum{}", "{{site}}"),), stacked=True),
            Panel("Racks that draw most", (("topk(10, gigawatt_rack_power_watts{})", "{{rack}}"),)),
            Panel("Energy used by IT", (("gigawatt_it_energy_joules_total{}", "{{component}}"),), stacked=True),
            Panel("Racks that used most energy", (("topk(10, gigawatt_rack_energy_joules_total{})", "{{rack}}"),)),
            Panel("PUE", (("gigawatt_pue_ratio{}", "PUE"),), unit="none"),
        ),
    ),
    (
        "Network",
        (
            Panel("Load by tier", (("gigawatt_link_load_ratio{}", "{{tier}}"),)),
            Panel("Busiest trunk by tier (host_leaf: NIC)", (("gigawatt_link_peak_ratio{}", "{{tier}}"),)),
            Panel("Bytes per second by tier", (("gigawatt_link_bytes_per_second{}", "{{tier}}"),)),
            Panel("Carried by tier", (("sum by (tier) (gigawatt_plane_carried_bytes_total{})", "{{tier}}"),), unit="bytes"),
            Panel("Flows by plane", (("gigawatt_plane_flows{}", "plane {{plane}}"),)),
            Panel("Busiest trunk by plane", (("max by (plane) (gigawatt_plane_peak_ratio{})", "plane {{plane}}"),)),
            Panel(
                "Load by plane",
                (("sum by (plane) (gigawatt_plane_bytes_per_second{}) / sum by (plane) (gigawatt_plane_capacity_bytes_per_second{})",
                  "plane {{plane}}"),), unit="percentunit",
            ),
        ),
    ),
    (
        "Faults",
        (
            Panel("Faults per emulated hour", ((f"cluster_cause:gigawatt_faults:{PER_HOUR}", "{{cause}}"),)),
            Panel("Trunks down by tier", (("gigawatt_trunks_down{}", "{{tier}}"),), stacked=True),
            Panel("Faults of trunks by tier", (("gigawatt_link_downs_total{}", "{{tier}}"),)),
            Panel("Time down by tier", (("gigawatt_link_down_seconds_total{}", "{{tier}}"),)),
            Panel("Faults of the fabric by kind", (("gigawatt_link_faults_total{}", "{{kind}}"),)),
            Panel("Faults by cause", (("gigawatt_faults_total{}", "{{cause}}"),), stacked=True),
            Panel("Hosts down", (("cluster:gigawatt_rack_hosts_down:sum{}", "hosts"),)),
            Panel("Racks with most faults", (("topk(10, gigawatt_rack_faults_total{})", "{{rack}}"),)),
            Panel("GPUs down, by pod", (('pod:gigawatt_rack_gpus:sum{state="down"}', "{{site}} {{pod}}"),), stacked=True),
        ),
    ),
    (
        "Clock and emulator",
        (
            Panel("Speed", (("gigawatt_clock_speed_ratio{}", "{{kind}}"),), unit="suffix:x"),
            Panel("Behind the speed asked for", (("gigawatt_clock_lag_seconds{}", "lag"),)),
            Panel("Emulated time", (("gigawatt_clock_emulated_seconds_total{}", "emulated"),), unit="dtdurations"),
            Panel("Paused or finished", (("gigawatt_clock_paused{}", "paused"), ("gigawatt_clock_finished{}", "finished"))),
            Panel("Wall time of a cycle", (("gigawatt_cycle_wall_seconds{}", "a cycle"),)),
            Panel(
                "Cycles and events per wall second",
                (("rate(gigawatt_cycles_total[])", "cycles"), ("rate(gigawatt_events_total[])", "events")),
            ),
            Panel("Inputs that failed alone", (("gigawatt_commands_failed_total{}", "inputs"),)),
            Panel(
                "Policy outside: actions refused, and whether it is gone",
                (
                    ("sum by (rule) (gigawatt_policy_refused_actions_total{})", "refused: {{rule}}"),
                    ("gigawatt_policy_fallback{}", "1: another decides"),
                ),
            ),
            Panel("Endpoints that answer", (('sum by (role) (up{job="gigawatt"})', "{{role}}"), ("gigawatt_actors{}", "actors"))),
        ),
    ),
    (
        "The cluster",
        (
            _stat("Hosts", "gigawatt_hosts{}"),
            _stat("Racks", "gigawatt_racks{}"),
            _stat("Domains", "gigawatt_domains{}"),
            _stat("Cables", "gigawatt_links{}"),
            _stat("Trunks", "gigawatt_trunks{}"),
            Panel("Switches", (("gigawatt_switches{}", "{{tier}}"),), "stat", height=4),
        ),
    ),
)  # fmt: skip

REST = "Everything else"


def _expression(text: str) -> str:
    """Selectors with the chosen clusters, ``[]`` as a rate's interval."""
    text = re.sub(r"((?:gigawatt_|vllm:)\w+)\[\]", r"\1{}[$__rate_interval]", text)
    return re.sub(r"\{([^{}]*)\}", lambda match: "{" + ", ".join(filter(None, [match[1], CHOSEN])) + "}", text)


def _shown(panel: Panel) -> Iterator[Metric]:
    for expression, _ in panel.queries:
        for name in _NAME.findall(expression):
            for candidate in (name, f"{name}_total", *map(name.removesuffix, ("_bucket", "_sum", "_count", "_pending"))):
                if candidate in _METRICS:
                    yield _METRICS[candidate]
                    break


def _plain_panel(metric: Metric) -> Panel:
    expression = f"rate({metric.name}[])" if metric.kind is Kind.COUNTER else metric.name + "{}"
    if isinstance(metric, RackMetric | EngineMetric):  # never 50,000 lines
        expression = f"topk(10, {expression})"
    return Panel(metric.name, ((expression, " ".join(f"{{{{{label}}}}}" for label in metric.labels)),))


def rows() -> tuple[tuple[str, tuple[Panel, ...]], ...]:
    """``ROWS`` and the row of what they leave out."""
    seen = {metric.name for _, panels in ROWS for panel in panels for metric in _shown(panel)}
    rest = tuple(_plain_panel(metric) for metric in TABLE if metric.name not in seen)
    return (*ROWS, (REST, rest)) if rest else ROWS


def _options(panel: Panel) -> dict[str, Any]:
    """What Grafana itself writes for a new panel of that kind, where that is not its default on reading."""
    if panel.kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    if panel.kind == "heatmap":
        color = {"mode": "scheme", "scheme": "Oranges", "scale": "exponential", "exponent": 0.5, "fill": "dark-orange", "steps": 64}
        return {
            "calculate": False, "cellGap": 1, "cellValues": {}, "color": color | {"reverse": False}, "filterValues": {"le": 1e-9},
            "legend": {"show": True}, "rowsFrame": {"layout": "auto"}, "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        }  # fmt: skip
    reduced = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "orientation": "auto"}
    if panel.kind == "gauge":
        return reduced | {"showThresholdLabels": False, "showThresholdMarkers": True}
    return reduced | {"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "textMode": "auto"}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    shown = list(_shown(panel))
    defaults: dict[str, Any] = {"unit": panel.unit or (UNITS.get(shown[0].unit, "short") if shown else "short")}
    if panel.top is not None:
        defaults |= {"min": 0, "max": panel.top}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none"}
        defaults["custom"] = {"lineWidth": 1, "fillOpacity": 30 if panel.stacked else 8, "showPoints": "never", "stacking": stacking}
    else:
        defaults["thresholds"] = {"mode": "absolute", "steps": [{"color": "green", "value": None}]}
    descriptions = [*dict.fromkeys(metric.help for metric in shown), *filter(None, [panel.note])]
    instant = panel.kind in ("stat", "gauge")
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": "\n\n".join(descriptions),
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": DATASOURCE,
                "expr": _expression(expression),
                "legendFormat": legend or "__auto",
                "format": "heatmap" if panel.kind == "heatmap" else "time_series",
                "instant": instant,
                "range": not instant,
            }
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _panels() -> list[dict[str, Any]]:
    """Rows and their panels, left to right, a new line where the next does not fit."""
    out: list[dict[str, Any]] = []
    y = 0
    for title, panels in rows():
        out.append(
            {"id": len(out) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
             "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}}
        )  # fmt: skip
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            out.append(_panel(panel, len(out) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return out


def _variables() -> list[dict[str, Any]]:
    query = "label_values(gigawatt_cluster_info, cluster)"
    return [
        {"name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus", "hide": 0, "refresh": 1,
         "multi": False, "includeAll": False},
        {"name": "cluster", "type": "query", "label": "Cluster", "datasource": DATASOURCE, "hide": 0, "refresh": 2, "sort": 1,
         "definition": query, "query": {"query": query, "refId": "cluster"}, "multi": True, "includeAll": True, "allValue": ".*",
         "current": {"text": "All", "value": "$__all"}},
    ]  # fmt: skip


def dashboard() -> dict[str, Any]:
    """Grafana's model of the dashboard: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/."""
    return {
        "uid": "gigawatt",
        "title": "Gigawatt",
        "description": "An emulated AI cluster. Written by `python -m emulator.telemetry`; change emulator/telemetry/dashboard.py.",
        "tags": ["gigawatt"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "timepicker": {"refresh_intervals": ["1s", "5s", "30s", "1m", "5m"]},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": _panels(),
    }


def dashboard_json() -> str:
    """The file under deploy/, with a line feed at its end."""
    return json.dumps(dashboard(), indent=1) + "\n"
