"""Recording rules for Prometheus, as data: deploy/prometheus/rules.yml is written from here.

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
class Group:
    """Rules of one group are evaluated in order, so a rule may use those above it."""

    name: str
    rules: tuple[Rule, ...]


EMULATED = "cluster:gigawatt_clock_emulated_seconds:rate1m"


def _per_emulated_second(metric: str, by: str = "cluster") -> Rule:
    stem = metric.removesuffix("_total")
    level = "_".join(by.split(", "))
    rate = f"sum by ({by}) (rate({metric}[1m]))"
    return Rule(f"{level}:{stem}:per_emulated_second1m", f"{rate} / on (cluster) group_left () {EMULATED}")


def _wait_quantile(quantile: float) -> Rule:
    buckets = "sum by (cluster, le) (rate(gigawatt_queue_wait_seconds_bucket[5m]))"
    return Rule(f"cluster:gigawatt_queue_wait_seconds:p{quantile * 100:.0f}", f"histogram_quantile({quantile}, {buckets})")


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
)


_WRITTEN = "# Written by `python -m emulator.telemetry` from emulator/telemetry/rules.py.\n"


def _groups_yaml(indent: str) -> str:
    """Laid out here rather than by a YAML library, so that an expression stays on one line, unquoted."""
    lines = ["groups:"]
    for group in GROUPS:
        lines += [f"  - name: {group.name}", "    rules:"]
        for rule in group.rules:
            lines += [f"      - record: {rule.record}", "        expr: >-", f"          {rule.expr}"]
    return "".join(f"{indent}{line}\n" for line in lines)


def rules_yaml() -> str:
    """The rule file that prometheus.yml names."""
    return _WRITTEN + _groups_yaml("")


def prometheusrule_yaml() -> str:
    """The same rules for the Prometheus operator."""
    labels = "metadata:\n  name: gigawatt\n  labels:\n    app.kubernetes.io/name: gigawatt\n"
    return f"{_WRITTEN}apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n{labels}spec:\n{_groups_yaml('  ')}"
