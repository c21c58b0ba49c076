"""What is served of replicas, where they run: vLLM's own metrics under vLLM's names (vllm/v1/metrics/loggers.py), one row each.

``model_name`` is what clients name in a request, which is the service; ``engine`` is the id of the replica's job. Where replicas are added
up by pool (``telemetry.detail`` pod or cluster), ``engine`` is what the pool's unit of the topology is called.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emulator.racks.vllm_counts import VllmHistogram
from emulator.telemetry.metric import Kind, Metric

Int64 = NDArray[np.int64]

ENGINE_LABELS = ("model_name", "engine")
#: Why vLLM says that a request has ended; here all have generated what they had to.
FINISHED_REASONS = ("stop", "length", "abort")


@dataclass(frozen=True, eq=False)
class Engines:
    """Replicas, or pools of them, shape (engines,) each; ``kv_most_blocks`` is 0 where no replica is up."""

    running: Int64
    waiting: Int64
    kv_blocks: Int64
    kv_most_blocks: Int64
    input_tokens: Int64
    output_tokens: Int64
    cached_tokens: Int64
    preemptions: Int64
    finished: Int64
    counts: Int64  # as in ``racks.vllm_counts``
    sums: Int64


@dataclass(frozen=True)
class EngineMetric(Metric):
    """``labels`` begin with those that ``read`` keys its columns by; ``ENGINE_LABELS`` follow.

    A column has shape (engines,) and holds integers that count ``10 ** -decimals`` units.
    """

    read: Callable[[Engines], Mapping[tuple[str, ...], Int64]]
    decimals: int = 0


@dataclass(frozen=True)
class EngineHistogram(Metric):
    """One of the histograms that vLLM has."""

    of: VllmHistogram


def _usage(engines: Engines) -> Int64:
    """Part of the KV memory in use, in ten thousandths."""
    used: Int64 = engines.kv_blocks * 10_000 // np.maximum(engines.kv_most_blocks, 1)
    return used


def _success(engines: Engines) -> Mapping[tuple[str, ...], Int64]:
    none = np.zeros_like(engines.finished)
    return {(reason,): engines.finished if reason == "stop" else none for reason in FINISHED_REASONS}


def _gauge(name: str, unit: str, text: str, read: Callable[[Engines], Int64], decimals: int = 0) -> EngineMetric:
    return EngineMetric(f"vllm:{name}", Kind.GAUGE, unit, text, ENGINE_LABELS, lambda engines: {(): read(engines)}, decimals)


def _counter(name: str, unit: str, text: str, read: Callable[[Engines], Int64]) -> EngineMetric:
    return EngineMetric(f"vllm:{name}_total", Kind.COUNTER, unit, text, ENGINE_LABELS, lambda engines: {(): read(engines)})


def _histogram(name: str, unit: str, text: str, of: VllmHistogram) -> EngineHistogram:
    return EngineHistogram(f"vllm:{name}", Kind.HISTOGRAM, unit, text, ENGINE_LABELS, of)


VLLM: tuple[EngineMetric | EngineHistogram, ...] = (
    _gauge("num_requests_running", "requests", "Requests that a replica works on.", lambda e: e.running),
    _gauge("num_requests_waiting", "requests", "Requests that wait at a replica.", lambda e: e.waiting),
    _gauge("kv_cache_usage_perc", "ratio", "Part of a replica's KV cache that is in use; 1 is all of it.", _usage, 4),
    _counter("prefix_cache_queries", "tokens", "Prompt tokens that were looked up in a replica's prefix cache.",
             lambda e: e.input_tokens + e.cached_tokens),
    _counter("prefix_cache_hits", "tokens", "Prompt tokens that were found in a replica's prefix cache.", lambda e: e.cached_tokens),
    _counter("num_preemptions", "preemptions", "Requests that a replica stopped for want of KV memory, to compute them anew.",
             lambda e: e.preemptions),
    _counter("prompt_tokens", "tokens", "Prompt tokens that a replica has taken in, cached ones included.",
             lambda e: e.input_tokens + e.cached_tokens),
    _counter("generation_tokens", "tokens", "Tokens that a replica has generated.", lambda e: e.output_tokens),
    EngineMetric("vllm:request_success_total", Kind.COUNTER, "requests", "Requests that a replica has finished, by vLLM's reason.",
                 ("finished_reason", *ENGINE_LABELS), _success),
    _histogram("time_to_first_token_seconds", "seconds", "Time from a request to its first token.", VllmHistogram.TTFT),
    _histogram("inter_token_latency_seconds", "seconds",
               "Time of each token after the first; the tokens of a request count with their mean.", VllmHistogram.INTER_TOKEN),
    _histogram("request_time_per_output_token_seconds", "seconds", "Time of a token after the first, in the mean of a request.",
               VllmHistogram.PER_TOKEN),
    _histogram("e2e_request_latency_seconds", "seconds", "Time from a request to its last token.", VllmHistogram.E2E),
    _histogram("request_queue_time_seconds", "seconds", "Time from a request to the step in which its prompt began to be computed.",
               VllmHistogram.QUEUE),
    _histogram("request_prefill_time_seconds", "seconds", "Time from there to the first token.", VllmHistogram.PREFILL),
    _histogram("request_decode_time_seconds", "seconds", "Time from the first token to the last.", VllmHistogram.DECODE),
    _histogram("request_prompt_tokens", "tokens", "Tokens of a request's prompt.", VllmHistogram.PROMPT),
    _histogram("request_generation_tokens", "tokens", "Tokens generated for a request.", VllmHistogram.GENERATION),
    _histogram("request_max_num_generation_tokens", "tokens", "Tokens of a request's longest answer; here each has one.",
               VllmHistogram.GENERATION),
)  # fmt: skip
