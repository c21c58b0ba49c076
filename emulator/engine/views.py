"""Views of an engine's jobs, queues and cluster, made on request. Those of the hardware are in `engine.hardware`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, good_ns
from emulator.engine.hardware_control import ClusterView
from emulator.engine.job_control import Explanation, JobState, JobView
from emulator.engine.moments import Moment, moment_of, slowdown
from emulator.engine.power_settings import FACILITY
from emulator.engine.queue_control import QueueView, QuotaView, SitesView, SiteView
from emulator.jobs.life import Phase
from emulator.scheduler import deadlines
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.explain import explain_pending
from emulator.scheduler.free import Row
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.outlook import outlook, told
from emulator.scheduler.quota import Standing
from emulator.scheduler.table import State
from emulator.workload.jobs import ANY_TYPE, LEVEL_NAMES, SECOND, JobKind
from topology.cluster import Cluster
from topology.describe import hostlist, link_name

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


#: Kinds of reasons that running jobs which end can put an end to.
_OF_HOSTS = frozenset({"capacity", "fragmentation", "topology", "reservation"})


def job_view(engine: Engine, slot: int) -> JobView:
    """One job as of the engine's last cycle. Whoever calls has the turn at the engine."""
    moment = moment_of(engine, slot, engine.now_ns)
    return view_of(engine, moment._replace(reason=reason(engine, slot, moment.state) or moment.reason))


def view_of(engine: Engine, moment: Moment) -> JobView:
    """One job as it was then. Reads only what never changes, so it needs no turn at the engine."""
    cluster = engine.cluster
    return JobView(
        job_id=moment.job_id,
        name=moment.name,
        queue=moment.queue,
        tenant=moment.tenant,
        kind=JobKind(moment.kind).name.lower(),
        state=STATES[moment.state],
        reason=moment.reason or _refusal(engine, moment.state, moment),
        gpus=moment.gpus,
        milli_gpus=moment.milli_gpus,
        priority=moment.priority,
        submit_seconds=moment.submit_ns / SECOND,
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
        slice_gpus=moment.slice_gpus,
        slice_level=LEVEL_NAMES[moment.slice_level] if moment.slice_gpus else "",
        deadline_seconds=moment.deadline_ns / SECOND if moment.deadline_ns != NO_DEADLINE else None,
        min_gpus=moment.min_gpus,
        held_gpus=moment.size_gpus if moment.state == State.RUNNING else 0,
        reservation=moment.reservation,
        phase=moment.phase,
        phase_seconds={phase: time_ns / SECOND for phase, time_ns in zip(HELD, moment.time_ns, strict=True) if time_ns},
        goodput_ratio=good_ns(moment.time_ns) / held_ns if (held_ns := sum(moment.time_ns)) else 0.0,
        energy_joules=moment.energy_joules,
        tokens=moment.tokens,
        joules_per_token=moment.energy_joules / moment.tokens if moment.tokens else 0.0,
    )


def reason(engine: Engine, slot: int, state: State) -> str:
    """Why a job is pending, or how it ended."""
    if state == State.PENDING and engine.scheduler.waits(slot):
        stopped = engine.chronicle.reasons.get(slot, "")
        return explain_pending(engine.scheduler, slot).text + (f" (last stop: {stopped})" if stopped else "")
    if state in (State.FAILED, State.CANCELLED) or (state == State.INFEASIBLE and slot in engine.chronicle.reasons):
        return engine.chronicle.reasons.get(slot, "")
    if state not in (State.REJECTED, State.INFEASIBLE):
        return ""
    return engine.chronicle.reasons.get(slot) or _refusal(engine, state, moment_of(engine, slot, engine.now_ns))


def _refusal(engine: Engine, state: State, job: Moment) -> str:
    """Why a job never came into the queue; "" for any other."""
    if state == State.REJECTED:
        limited = engine.scheduler.accounts is not None and engine.scheduler.accounts.limits.any()
        return "the queue was full" + (", or its tenant had as many pending jobs as it may" if limited else "")
    if state != State.INFEASIBLE:
        return ""
    gpus = job.min_gpus or job.gpus
    scheduler, asked = engine.scheduler, (gpus, job.require_level, job.types)
    if job.slice_gpus and scheduler.feasibility.could_ever_fit(*asked):
        return scheduler.limits.never_sliced(gpus, job.slice_gpus, job.slice_level, job.types)
    return scheduler.limits.never_fits(*asked)[0]


