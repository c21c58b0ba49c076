"""What the head serves of services, one row each. Each interval of the scenario the head looks at its services; these are of the last look.

The pool of the Gateway API's inference extension has its names and label (kubernetes-sigs/gateway-api-inference-extension,
pkg/epp/metrics): a service is one ``inference_pool``, and a replica one of its pods.
"""

import math
from collections.abc import Callable, Mapping

from emulator.engine.service_control import ServiceView
from emulator.engine.snapshot import Snapshot
from emulator.telemetry.metric import HeadMetric, Kind, Values

#: How requests end.
OUTCOMES = ("finished", "rejected", "timed_out", "cancelled", "lost", "too_long")
TOKENS = ("input", "output", "cached", "wasted")
REPLICA_STATES = ("up", "starting", "pending", "leaving")
PERCENTILES = ("50", "90", "99")


def _each(read: Callable[[ServiceView], float | None]) -> Callable[[Snapshot], Values]:
    """One series a service; what nothing was measured for is not a number."""
    return lambda snapshot: {(view.name,): _number(read(view)) for view in snapshot.services}


def _by(keys: tuple[str, ...], read: Callable[[ServiceView, str], float | None]) -> Callable[[Snapshot], Values]:
    """One series for each service and each of ``keys``."""
    return lambda snapshot: {(view.name, key): _number(read(view, key)) for view in snapshot.services for key in keys}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _percentile(read: Callable[[ServiceView], Mapping[str, float | None]]) -> Callable[[Snapshot], Values]:
    return _by(PERCENTILES, lambda view, percentile: read(view)[f"p{percentile}"])


def _queue_size(view: ServiceView) -> float:
    """Waiting requests of a replica that is up; of one, where none is."""
    return view.waiting_requests / max(1, view.up_replicas)


_OF_SERVICE = ("service",)

