"""The dashboard's rows on services and their replicas."""

from emulator.telemetry.panel import PER_SECOND, Panel

OF_SERVICE = "cluster_service:gigawatt_service"
_SUM = "sum by (model_name)"
_HITS = f"{_SUM} (rate(vllm:prefix_cache_hits_total[])) / {_SUM} (rate(vllm:prefix_cache_queries_total[]))"

SERVICE_ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Services",
        (
            Panel("Part of the requests within the objectives", (("gigawatt_service_slo_attainment_ratio{}", "{{service}}"),), top=1.0),
            Panel(
                "Time to the first token, of the last interval",
                (
                    ('gigawatt_service_ttft_seconds{percentile=~"50|99"}', "{{service}} p{{percentile}}"),
                    ("gigawatt_service_ttft_objective_seconds{}", "{{service}}: objective"),
                ),
            ),
            Panel(
                "Time of a token after the first, of the last interval",
                (
                    ('gigawatt_service_tpot_seconds{percentile=~"50|99"}', "{{service}} p{{percentile}}"),
                    ("gigawatt_service_tpot_objective_seconds{}", "{{service}}: objective"),
                ),
            ),
            Panel(
                "Requests per emulated second, by outcome",
                (
                    (f"{OF_SERVICE}_arrived_requests:{PER_SECOND}", "{{service}}: arrived"),
                    (f"cluster_service_outcome:gigawatt_service_requests:{PER_SECOND}", "{{service}} {{outcome}}"),
                ),
                unit="reqps",
            ),
            Panel(
                "Tokens per emulated second",
                (
                    (f"cluster_service_kind:gigawatt_service_tokens:{PER_SECOND}", "{{service}} {{kind}}"),
                    (f"{OF_SERVICE}_good_tokens:{PER_SECOND}", "{{service}}: goodput"),
                ),
                unit="short",
            ),
            Panel("Requests under way", (("gigawatt_service_active_requests{}", "{{service}} {{state}}"),)),
            Panel(
                "Replicas",
                (("gigawatt_service_replicas{}", "{{service}} {{state}}"), ("gigawatt_service_wanted_replicas{}", "{{service}}: wanted")),
            ),
            Panel("GPUs held", (("gigawatt_service_gpus{}", "{{service}}"),), stacked=True),
            Panel(
                "KV cache in use, and requests that wait at a replica",
                (
                    ("inference_pool_average_kv_cache_utilization{}", "{{name}}: KV"),
                    ("inference_pool_average_queue_size{}", "{{name}}: wait"),
                ),
                unit="none",
            ),
            Panel(
                "Joules per token, and since the start",
                (
                    (f"{OF_SERVICE}_joules_per_token:rate5m{{}}", "{{service}}"),
                    ("gigawatt_service_joules_per_token{}", "{{service}}: since the start"),
                ),
                unit="joule",
            ),
            Panel(
                "Joules per request, and since the start",
                (
                    (f"{OF_SERVICE}_joules_per_request:rate5m{{}}", "{{service}}"),
                    ("gigawatt_service_joules_per_request{}", "{{service}}: since the start"),
                ),
                unit="joule",
            ),
            Panel("Energy used by replicas", (("gigawatt_service_energy_joules_total{}", "{{service}}"),), stacked=True),
            Panel(
                "Requests that missed the objectives, part of those that ended",
                ((f"{OF_SERVICE}_bad_requests:ratio_rate5m{{}}", "{{service}}"),), unit="percentunit",
            ),
            Panel(
                "Tries again, requests from other sites, and requests within the objectives",
                (
                    ("gigawatt_service_retries_total{}", "{{service}}: tries again"),
                    ("gigawatt_service_remote_requests_total{}", "{{service}}: from other sites"),
                    ("gigawatt_service_good_requests_total{}", "{{service}}"),
                ),
            ),
            Panel("Pools run request by request", (("gigawatt_service_run_ratio{}", "{{service}}"),), top=1.0),
            Panel("Models", (("gigawatt_service_info{}", "{{service}}: {{model}} on {{engine}}"),), "stat", unit="none", height=4),
            Panel("Replicas that are up", (("inference_pool_ready_pods{}", "{{name}}"),), "stat", height=4),
            Panel("Time of the last look", (("gigawatt_service_looked_seconds{}", "{{service}}"),), "stat", unit="dtdurations", height=4),
        ),
    ),
    (
        "Replicas of services",
        (
            Panel(
                "Requests at replicas",
                (
                    ("sum by (model_name) (vllm:num_requests_running{})", "{{model_name}} running"),
                    ("sum by (model_name) (vllm:num_requests_waiting{})", "{{model_name}} waiting"),
                ),
            ),
            Panel("Replicas with most requests waiting", (("topk(10, vllm:num_requests_waiting{})", "{{model_name}} {{engine}}"),)),
            Panel("Replicas with most of their KV cache in use", (("topk(10, vllm:kv_cache_usage_perc{})", "{{model_name}} {{engine}}"),)),
            Panel(
                "Tokens per wall second",
                (
                    ("sum by (model_name) (rate(vllm:prompt_tokens_total[]))", "{{model_name}} prompt"),
                    ("sum by (model_name) (rate(vllm:generation_tokens_total[]))", "{{model_name}} generated"),
                ),
            ),
            Panel(
                "Prompt tokens found in prefix caches",
                ((_HITS, "{{model_name}}"),),
                unit="percentunit",
            ),
            Panel(
                "Preemptions and finished requests per wall second",
                (
                    ("sum by (model_name) (rate(vllm:num_preemptions_total[]))", "{{model_name}} preemptions"),
                    ("sum by (model_name) (rate(vllm:request_success_total[]))", "{{model_name}} finished"),
                ),
            ),
            *[
                Panel(
                    title,
                    tuple((f"histogram_quantile({q}, sum by (model_name, le) (rate(vllm:{name}_bucket[])))", f"{{{{model_name}}}} {q}")
                          for q in (0.5, 0.99)),
                )
                for title, name in (
                    ("Time to the first token, of all", "time_to_first_token_seconds"),
                    ("Time between tokens", "inter_token_latency_seconds"),
                    ("Time of a request's tokens after the first", "request_time_per_output_token_seconds"),
                    ("Time of a request", "e2e_request_latency_seconds"),
                )
            ],
            Panel(
                "Where the time of requests goes",
                tuple(
                    (f"sum by (model_name) (rate(vllm:request_{phase}_time_seconds_sum[]))", f"{{{{model_name}}}} {phase}")
                    for phase in ("queue", "prefill", "decode")
                ), unit="short", stacked=True,
            ),
            *[
                Panel(title, ((f"sum by (le) (increase(vllm:{name}_bucket[]))", "{{le}}"),), "heatmap")
                for title, name in (
                    ("Prompts", "request_prompt_tokens"), ("Answers", "request_generation_tokens"),
                    ("Longest answers", "request_max_num_generation_tokens"),
                )
            ],
        ),
    ),
)  # fmt: skip