def explanation(engine: Engine, slot: int) -> Explanation:
    """Why a pending job waits, with the numbers, or a sentence on the state of any other job; of both the deadline, while it is to come."""
    found, deadline_ns = _explanation(engine, slot), engine.table.deadline_ns.get(slot, NO_DEADLINE)
    if deadline_ns == NO_DEADLINE or found.state not in (JobState.PENDING, JobState.RUNNING):
        return found
    numbers = {**found.numbers, "deadline_seconds": deadline_ns / SECOND}
    return replace(found, text=f"{found.text}; {deadlines.told(deadline_ns, engine.now_ns)}", numbers=numbers)


def _explanation(engine: Engine, slot: int) -> Explanation:
    table = engine.table
    state = table.state[slot]
    if state == State.PENDING and engine.scheduler.waits(slot):
        return _why_pending(engine, slot)
    text = reason(engine, slot, state) or {
        State.FUTURE: "is submitted in the next cycle",
        State.RUNNING: f"runs on {hostlist(engine.cluster, engine.scheduler.hosts_of(table.rows[slot]))}{_held_back(engine, slot)}"
        + (_resized(engine, slot) if slot in table.sizes else ""),
        State.FINISHED: "finished",
        State.CANCELLED: "was cancelled",
    }.get(state, STATES[state].value)
    numbers = (
        {"speed_ratio": table.lives.speed[slot], "network_slowdown_ratio": slowdown(engine, slot, engine.now_ns)}
        if state == State.RUNNING
        else {}
    )
    return Explanation(table.job_id[slot], STATES[state], "none", text, numbers, -1)


def _why_pending(engine: Engine, slot: int) -> Explanation:
    why = explain_pending(engine.scheduler, slot)
    remedy, numbers = why.remedy, dict(why.numbers)
    if why.kind in _OF_HOSTS and (found := outlook(engine.scheduler, slot, engine.now_ns)) is not None:
        text, number = told(found, why.position)
        remedy, numbers = f"{remedy}; {text}", numbers | number
    last_stop = engine.chronicle.reasons.get(slot, "")
    return Explanation(engine.table.job_id[slot], JobState.PENDING, why.kind, why.text, numbers, why.position, remedy, last_stop)


def _resized(engine: Engine, slot: int) -> str:
    """With what part of the GPUs that it asks for at most the job runs, and why they were changed, as the end of a sentence."""
    why = engine.chronicle.reasons.get(slot, "") if engine.table.start_ns[slot] != engine.table.first_start_ns[slot] else ""
    return f"; with {engine.table.size_gpus[slot]} of {engine.table.gpus[slot]} GPUs" + (f" ({why})" if why else "")


def _held_back(engine: Engine, slot: int) -> str:
    """What keeps a running job from full speed, as the end of a sentence."""
    lives = engine.table.lives
    if (phase := lives.phase(slot)) == Phase.RESTARTING and slot in lives.out:
        return f"; to be restarted there, it waits for a host to be repaired: {engine.chronicle.reasons[slot]}"
    if phase in (Phase.STARTING, Phase.RESTARTING):
        told = f"; it {phase.name.lower()[:-3]}s until {(lives.since_ns[slot] + lives.ahead_ns[slot]) / SECOND:,.15g} s"
        why = engine.chronicle.reasons.get(slot, "") if phase == Phase.RESTARTING and slot not in engine.table.sizes else ""
        return told + (f" ({why})" if why else "")
    if phase == Phase.DRAINING:
        until_ns = engine.draining.until_ns(slot)
        return f"; it saves what it did, and stops at {until_ns / SECOND:,.15g} s: {engine.chronicle.reasons[slot]}"
    if phase == Phase.DETECTING:
        return f"; it hangs, which nobody has noticed yet: {engine.chronicle.reasons[slot]}"
    if phase == Phase.PAUSED:
        return f"; it is paused for want of power: {engine.power.told()}"
    clock = f"; its {engine.power.told()} {engine.power.why()}" if slot in lives.full_clock_speed else ""
    speed = lives.network_speed(slot)
    if speed == 1.0:
        return clock
    if speed == 0.0:
        dead = engine.network.dead_link(slot)
        cause = f": trunk {link_name(engine.cluster, dead)} is down" if dead >= 0 else ""
        return f"; it stands still{cause}, and fails if it does so for {engine.settings.stall_timeout_ns / SECOND:g} s"
    link, ratio = engine.network.fullest_link(slot)
    asked = f": its jobs ask trunk {link_name(engine.cluster, link)} for {ratio:.2f} times its capacity" if ratio > 1.0 else ""
    return f" at {speed:.1%} of its speed on an idle fabric{asked}{clock}"


