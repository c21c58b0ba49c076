"""Recording rules and alerts for Prometheus, as data: deploy/prometheus/rules.yml is written from here.

Names are ``level:metric:operation`` (Prometheus' own convention). Prometheus stamps wall time, so under acceleration a plain ``rate()``
is per wall second; the rules that end in ``per_emulated_second1m`` are divided by the emulated seconds that passed meanwhile.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A recording rule of Prometheus: ``expr``, in PromQL, is kept under the name ``record``."""

    record: str
    expr: str


@dataclass(frozen=True)
class Alert:
    """An alert of Prometheus: it fires once ``expr`` has had a value for ``lasting``, of wall time."""

    alert: str
    expr: str
    lasting: str
    severity: str
    summary: str


@dataclass(frozen=True)
class Group:
    """Rules of one group are evaluated in order, so a rule may use those above it."""

    name: str
    rules: tuple[Rule, ...]
    alerts: tuple[Alert, ...] = ()


EMULATED = "cluster:gigawatt_clock_emulated_seconds:rate1m"


def _per_emulated_second(metric: str, by: str = "cluster") -> Rule:
    stem = metric.removesuffix("_total")
    level = "_".join(by.split(", "))
    rate = f"sum by ({by}) (rate({metric}[1m]))"
    return Rule(f"{level}:{stem}:per_emulated_second1m", f"{rate} / on (cluster) group_left () {EMULATED}")


def _wait_quantile(quantile: float) -> Rule:
    buckets = "sum by (cluster, le) (rate(gigawatt_queue_wait_seconds_bucket[5m]))"
    return Rule(f"cluster:gigawatt_queue_wait_seconds:p{quantile * 100:.0f}", f"histogram_quantile({quantile}, {buckets})")


#: A service is to keep this part of its requests within its objectives.
KEPT_RATIO = 0.99
#: Of the multi-window alerts of Google's Site Reliability Workbook (ch. 5, table 5-8): what is allowed to fail in 30 days is gone in two of
#: them at the first rate, and in five at the second.
FAST_BURN, SLOW_BURN = 14.4, 6
_BAD = "cluster_service:gigawatt_service_bad_requests:ratio_rate"


def _bad_ratio(window: str) -> Rule:
    """Part of the requests that ended, but for the cancelled, which did not finish within the objectives."""
    good = f"sum by (cluster, service) (rate(gigawatt_service_good_requests_total[{window}]))"
    ended = f'sum by (cluster, service) (rate(gigawatt_service_requests_total{{outcome!="cancelled"}}[{window}]))'
    return Rule(f"{_BAD}{window}", f"1 - {good} / {ended}")


def _burn(name: str, rate: float, short: str, long: str, severity: str) -> Alert:
    limit = f"{rate:g} * {1 - KEPT_RATIO:g}"
    expr = f"{_BAD}{short} > {limit} and {_BAD}{long} > {limit}"
    summary = f"{{{{ $labels.service }}}} misses its objectives {rate:g} times as often as {KEPT_RATIO:g} attainment allows."
    return Alert(name, expr, "1m", severity, summary)


def _joules_per(what: str, of: str) -> Rule:
    joules = "sum by (cluster, service) (rate(gigawatt_service_energy_joules_total[5m]))"
    return Rule(f"cluster_service:gigawatt_service_joules_per_{what}:rate5m", f"{joules} / sum by (cluster, service) (rate({of}[5m]))")


GROUPS: tuple[Group, ...] = (
    Group(
        "gigawatt-emulated-time",
        (
            Rule(EMULATED, "sum by (cluster) (rate(gigawatt_clock_emulated_seconds_total[1m]))"),
            _per_emulated_second("gigawatt_jobs_submitted_total"),
            _per_emulated_second("gigawatt_jobs_started_total"),
            _per_emulated_second("gigawatt_jobs_ended_total", "cluster, state"),
            _per_emulated_second("gigawatt_job_preemptions_total"),
            _per_emulated_second("gigawatt_job_migrations_total"),
            _per_emulated_second("gigawatt_job_resizes_total"),
            _per_emulated_second("gigawatt_job_restarts_total"),
            _per_emulated_second("gigawatt_faults_total", "cluster, cause"),
        ),
    ),
    Group("gigawatt-waits", tuple(map(_wait_quantile, (0.5, 0.9, 0.99)))),
    Group(
        "gigawatt-places",
        (
            Rule("cluster:gigawatt_gpus:sum", "sum by (cluster) (gigawatt_gpus)"),
            Rule("cluster:gigawatt_queue_gpus_pending:sum", 'sum by (cluster) (gigawatt_queue_gpus{state="pending"})'),
            Rule("site:gigawatt_rack_power_watts:sum", "sum by (cluster, site) (gigawatt_rack_power_watts)"),
            Rule("pod:gigawatt_rack_power_watts:sum", "sum by (cluster, site, pod) (gigawatt_rack_power_watts)"),
            Rule("pod:gigawatt_rack_gpus:sum", "sum by (cluster, site, pod, state) (gigawatt_rack_gpus)"),
            Rule("cluster:gigawatt_rack_hosts_down:sum", "sum by (cluster) (gigawatt_rack_hosts_down)"),
        ),
    ),
    Group(
        "gigawatt-services",
        (
            _per_emulated_second("gigawatt_service_arrived_requests_total", "cluster, service"),
            _per_emulated_second("gigawatt_service_requests_total", "cluster, service, outcome"),
            _per_emulated_second("gigawatt_service_tokens_total", "cluster, service, kind"),
            _per_emulated_second("gigawatt_service_good_tokens_total", "cluster, service"),
            _joules_per("token", 'gigawatt_service_tokens_total{kind="output"}'),
            _joules_per("request", 'gigawatt_service_requests_total{outcome="finished"}'),
            *map(_bad_ratio, ("5m", "30m", "1h", "6h")),
        ),
        (
            _burn("GigawattServiceBurnsFast", FAST_BURN, "5m", "1h", "page"),
            _burn("GigawattServiceBurnsSlowly", SLOW_BURN, "30m", "6h", "ticket"),
        ),
    ),
)


_WRITTEN = "# Written by `python -m emulator.telemetry` from emulator/telemetry/rules.py.\n"


def _groups_yaml(indent: str) -> str:
    """Laid out here rather than by a YAML library, so that an expression stays on one line, unquoted."""
    lines = ["groups:"]
    for group in GROUPS:
        lines += [f"  - name: {group.name}", "    rules:"]
        for rule in group.rules:
            lines += [f"      - record: {rule.record}", "        expr: >-", f"          {rule.expr}"]
        for alert in group.alerts:
            lines += [f"      - alert: {alert.alert}", "        expr: >-", f"          {alert.expr}", f"        for: {alert.lasting}"]
            lines += ["        labels:", f"          severity: {alert.severity}"]
            lines += ["        annotations:", "          summary: >-", f"            {alert.summary}"]
    return "".join(f"{indent}{line}\n" for line in lines)


def rules_yaml() -> str:
    """The rule file that prometheus.yml names."""
    return _WRITTEN + _groups_yaml("")


def prometheusrule_yaml() -> str:
    """The same rules for the Prometheus operator."""
    labels = "metadata:\n  name: gigawatt\n  labels:\n    app.kubernetes.io/name: gigawatt\n"
    return f"{_WRITTEN}apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n{labels}spec:\n{_groups_yaml('  ')}"
