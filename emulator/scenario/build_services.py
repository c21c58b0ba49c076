"""The services of a scenario as the settings of the engine and of the shards."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from emulator.engine.scaling import Scaling
from emulator.engine.service_settings import Service, ServingSettings
from emulator.fabric.wan import WanRoutes
from emulator.racks.latencies import PS_PER_NS, PS_PER_SECOND
from emulator.racks.pool_layout import NEVER_PS
from emulator.racks.pool_records import PoolSettings, ReplicaLimits, Router
from emulator.racks.served import Patience, Served
from emulator.racks.ways import ONE_SITE, Ways
from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from emulator.scenario.services import RequestSettings, ServiceSettings
from emulator.scenario.units import DAY
from emulator.workload.jobs import LEVEL_NAMES, SECOND, SourceReport
from emulator.workload.readers.errors import TraceError
from emulator.workload.requests import (
    NAMED_LENGTHS,
    ClosedLoop,
    Generator,
    GeneratorSettings,
    Length,
    Lengths,
    Prioritized,
    RequestTrace,
    Source,
)
from emulator.workload.requests.generator import WORLD
from emulator.workload.requests.lengths import constant, lognormal, uniform_between
from emulator.workload.requests.open import open_request_trace
from emulator.workload.requests.priorities import check_classes
from emulator.workload.serving.costs import (
    ModelDoesNotFit,
    PlanDoesNotFit,
    ReplicaSteps,
    ServingPlan,
    Speculation,
    fabric_bytes,
    kv_bytes_per_token,
    kv_room,
    plan_of,
    weight_bytes,
)
from emulator.workload.serving.stacks import RESERVING, stack_of
from emulator.workload.training import MODELS
from topology.catalog import GPUS, GpuType
from topology.cluster import Cluster

#: The metrics' targets where a scenario gives none: requests with each replica and behind it, part of the KV memory; of latencies the
#: objectives themselves.
TARGETS = {"concurrency": 64.0, "queue": 1.0, "kv": 0.7}
#: Bursts that vary less are none: 2,000 windows would not show them.
LEAST_CV = 0.001
#: A pool is in the smallest of these levels that the cluster has.
POOL_LEVELS = ("pod", "building", "site")


def build_services(scenario: Scenario, cluster: Cluster) -> tuple[ServingSettings, tuple[SourceReport, ...]]:
    """Raises ScenarioError naming the field."""
    reports: list[SourceReport] = []
    services = tuple([_service(scenario, number, cluster, reports) for number in range(len(scenario.services))])
    given = scenario.serving
    return ServingSettings(services, given.interval, _pool_level(scenario, cluster), given.keep_requests), tuple(reports)


def _pool_level(scenario: Scenario, cluster: Cluster) -> str:
    there = {level.name for level in cluster.levels}
    wanted = scenario.serving.pool
    if wanted is None:
        return next(level for level in POOL_LEVELS if level in there)
    if wanted not in there:
        known = ", ".join(level for level in ("leaf", *POOL_LEVELS) if level in there)
        raise ScenarioError(f"scenario {scenario.name}: serving.pool: the cluster has no level {wanted!r}; allowed: {known}")
    return wanted


def _service(scenario: Scenario, number: int, cluster: Cluster, reports: list[SourceReport]) -> Service:
    given = scenario.services[number]
    place = f"scenario {scenario.name}: services.{number}"
    host_type, gpu = _gpu(given, cluster, place)
    mixture = MODELS[given.model].experts > 0
    stack = stack_of(gpu.name, given.precision, given.engine, mixture=mixture)
    if given.kv_precision is not None:
        stack = replace(stack, kv_precision=given.kv_precision)
    model, plan = MODELS[given.model], _plan(given, cluster, host_type, place)
    speculation = Speculation(given.speculative.tokens, given.speculative.acceptance, given.speculative.draft_ratio)
    if speculation.width > given.token_budget:
        raise ScenarioError(
            f"{place}.speculative.tokens: {speculation.tokens}, and a step has {given.token_budget} tokens; allowed: less than these"
        )
    try:
        room = kv_room(model, gpu, given.precision, plan, stack.kv_precision)
    except ModelDoesNotFit as error:
        raise ScenarioError(f"{place}.tensor: {error}; allowed: more GPUs, or another precision") from None
    steps = ReplicaSteps(model, gpu, given.precision, plan, stack, given.token_budget, speculation)
    front_end_ps = round(stack.front_end_seconds * PS_PER_SECOND)
    _can_be_met(given, steps, front_end_ps, place)
    crossing = fabric_bytes(model, given.precision, plan)
    lane = cluster.host_types[host_type].lane_bytes_per_second * scenario.fabric.efficiency
    timeout = given.patience.timeout
    origins, ways = _origins(given, cluster, place)
    source, report = _source(given.requests, f"{place}.requests")
    if isinstance(source, ClosedLoop) and given.disaggregated is not None:
        raise ScenarioError(f"{place}.requests.kind: closed with disaggregated; allowed: generated or trace, or replicas that do both")
    if isinstance(source, ClosedLoop) and origins:
        raise ScenarioError(f"{place}.requests.kind: closed with origins; allowed: generated or trace, or no origins")
    if report is not None:
        reports.append(report)
    served = Served(
        name=given.name,
        steps=steps,
        limits=ReplicaLimits(given.token_budget, given.max_running, room.blocks, reserves=given.engine in RESERVING),
        pool=PoolSettings(
            router=Router[given.router.upper().replace("-", "_")],
            most_waiting=given.max_waiting,
            retries=given.retries.most,
            retry_after_ps=given.retries.after * PS_PER_NS,
            first_token_limit_ps=NEVER_PS if timeout is None else timeout * PS_PER_NS,
            cache_block_tokens=source.block_tokens if given.prefix_cache.enabled and not isinstance(source, ClosedLoop) else 0,
            unlimited_cache=given.prefix_cache.unlimited,
            seed=scenario.seed,
            entity=0,
        ),
        source=source,
        first_token_ps=given.objectives.ttft * PS_PER_NS,
        per_token_ps=given.objectives.tpot * PS_PER_NS,
        front_end_ps=front_end_ps,
        patience=Patience(given.patience.cancel_ratio, given.patience.cancel_after / SECOND),
        split=given.disaggregated is not None,
        ways=ways,
    )
    return Service(
        served=served,
        model=given.model,
        engine=given.engine,
        gpus=plan.gpus,
        kv_blocks=room.blocks,
        weight_bytes=weight_bytes(model, given.precision),
        initial=given.replicas,
        scaling=_scaling(given, cluster, plan.gpus, place),
        host_type=host_type,
        level=LEVEL_NAMES.index("domain" if plan.domains == 1 else _pool_level(scenario, cluster)),
        domains=plan.domains,
        fabric_bytes=crossing,
        token_ps=round(crossing / lane * PS_PER_SECOND),
        queue=given.queue,
        tenant=given.tenant,
        priority=given.priority,
        preemptible=given.preemptible,
        cold_start_ns=given.cold_start,
        run_one_in=given.run_one_in,
        prefill=given.disaggregated.prefill_replicas if given.disaggregated is not None else 0,
        prefill_of=max(1, given.replicas),
        kv_bytes=kv_bytes_per_token(model, stack.kv_precision),
        origins=origins,
        weights_from_peers=given.weights_from == "peers",
    )


def _gpu(given: ServiceSettings, cluster: Cluster, place: str) -> tuple[int, GpuType]:
    """The host type that the replicas run on, and its GPU."""
    kinds = [host_type.gpu.name for host_type in cluster.host_types]
    if given.gpu is None:
        if len(set(kinds)) > 1:
            raise ScenarioError(f"{place}.gpu: the cluster has several kinds of GPU; allowed: one of {', '.join(dict.fromkeys(kinds))}")
        return 0, GPUS[kinds[0]]
    if given.gpu not in kinds:
        raise ScenarioError(f"{place}.gpu: the cluster has no {given.gpu!r:.80}; allowed: {', '.join(dict.fromkeys(kinds))}")
    return kinds.index(given.gpu), GPUS[given.gpu]


def _plan(given: ServiceSettings, cluster: Cluster, host_type: int, place: str) -> ServingPlan:
    """How a replica lies: within a scale-up domain, or over whole ones."""
    layers = MODELS[given.model].layers
    if given.pipeline > layers:
        raise ScenarioError(f"{place}.pipeline: {given.pipeline} stages of {layers} layers; allowed: at most one for each layer")
    most = int(np.diff(cluster.level("domain").first_host).max()) * cluster.host_types[host_type].gpus
    try:
        return plan_of(given.tensor, given.attention_data, given.pipeline, most)
    except PlanDoesNotFit as error:
        raise ScenarioError(f"{place}.tensor: {error}") from None


def _can_be_met(given: ServiceSettings, steps: ReplicaSteps, front_end_ps: int, place: str) -> None:
    """Objectives are not below what one step takes."""
    costs = steps.costs()
    first_ps = costs.base_ps + int(costs.table_ps[1]) + costs.running_ps + int(costs.fill_ps(np.array([1]))[0])
    later_ps = costs.decode_base_ps + int(costs.decode_ps[1]) + costs.running_ps
    for name, limit_ns, step_ps, floor_ps in (
        ("ttft", given.objectives.ttft, first_ps, first_ps + front_end_ps),
        ("tpot", given.objectives.tpot, later_ps, later_ps),
    ):
        if limit_ns * PS_PER_NS < floor_ps:
            raise ScenarioError(
                f"{place}.objectives.{name}: {limit_ns / 1e6:g} ms, but one step of {given.model} on {steps.plan.gpus} {steps.gpu.name} "
                f"takes {step_ps / 1e9:.1f} ms; allowed: {floor_ps / 1e9:.1f} ms or more"
            )


def _scaling(given: ServiceSettings, cluster: Cluster, gpus: int, place: str) -> Scaling:
    scaling = given.scaling
    if scaling.metric == "none":
        return Scaling(least=0, most=max(given.replicas, scaling.max or cluster.gpu_count // gpus))
    most = max(1, cluster.gpu_count // gpus) if scaling.max is None else scaling.max
    if not min(scaling.min, most) <= given.replicas <= most:
        raise ScenarioError(f"{place}.replicas: {given.replicas}; allowed: {scaling.min} to {most} (scaling.min and max)")
    latencies = {"ttft": given.objectives.ttft / SECOND, "tpot": given.objectives.tpot / SECOND}
    target = scaling.target if scaling.target is not None else (TARGETS | latencies)[scaling.metric]
    return Scaling(scaling.metric, target, scaling.min, most, scaling.up_cooldown, scaling.down_cooldown, scaling.lead, scaling.idle)


def _origins(given: ServiceSettings, cluster: Cluster, place: str) -> tuple[dict[int, Fraction], Ways]:
    """By site, the part of the requests that enters there; and the ways between the sites."""
    if given.origins is None:
        return {}, ONE_SITE
    for site in given.origins:
        if site not in cluster.site_names:
            allowed = ", ".join(cluster.site_names)
            raise ScenarioError(f"{place}.origins: {site!r:.80} is no site of this cluster; allowed: {allowed}")
    if cluster.islands:
        raise ScenarioError(f"{place}.origins: nothing joins the sites of this cluster; allowed: sites that a WAN joins")
    whole = sum(Fraction(part) for part in given.origins.values())
    origins = {cluster.site_names.index(site): Fraction(part) / whole for site, part in given.origins.items() if part}
    peers = next((peers for peers in cluster.peers if peers.level == "site"), None)
    if peers is None:
        return origins, ONE_SITE
    seconds = WanRoutes(cluster, peers, cluster.links.bytes_per_second).round_trips()
    return origins, Ways(np.rint(seconds * PS_PER_SECOND).astype(np.int64))


def _source(given: RequestSettings, place: str) -> tuple[Source | ClosedLoop, SourceReport | None]:
    """Where the requests come from; a report of what was read from a file."""
    classes = tuple([(one.ratio, one.priority) for one in given.priorities])
    try:
        check_classes(classes)
    except ValueError as error:
        raise ScenarioError(f"{place}.priorities: {error}") from None
    if given.kind == "closed":
        return ClosedLoop(given.concurrency or 1, _lengths(given, place), given.think / SECOND, classes), None
    source, report = _trace(given, place) if given.kind == "trace" else (_generator(given, place), None)
    if isinstance(source, RequestTrace) and classes and source.requests.priority.any():
        raise ScenarioError(f"{place}.priorities: the trace has a column priority; allowed: priorities here, or there")
    return Prioritized(source, classes) if classes else source, report


def _trace(given: RequestSettings, place: str) -> tuple[Source, SourceReport]:
    try:
        return open_request_trace(given.path or "", given.format or "", given.options)
    except TraceError as error:
        raise ScenarioError(f"{place}.path: {error}") from None


def _generator(given: RequestSettings, place: str) -> Source:
    bursts, sessions = given.bursts, given.sessions
    per_second = given.per_second if given.per_day is None else given.per_day / (DAY / SECOND)
    try:
        return Generator(
            GeneratorSettings(
                requests_per_second=per_second or 0.0,
                lengths=_lengths(given, place),
                diurnal_ratio=given.diurnal_ratio,
                peak_hour=given.peak_hour,
                zones=WORLD if given.zones == "world" else ((0.0, 1.0),),
                burst_shape=1.0 / (bursts.cv * bursts.cv) if bursts.cv >= LEAST_CV else 0.0,
                burst_period_seconds=bursts.period / SECOND,
                session_ratio=sessions.ratio,
                session_turns=sessions.turns,
                think_seconds=sessions.think / SECOND,
                system_tokens=sessions.system_tokens,
                context_tokens=given.context_tokens,
            )
        )
    except ValueError as error:
        raise ScenarioError(f"{place}: {error}") from None


def _lengths(given: RequestSettings, place: str) -> Lengths:
    lengths = given.lengths
    try:
        match lengths.name:
            case "lognormal":
                return Lengths(lognormal(lengths.prompt_tokens, lengths.prompt_cv), lognormal(lengths.output_tokens, lengths.output_cv))
            case "constant":
                return Lengths(constant(round(lengths.prompt_tokens)), constant(round(lengths.output_tokens)))
            case "uniform":
                return Lengths(_uniform(lengths.prompt_tokens), _uniform(lengths.output_tokens))
            case name:
                return NAMED_LENGTHS[name]
    except ValueError as error:
        raise ScenarioError(f"{place}.lengths: {error}") from None


def _uniform(mean: float) -> Length:
    """From 8 tenths of the longest to it, as the published sweeps have it, with this mean."""
    longest = round(mean / 0.9)
    return uniform_between(max(1, round(0.8 * longest)), longest)