def placement_level(cluster: Cluster, rows: list[Row]) -> str:
    """The innermost level that holds the whole placement: gpu, host, domain, rack, leaf, pod, ...; "" without a placement."""
    if not rows:
        return ""
    if len(rows) == 1 and rows[0][1].bit_count() == 1:
        return "gpu" if rows[0][2].bit_count() == 1 else "host"
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


def queue_views(engine: Engine) -> list[QueueView]:
    """All queues, in order of their first job."""
    scheduler = engine.scheduler
    quotas = None if scheduler.accounts is None else scheduler.accounts.quotas
    return [
        QueueView(
            name,
            counts.pending_jobs,
            counts.pending_gpus,
            counts.running_jobs,
            counts.running_gpus,
            cohort="" if quotas is None else quotas.cohort(number),
            held_jobs=scheduler.held_jobs(number),
            quotas=() if quotas is None else tuple(map(_quota_view, quotas.standings(number))),
        )
        for number, (name, counts) in enumerate(zip(engine.table.queues, scheduler.counts, strict=True))
    ]


def _quota_view(standing: Standing) -> QuotaView:
    amounts = standing.nominal, standing.used, standing.borrowed, standing.lent, standing.available
    limits = (None if limit is None else limit / 1000 for limit in (standing.borrowing_limit, standing.lending_limit))
    return QuotaView(standing.flavor, *(amount / 1000 for amount in amounts), *limits)


def sites_view(engine: Engine) -> SitesView | None:
    """None where jobs are not dispatched to sites."""
    scheduler, table, now_ns = engine.scheduler, engine.table, max(1, engine.now_ns)
    dispatcher = scheduler.dispatcher
    if dispatcher is None:
        return None
    dispatcher.book(engine.now_ns)
    waiting: list[list[int]] = [[] for _ in dispatcher.sites.names]
    for slot in dispatcher.since_ns:
        waiting[dispatcher.site_of(slot)].append(table.gpus[slot])
    sites = []
    for number, (name, counts) in enumerate(zip(dispatcher.sites.names, dispatcher.counts, strict=True)):
        own = [partition for partition in scheduler.partitions if partition.site == number]
        gpus = sum(partition.gpus for partition in own)
        sites.append(
            SiteView(
                name,
                gpus,
                sum(partition.free.free_gpus for partition in own),
                len(waiting[number]),
                sum(waiting[number]),
                counts.dispatched,
                counts.moved_away,
                dispatcher.datasets.received_bytes[number],
                counts.demand.milli_gpus / 1000 / gpus,
                counts.demand.time / 1000 / now_ns / gpus,
                counts.demand.high_time / 1000 / now_ns / gpus,
            )
        )
    queued, total = dispatcher.undispatched, engine.cluster.gpu_count
    return SitesView(tuple(sites), len(dispatcher), queued.milli_gpus / 1000, queued.time / 1000 / now_ns / total)


