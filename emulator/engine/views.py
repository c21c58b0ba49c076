"""What readers see of an engine: job, rack, link and cluster views, made when somebody asks."""

from collections.abc import Iterable

import numpy as np

from emulator.engine.control import ClusterView, Explanation, JobState, JobView, LinkView, QueueView, RackView
from emulator.engine.engine import Engine
from emulator.engine.fault_targets import cable_count
from emulator.engine.moments import Moment, moment_of, slowdown
from emulator.engine.shards import Readings
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.free import Row
from emulator.scheduler.table import State
from emulator.workload.jobs import ANY_TYPE, SECOND, JobKind
from topology.cluster import TIERS, Cluster
from topology.describe import link_name, node_name
from topology.hostlist import fold

#: How the API calls a state. A job known from a trace but not submitted yet is not shown at all.
STATES = {
    State.FUTURE: JobState.PENDING,
    State.PENDING: JobState.PENDING,
    State.RUNNING: JobState.RUNNING,
    State.FINISHED: JobState.FINISHED,
    State.FAILED: JobState.FAILED,
    State.CANCELLED: JobState.CANCELLED,
    State.INFEASIBLE: JobState.INFEASIBLE,
    State.REJECTED: JobState.REJECTED,
}
_WHY_NOT = {State.INFEASIBLE: "no placement on this cluster could ever hold it", State.REJECTED: "the queue was full"}


def job_view(engine: Engine, slot: int, moment: Moment | None = None) -> JobView:
    """One job as of the engine's last cycle, or as it was at ``moment``."""
    table, cluster = engine.table, engine.cluster
    if moment is None:
        moment = moment_of(engine, slot, engine.now_ns)
        moment = moment._replace(reason=reason(engine, slot, moment.state))
    return JobView(
        job_id=table.job_id[slot],
        name=table.names.get(slot, ""),
        queue=table.queues[table.queue[slot]],
        tenant=table.tenants[table.tenant[slot]],
        kind=JobKind(table.kind[slot]).name.lower(),
        state=STATES[moment.state],
        reason=_WHY_NOT.get(moment.state, moment.reason),
        gpus=table.gpus[slot],
        milli_gpus=table.milli_gpus[slot],
        priority=table.priority[slot],
        submit_seconds=table.submit_ns[slot] / SECOND,
        start_seconds=moment.start_ns / SECOND if moment.start_ns >= 0 else None,
        end_seconds=moment.end_ns / SECOND if moment.end_ns >= 0 else None,
        progress_ratio=moment.progress_ratio,
        preemptions=moment.preemptions,
        restarts=moment.restarts,
        network_slowdown_ratio=moment.network_slowdown_ratio,
        placement_level=placement_level(cluster, moment.rows),
        hosts=hostlist(cluster, engine.scheduler.hosts_of(moment.rows)),
        gpu_type=cluster.host_types[moment.host_type].gpu.name if moment.host_type != ANY_TYPE else "",
        speed_ratio=moment.speed_ratio,
    )


def reason(engine: Engine, slot: int, state: State) -> str:
    """Why it is pending, or how it ended."""
    if state in _WHY_NOT:
        return _WHY_NOT[state]
    if state == State.PENDING and engine.scheduler.waits(slot):
        return explain_pending(engine.scheduler, slot).text
    return engine.reasons.get(slot, "") if state in (State.FAILED, State.CANCELLED) else ""


def explanation(engine: Engine, slot: int) -> Explanation:
    """A pending job's reason with its numbers, or a sentence on how another one stands."""
    table = engine.table
    state = table.state[slot]
    if state == State.PENDING and engine.scheduler.waits(slot):
        why = explain_pending(engine.scheduler, slot)
        return Explanation(table.job_id[slot], STATES[state], why.kind, why.text, why.numbers, why.position)
    text = reason(engine, slot, state) or {
        State.FUTURE: "is submitted in the next cycle",
        State.RUNNING: f"runs on {hostlist(engine.cluster, engine.scheduler.hosts_of(table.rows[slot]))}{_held_back(engine, slot)}",
        State.FINISHED: "finished",
        State.CANCELLED: "was cancelled",
    }.get(state, STATES[state].value)
    numbers = (
        {"speed_ratio": table.speed[slot], "network_slowdown_ratio": slowdown(engine, slot, engine.now_ns)}
        if state == State.RUNNING
        else {}
    )
    return Explanation(table.job_id[slot], STATES[state], "none", text, numbers, -1)