SERVICES: tuple[HeadMetric, ...] = (
    HeadMetric(
        "gigawatt_service_info", Kind.GAUGE, "flag", "Always 1; the model and the engine of a service are in the labels.",
        ("service", "model", "engine"), lambda s: {(view.name, view.model, view.engine): 1 for view in s.services},
    ),
    HeadMetric(
        "gigawatt_service_replicas", Kind.GAUGE, "replicas",
        "Replicas of a service: up, starting (they load weights), pending (they wait for GPUs), leaving (they finish what they have).",
        ("service", "state"), _by(REPLICA_STATES, lambda view, state: getattr(view, f"{state}_replicas")),
    ),
    HeadMetric(
        "gigawatt_service_wanted_replicas", Kind.GAUGE, "replicas", "Replicas that a service is to have.", _OF_SERVICE,
        _each(lambda view: view.wanted_replicas),
    ),
    HeadMetric(
        "gigawatt_service_gpus", Kind.GAUGE, "GPUs", "GPUs that the replicas of a service hold.", _OF_SERVICE,
        _each(lambda view: (view.up_replicas + view.starting_replicas + view.leaving_replicas) * view.gpus_per_replica),
    ),
    HeadMetric(
        "gigawatt_service_run_ratio", Kind.GAUGE, "ratio",
        "Part of a service's requests that was run one by one; what the others do follows from these, and every count is of both.",
        _OF_SERVICE, _each(lambda view: view.run_ratio),
    ),
    HeadMetric(
        "gigawatt_service_looked_seconds", Kind.GAUGE, "seconds",
        "Emulated time of the last look at a service, since the scenario's start.", _OF_SERVICE, _each(lambda view: view.looked_seconds),
    ),
    HeadMetric(
        "gigawatt_service_active_requests", Kind.GAUGE, "requests", "Requests of a service that are under way: running or waiting.",
        ("service", "state"), _by(("running", "waiting"), lambda view, state: getattr(view, f"{state}_requests")),
    ),
    HeadMetric(
        "gigawatt_service_arrived_requests_total", Kind.COUNTER, "requests",
        "Requests that came to a service, once each, however often they were tried.", _OF_SERVICE,
        _each(lambda view: view.requests["arrived"]),
    ),
    HeadMetric(
        "gigawatt_service_requests_total", Kind.COUNTER, "requests",
        "Requests of a service that ended, by outcome: finished; rejected, where every replica had as many as may wait; timed_out, without"
        " a first token within the client's patience; cancelled by the client; lost with replicas as often as they may be tried; too_long"
        " for a replica's memory.",
        ("service", "outcome"), _by(OUTCOMES, lambda view, outcome: view.requests[outcome]),
    ),
    HeadMetric(
        "gigawatt_service_remote_requests_total", Kind.COUNTER, "requests",
        "Requests that came to a service and entered at another site than the one that serves them.", _OF_SERVICE,
        _each(lambda view: view.requests["remote_requests"]),
    ),
    HeadMetric(
        "gigawatt_service_retries_total", Kind.COUNTER, "tries", "Tries of a service's requests after the first.", _OF_SERVICE,
        _each(lambda view: view.requests["retried"]),
    ),
    HeadMetric(
        "gigawatt_service_tokens_total", Kind.COUNTER, "tokens",
        "Tokens of a service: input and output of the requests that finished, cached those of the input that were in the prefix cache,"
        " wasted those generated for requests that did not finish.",
        ("service", "kind"), _by(TOKENS, lambda view, kind: view.requests[f"{kind}_tokens"]),
    ),
    HeadMetric(
        "gigawatt_service_good_requests_total", Kind.COUNTER, "requests", "Requests that finished within both objectives of the service.",
        _OF_SERVICE, _each(lambda view: view.requests["good"]),
    ),
    HeadMetric(
        "gigawatt_service_good_tokens_total", Kind.COUNTER, "tokens",
        "Tokens generated for requests within both objectives of the service: its token goodput.", _OF_SERVICE,
        _each(lambda view: view.requests["good_tokens"]),
    ),
    HeadMetric(
        "gigawatt_service_slo_attainment_ratio", Kind.GAUGE, "ratio",
        "Part of a service's ended requests, since the start and but for the cancelled, that finished within both objectives.", _OF_SERVICE,
        _each(lambda view: view.slo_attainment_ratio),
    ),
    HeadMetric(
        "gigawatt_service_ttft_seconds", Kind.GAUGE, "seconds",
        "Time from a request to its first token that so many in a hundred stayed within, in the last interval.", ("service", "percentile"),
        _percentile(lambda view: view.recent_ttft_seconds),
    ),
    HeadMetric(
        "gigawatt_service_tpot_seconds", Kind.GAUGE, "seconds",
        "Time of a token after the first, in the mean of a request, that so many in a hundred stayed within, in the last interval.",
        ("service", "percentile"), _percentile(lambda view: view.recent_tpot_seconds),
    ),
    HeadMetric(
        "gigawatt_service_ttft_objective_seconds", Kind.GAUGE, "seconds", "The first token is to be there within this.", _OF_SERVICE,
        _each(lambda view: view.ttft_objective_seconds),
    ),
    HeadMetric(
        "gigawatt_service_tpot_objective_seconds", Kind.GAUGE, "seconds", "A token after the first is to take no longer.", _OF_SERVICE,
        _each(lambda view: view.tpot_objective_seconds),
    ),
    HeadMetric(
        "gigawatt_service_energy_joules_total", Kind.COUNTER, "joules",
        "Energy of a service's replicas: what their GPUs drew, and their part of their hosts' idle draw; without switches and cooling.",
        _OF_SERVICE, _each(lambda view: view.energy_joules),
    ),
    HeadMetric(
        "gigawatt_service_joules_per_token", Kind.GAUGE, "joules_per_token",
        "Energy of a service's replicas over the tokens of output of its finished requests, since the start.", _OF_SERVICE,
        _each(lambda view: view.joules_per_token),
    ),
    HeadMetric(
        "gigawatt_service_joules_per_request", Kind.GAUGE, "joules_per_request",
        "Energy of a service's replicas over its finished requests, since the start.", _OF_SERVICE,
        _each(lambda view: view.joules_per_request),
    ),
    HeadMetric(
        "inference_pool_average_kv_cache_utilization", Kind.GAUGE, "ratio", "Mean part of the KV cache that the replicas of a service use.",
        ("name",), _each(lambda view: view.kv_usage_ratio),
    ),
    HeadMetric(
        "inference_pool_average_queue_size", Kind.GAUGE, "requests", "Mean number of requests that wait at a replica of a service.",
        ("name",), _each(_queue_size),
    ),
    HeadMetric(
        "inference_pool_ready_pods", Kind.GAUGE, "replicas", "Replicas of a service that are up.", ("name",),
        _each(lambda view: view.up_replicas),
    ),
)  # fmt: skip
