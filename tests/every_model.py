"""Settings with which everything that a job, a part or the grid can do happens, for tests of all of it together."""

#: What becomes of jobs.
LIVES = (
    *("jobs.recovery=spares", "jobs.spares=4", "jobs.grace_period=2m", "jobs.requeue_backoff.initial=30s", "jobs.time_limit=estimate"),
    *("jobs.checkpoint.interval=daly", "workload.generated.checkpoint=daly", "jobs.checkpoint.writing=asynchronous"),
    *("jobs.stragglers.host_spread=0.004", "jobs.stragglers.stall_ratio=0.02", "jobs.stragglers.fail_slow=drawn"),
)
#: What fails beside single hosts.
FAULTS = (
    *("faults.memory_errors=all", "faults.crews=20", "faults.lemons.ratio=0.02"),
    *("faults.suspects.per_1000_node_days=0.5", "faults.slow.per_1000_node_days=0.5"),
    *("faults.units.rack.per_year=0.05", "faults.units.leaf.per_year=0.05"),
    *("faults.units.cooling_unit.per_year=0.2", "faults.units.power_feed.per_year=0.2"),
    *("fabric.faults.enabled=true",),
)
#: What power does: weather, the grid's carbon, what smooths swings, and a quarter less for three hours.
POWER = (
    *("power.pue=null", "power.wue_litres_per_kwh=null", "power.cooling=evaporative"),
    *("power.outdoor={points: [[0s, 18], [12h, 31]], repeat: 24h}",),
    *("power.carbon={points: [[0s, 320], [8h, 150], [18h, 360]], repeat: 24h}",),
    *("power.smoothing={gpu_floor: 50%, gpu_joules: 65}", "power.events=[{at: 1h, duration: 3h, reduce: 25%}]"),
)
EVERY_MODEL = LIVES + FAULTS + POWER
#: Services whose replicas are preempted, break and scale, get weights from each other, speculate, and send tokens to each other's hosts.
_CHAT = (
    "{name: chat, model: llama3.1-70b, tensor: 4, replicas: 24, queue: serving, scaling: {metric: concurrency, target: 8, lead: 5m},"
    " requests: {per_second: 60, bursts: {cv: 0.3}, sessions: {ratio: 0.3}, priorities: [{ratio: 0.2, priority: 1}]},"
    " prefix_cache: {enabled: true}, router: prefix-aware, weights_from: peers}"
)
_CODE = (
    "{name: code, model: llama3.1-8b, tensor: 1, replicas: 16, router: power-of-two, run_one_in: 2, priority: 1,"
    " requests: {per_second: 40}, patience: {timeout: 10s, cancel_ratio: 0.05}, speculative: {tokens: 2}}"
)
_EXPERTS = (
    "{name: experts, model: deepseek-v3, tensor: 1, attention_data: 16, pipeline: 2, replicas: 3, objectives: {ttft: 5s},"
    " requests: {kind: closed, concurrency: 120, think: 2s}}"
)
SERVING = (
    *("serving.pool=pod", "serving.keep_requests=2000", "scheduler.queues=[{name: default}, {name: serving, priority: 100}]"),
    f"services=[{_CHAT}, {_CODE}, {_EXPERTS}]",
)