def _held_back(engine: Engine, slot: int) -> str:
    """What keeps a running job from full speed, as the end of a sentence."""
    speed = engine.table.speed[slot]
    if speed == 1.0:
        return ""
    if speed == 0.0:
        dead = engine.network.dead_link(slot)
        cause = f": link {link_name(engine.cluster, dead)} is down" if dead >= 0 else ""
        return f", where it stands still{cause}; it gives up after {engine.settings.stall_timeout_ns / SECOND:g} s of that"
    link, ratio = engine.network.fullest_link(slot)
    asked = f": of link {link_name(engine.cluster, link)} {ratio:.2f} times what it has is asked" if ratio > 1.0 else ""
    return f" at {speed:.1%} of its speed on an idle fabric{asked}"


def placement_level(cluster: Cluster, rows: list[Row]) -> str:
    """The innermost level that holds the whole placement: gpu, host, domain, rack, leaf, pod, ...; "" without a placement."""
    if not rows:
        return ""
    first = min(rows)
    last = max(rows)
    low = int(cluster.block.first_host[first[0]]) + (first[1] & -first[1]).bit_length() - 1
    high = int(cluster.block.first_host[last[0]]) + max(row[1] for row in rows if row[0] == last[0]).bit_length() - 1
    low = min(low, int(cluster.block.first_host[first[0]]) + min((row[1] & -row[1]).bit_length() for row in rows if row[0] == first[0]) - 1)
    if low == high:
        return "gpu" if sum(row[2].bit_count() for row in rows) == 1 else "host"
    ends = np.array((low, high), dtype=np.int32)  # of the offsets' own type, or numpy would convert those, one per host, at each call
    for level in cluster.levels[1:]:
        unit = level.first_host.searchsorted(ends, side="right")
        if unit[0] == unit[1]:
            return level.name
    return "cluster"


def hostlist(cluster: Cluster, hosts: Iterable[int]) -> str:
    """Names of hosts in brackets: ``r[00012-00014]-h[00-07],r00015-h03``, or as the graph names them."""
    numbers = np.array(sorted(hosts), dtype=np.int64)
    if not len(numbers):
        return ""
    if cluster.host_names is not None:
        return fold([cluster.host_names[host] for host in numbers.tolist()])
    first = cluster.level("rack").first_host
    racks = np.searchsorted(first, numbers, side="right") - 1
    places = numbers - first[racks]
    by_rack = {int(rack): tuple(places[racks == rack].tolist()) for rack in np.unique(racks)}
    runs: list[tuple[int, int, tuple[int, ...]]] = []
    for rack, inside in by_rack.items():
        if runs and runs[-1][1] == rack - 1 and runs[-1][2] == inside:
            runs[-1] = (runs[-1][0], rack, inside)
        else:
            runs.append((rack, rack, inside))
    return ",".join(f"r{_bracket([(start, end)], 5)}-h{_bracket(_ranges(inside), 2)}" for start, end, inside in runs)


def _ranges(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _bracket(ranges: list[tuple[int, int]], width: int) -> str:
    parts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in ranges]
    return parts[0] if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else f"[{','.join(parts)}]"


def queue_views(engine: Engine) -> list[QueueView]:
    """All queues, in order of their first job."""
    return [
        QueueView(name, counts.pending_jobs, counts.pending_gpus, counts.running_jobs, counts.running_gpus)
        for name, counts in zip(engine.table.queues, engine.scheduler.counts, strict=True)
    ]


def gpus_by_state(engine: Engine) -> dict[str, int]:
    """Every GPU in one state: planned where its rack is not in service yet, down where its host is broken, cordoned where it may not be
    used, else busy or idle."""
    scheduler = engine.scheduler
    busy = sum(counts.running_gpus for counts in scheduler.counts) - engine.runs.shared_gpu_surplus()
    down, planned = scheduler.gpus_of(scheduler.down_hosts), engine.planned_gpus
    return _states(engine.cluster.gpu_count, busy, scheduler.free_gpus()[0], down, planned)


def _states(gpus: int, busy: int, idle: int, down: int, planned: int) -> dict[str, int]:
    return {"busy": busy, "idle": idle, "down": down, "cordoned": gpus - busy - idle - down - planned, "planned": planned}


def gpus_by_model(engine: Engine) -> dict[tuple[str, str], int]:
    """As ``gpus_by_state``, keyed by (state, GPU model)."""
    scheduler = engine.scheduler
    if len(scheduler.partitions) == 1:
        return {(state, scheduler.partitions[0].gpu_model): count for state, count in gpus_by_state(engine).items()}
    found: dict[tuple[str, str], int] = {}
    for partition in scheduler.partitions:
        down, planned = (
            scheduler.gpus_of(host for host in hosts if scheduler.partition_of_host(host) is partition)
            for hosts in (scheduler.down_hosts, scheduler.planned_hosts)
        )
        busy = engine.runs.held_gpus(partition.running)
        for state, count in _states(partition.gpus, busy, partition.free.free_gpus, down, planned).items():
            key = state, partition.gpu_model
            found[key] = found.get(key, 0) + count
    return found