def gpus_by_state(engine: Engine) -> dict[str, int]:
    """Every GPU in one state: planned where its rack is not in service yet, down where its host is broken, busy where a job holds it;
    of the others maintenance or reserved where its host is kept for nobody or for some, cordoned where it may not be used, else idle."""
    scheduler, ledger = engine.scheduler, engine.scheduler.ledger
    busy = sum(counts.running_gpus for counts in scheduler.counts) - engine.runs.shared_gpu_surplus()
    down, planned = ledger.gpus_of(ledger.withheld(Withheld.DOWN)) - engine.runs.broken_hosts.gpus(), engine.planned_gpus
    windows = _in_windows(engine, [partition.number for partition in scheduler.partitions])
    return _states(engine.cluster.gpu_count, busy, scheduler.free_gpus()[0], down, planned, windows)


def _states(gpus: int, busy: int, idle: int, down: int, planned: int, windows: dict[str, int]) -> dict[str, int]:
    cordoned = gpus - busy - idle - down - planned - sum(windows.values())
    return {"busy": busy, "idle": idle, "down": down, "cordoned": cordoned, "planned": planned} | windows


def _in_windows(engine: Engine, numbers: Sequence[int]) -> dict[str, int]:
    """GPUs that no job holds on hosts of the partitions ``numbers`` that are reserved now, and neither down nor planned."""
    ledger = engine.scheduler.ledger
    out = ledger.withheld(Withheld.DOWN, Withheld.PLANNED)
    counted = dict.fromkeys((Withheld.MAINTENANCE.value, Withheld.RESERVED.value), 0)
    for reason in () if engine.scheduler.reserved.calendar is None else (Withheld.MAINTENANCE, Withheld.RESERVED):
        for host in ledger.withheld(reason):
            partition = ledger.partition_of_host(host)
            if host not in out and partition.number in numbers:
                counted[reason] += partition.free.held_by_nobody(host)
    return counted


def gpus_by_model(engine: Engine) -> dict[tuple[str, str], int]:
    """As ``gpus_by_state``, keyed by (state, GPU model)."""
    scheduler, ledger = engine.scheduler, engine.scheduler.ledger
    if len(scheduler.partitions) == 1:
        return {(state, scheduler.partitions[0].gpu_model): count for state, count in gpus_by_state(engine).items()}
    found: dict[tuple[str, str], int] = {}
    for partition in scheduler.partitions:
        down, planned = (
            ledger.gpus_of(host for host in ledger.withheld(reason) if ledger.partition_of_host(host) is partition)
            for reason in (Withheld.DOWN, Withheld.PLANNED)
        )
        down -= engine.runs.broken_hosts.gpus(partition.number)
        busy = engine.runs.held_gpus(partition.running)
        windows = _in_windows(engine, [partition.number])
        for state, count in _states(partition.gpus, busy, partition.free.free_gpus, down, planned, windows).items():
            key = state, partition.gpu_model
            found[key] = found.get(key, 0) + count
    return found


def gpu_models(cluster: Cluster) -> str:
    """The models of its GPUs, those of several types joined by a plus sign in order of the types: ``H100+GB200``."""
    return "+".join(dict.fromkeys(host_type.gpu.name for host_type in cluster.host_types))


def cluster_view(engine: Engine) -> ClusterView:
    """The cluster at the last finished cycle."""
    cluster, counts, gpus = engine.cluster, engine.cluster.counts, gpus_by_state(engine)
    return ClusterView(
        name=cluster.name,
        gpu_model=gpu_models(cluster),
        gpus=cluster.gpu_count,
        gpus_busy=gpus["busy"],
        gpus_down=gpus["down"],
        gpus_cordoned=gpus["cordoned"],
        gpus_planned=gpus["planned"],
        gpus_reserved=gpus["maintenance"] + gpus["reserved"],
        racks_in_service=len(engine.racks),
        hosts=cluster.host_count,
        racks=counts.racks,
        domains=counts.domains,
        links=cluster.links.cables,
        trunks=len(cluster.links),
        leaf_switches=counts.leaf,
        spine_switches=counts.spine,
        core_switches=counts.core,
        inter_building_switches=counts.inter_building,
        wan_switches=counts.wan,
        power_watts=engine.meter.power_milliwatts / 1e3,
        switch_power_watts=engine.meter.switches_milliwatts / 1e3,
        power_cap_watts=engine.power.caps.get(FACILITY, 0) / 1e3,
        sites=cluster.site_names,
    )