def gpu_models(cluster: Cluster) -> str:
    """The models of its GPUs, those of several types joined by a plus sign in order of the types: ``H100+GB200``."""
    return "+".join(dict.fromkeys(host_type.gpu.name for host_type in cluster.host_types))


def cluster_view(engine: Engine, power_cap_watts: float) -> ClusterView:
    cluster, counts, gpus = engine.cluster, engine.cluster.counts, gpus_by_state(engine)
    return ClusterView(
        name=cluster.name,
        gpu_model=gpu_models(cluster),
        gpus=cluster.gpu_count,
        gpus_busy=gpus["busy"],
        gpus_down=gpus["down"],
        gpus_cordoned=gpus["cordoned"],
        gpus_planned=gpus["planned"],
        racks_in_service=len(engine.racks),
        hosts=cluster.host_count,
        racks=counts.racks,
        domains=counts.domains,
        links=cable_count(cluster),
        leaf_switches=counts.leaf,
        spine_switches=counts.spine,
        core_switches=counts.core,
        inter_building_switches=counts.inter_building,
        wan_switches=counts.wan,
        power_watts=engine.meter.power_milliwatts / 1e3,
        power_cap_watts=power_cap_watts,
        sites=cluster.site_names,
    )


def rack_views(engine: Engine, readings: Readings, after: int, limit: int) -> list[RackView]:
    """Racks with a number above ``after``."""
    cluster = engine.cluster
    rack = cluster.level("rack")
    site = cluster.level("site").host_unit
    power = np.concatenate([shard.power_milliwatts for shard in readings.racks])
    busy = np.concatenate([shard.gpus_busy for shard in readings.racks])
    down = np.concatenate([shard.gpus_down for shard in readings.racks])
    cordoned = engine.scheduler.cordoned_hosts
    views = []
    for number in range(after + 1, min(after + 1 + limit, len(rack))):
        start, end = int(rack.first_host[number]), int(rack.first_host[number + 1])
        views.append(
            RackView(
                rack=number,
                name=f"r{number:05d}",
                site=cluster.site_names[min(int(site[start]), len(cluster.site_names) - 1)],
                gpus=engine.scheduler.gpus_of(range(start, end)),
                gpus_busy=int(busy[number]),
                gpus_down=int(down[number]),
                cordoned=any(host in cordoned for host in range(start, end)),
                gpu_model=cluster.host_types[engine.scheduler.block_type[engine.scheduler.host_block[start]]].gpu.name,
                in_service=start not in engine.scheduler.planned_hosts,
                power_watts=float(power[number]) / 1e3,
            )
        )
    return views


def link_views(engine: Engine, after: int, limit: int, tier: str, *, unhealthy: bool = False, busiest: bool = False) -> list[LinkView]:
    """Links with a number above ``after``, of one tier where that is named. The load of a link is the larger of its two directions.

    ``unhealthy``: only those that have not all of their capacity. ``busiest``: the fullest first, from place ``after`` + 1 in that order.
    """
    links, table = engine.cluster.links, engine.read_links()
    load = table.load_bytes_per_second.max(axis=1) / links.bytes_per_second
    wanted = np.arange(len(links))
    if tier:
        wanted = wanted[links.tier[wanted] == TIERS.index(tier)]
    if unhealthy:
        wanted = wanted[table.healthy_ratio[wanted] < 1.0]
    wanted = wanted[np.argsort(-load[wanted], kind="stable")][after + 1 :] if busiest else wanted[wanted > after]
    return [
        LinkView(
            link=number,
            name=link_name(engine.cluster, number),
            tier=TIERS[links.tier[number]],
            lower=node_name(engine.cluster, int(links.u[number])),
            upper=node_name(engine.cluster, int(links.v[number])),
            lanes=int(links.lanes[number]),
            bytes_per_second=float(links.bytes_per_second[number]),
            utilization_ratio=float(load[number]),
            healthy_ratio=float(table.healthy_ratio[number]),
            carried_up_bytes=float(table.carried_bytes[number, 0]),
            carried_down_bytes=float(table.carried_bytes[number, 1]),
            peak_demand_ratio=float(table.peak_demand_bytes_per_second[number] / links.bytes_per_second[number]),
            downs=int(table.downs[number]),
            down_seconds=float(table.down_seconds[number]),
        )
        for number in wanted[:limit].tolist()
    ]
