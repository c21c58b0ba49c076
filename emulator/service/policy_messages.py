"""Messages of ``PolicyService`` from what the scheduler tells a policy outside, and its actions from the answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emulator.scheduler.calendar import HostReservation
from emulator.scheduler.deadlines import NO_DEADLINE
from emulator.scheduler.elastic import Elastic
from emulator.scheduler.free import Row
from emulator.scheduler.outside import Gone, View
from emulator.scheduler.outside_actions import Action, Decisions, Hold, Preempt, Resize, Start
from emulator.scheduler.ranges import HostRange, ranges_of
from emulator.scheduler.settings import SchedulerSettings
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.v1 import job_pb2, policy_service_pb2
from emulator.workload.jobs import LEVEL_NAMES
from topology.cluster import Cluster

PROTOCOL_VERSION = 1
#: Jobs in one message at most: gRPC programs take 4 MiB unless they say otherwise.
JOBS_AT_ONCE = 16_384

_STATES = {
    None: job_pb2.JOB_STATE_UNSPECIFIED,
    State.PENDING: job_pb2.JOB_STATE_PENDING,
    State.FINISHED: job_pb2.JOB_STATE_FINISHED,
    State.FAILED: job_pb2.JOB_STATE_FAILED,
    State.CANCELLED: job_pb2.JOB_STATE_CANCELLED,
}
#: By ``workload.jobs.JobKind``.
_KINDS = (job_pb2.JOB_KIND_GANG, job_pb2.JOB_KIND_TRAINING, job_pb2.JOB_KIND_SERVICE)
#: Columns of waiting jobs, and those of the table that they are.
_COLUMNS = {
    "job_id": "job_id", "gpus": "gpus", "milli_gpus": "milli_gpus",
    "estimate_nanoseconds": "estimate_ns", "submit_nanoseconds": "submit_ns",
    "priority": "priority", "queue": "queue", "tenant": "tenant", "require_level": "require_level", "prefer_level": "prefer_level",
    "preemptible": "preemptible", "slice_gpus": "slice_gpus", "slice_level": "slice_level",
}  # fmt: skip


def opening(
    cluster: Cluster, scheduler: SchedulerSettings, *, scenario: str, seed: int, cycle_ns: int, options: Mapping[str, str]
) -> policy_service_pb2.PlanRequest:
    """The first message of a run."""
    return policy_service_pb2.PlanRequest(
        opening=policy_service_pb2.Opening(
            protocol_version=PROTOCOL_VERSION,
            scenario=scenario,
            seed=seed,
            cycle_nanoseconds=cycle_ns,
            options=options,
            host_types=[
                policy_service_pb2.PolicyHostType(
                    name=one.name,
                    gpu_model=one.gpu.name,
                    gpus=one.gpus,
                    domain_hosts=one.domain_hosts,
                    idle_watts=one.idle_watts,
                    peak_watts=one.peak_watts,
                )
                for one in cluster.host_types
            ],
            hosts=cluster.host_count,
            block_first_host=cluster.block.first_host.tolist(),
            block_host_type=cluster.block_type.tolist(),
            levels=[policy_service_pb2.PolicyLevel(name=level.name, first_host=level.first_host.tolist()) for level in cluster.levels],
            level_names=LEVEL_NAMES,
            preemption=scheduler.preemption,
            preempt_after_nanoseconds=scheduler.preempt_after_ns,
            preempt_interval_nanoseconds=scheduler.preempt_interval_ns,
            elastic=scheduler.elastic == Elastic.ALWAYS,
            elastic_interval_nanoseconds=scheduler.elastic_interval_ns,
            sites=() if scheduler.sites is None else scheduler.sites.names,
        )
    )


class CycleMessages:
    """Makes the messages of a run's cycles. It knows which names of queues and tenants, and which choices of host types, have been told.

    ``first_host`` is that of every block.
    """

    def __init__(self, first_host: Sequence[int]) -> None:
        self._first_host = first_host
        self._queues = self._tenants = 0
        self._choices: dict[tuple[tuple[int, ...], tuple[float, ...]], int] = {}  # their numbers
        self._columns: list[tuple[str, list[Any]]] = []  # of waiting jobs; of the one table that the views of a run are of

    def of(self, view: View, sequence: int) -> Iterator[policy_service_pb2.PlanRequest]:
        """The view as messages; all but the last one say that there is more."""
        waiting = view.waiting
        request = policy_service_pb2.PlanRequest()
        cycle = request.cycle
        cycle.sequence, cycle.now_nanoseconds = sequence, view.now_ns
        for refusal in view.refused:
            cycle.refused.add(action=refusal.place, job_id=refusal.job_id, rule=refusal.rule, text=refusal.text)
        for placed in view.started:
            self._tell_place(cycle.started.add(), *placed)
        if view.left:
            left = cycle.left
            left.job_id.extend([job_id for job_id, _, _ in view.left])
            left.at_nanoseconds.extend([at_ns for _, at_ns, _ in view.left])
            left.state.extend([_STATES[state] for _, _, state in view.left])
        if view.withdrawn:
            _withdraw(cycle.withdrawn, view)
        if view.offered:
            _extend(cycle.offered, view.offered)
        cycle.free_gpus.extend(view.free_gpus)
        cycle.site_free_gpus.extend(view.site_free_gpus)
        for reservation in view.reservations:
            _tell_reservation(cycle.reservations.add(), reservation)
        cycle.ended_reservations.extend(view.ended)
        self._tell_waiting(cycle, view, waiting[:JOBS_AT_ONCE])
        parts = [(self._tell_waiting, waiting, start) for start in range(JOBS_AT_ONCE, len(waiting), JOBS_AT_ONCE)]
        parts += [(self._tell_running, view.running, start) for start in range(0, len(view.running), JOBS_AT_ONCE)]
        for tell, slots, start in parts:
            cycle.more = True
            yield request
            request = policy_service_pb2.PlanRequest()
            cycle = request.cycle
            cycle.sequence, cycle.now_nanoseconds = sequence, view.now_ns
            cycle.free_gpus.extend(view.free_gpus)
            cycle.site_free_gpus.extend(view.site_free_gpus)
            tell(cycle, view, slots[start : start + JOBS_AT_ONCE])
        yield request

    def _tell_place(self, told: policy_service_pb2.StartedJob, job_id: int, start_ns: int, rows: Sequence[Row]) -> None:
        told.job_id, told.start_nanoseconds = job_id, start_ns
        to = told.placement
        to.first_host[:], to.host_count[:], to.gpu_mask[:] = zip(*ranges_of(self._first_host, rows), strict=True)

    def _tell_waiting(self, cycle: policy_service_pb2.Cycle, view: View, slots: Sequence[int]) -> None:
        self._tell_names(cycle, view.table)
        if slots:
            self._fill(cycle, cycle.waiting, view, slots)

    def _tell_running(self, cycle: policy_service_pb2.Cycle, view: View, slots: Sequence[int]) -> None:
        table = view.table
        jobs = cycle.running.jobs
        self._fill(cycle, jobs, view, slots)
        for place, slot in enumerate(slots):
            if slot in table.paces:  # the table has it at the pace of the hosts that the job runs on
                jobs.estimate_nanoseconds[place] = table.paces[slot].estimate_ns
            self._tell_place(cycle.running.placed.add(), table.job_id[slot], table.start_ns[slot], table.rows[slot])

    def _tell_names(self, cycle: policy_service_pb2.Cycle, table: JobTable) -> None:
        if len(table.queues) > self._queues:
            cycle.queues.extend(table.queues[self._queues :])
            self._queues = len(table.queues)
        if len(table.tenants) > self._tenants:
            cycle.tenants.extend(table.tenants[self._tenants :])
            self._tenants = len(table.tenants)

    def _fill(self, cycle: policy_service_pb2.Cycle, jobs: policy_service_pb2.WaitingJobs, view: View, slots: Sequence[int]) -> None:
        table = view.table
        if not self._columns:
            self._columns = [(name, getattr(table, source)) for name, source in _COLUMNS.items()]
        for name, column in self._columns:
            getattr(jobs, name).extend([column[slot] for slot in slots])
        jobs.min_gpus.extend([table.least_gpus(slot) if slot in table.sizes else 0 for slot in slots])
        for place, slot in enumerate(slots) if table.sizes else ():
            if slot in table.sizes:  # the table has it with the size that the job has
                jobs.estimate_nanoseconds[place] = table.paces[slot].estimate_ns
        jobs.choice.extend([self._choice(cycle, table, slot) for slot in slots])
        if view.site_of:
            jobs.site.extend([view.site_of[table.partitions[slot][0]] for slot in slots])
        jobs.kind.extend([_KINDS[table.kind[slot]] for slot in slots])
        if table.deadline_ns and any(slot in table.deadline_ns for slot in slots):
            jobs.deadline_nanoseconds.extend([table.deadline_ns.get(slot, NO_DEADLINE) for slot in slots])

    def _choice(self, cycle: policy_service_pb2.Cycle, table: JobTable, slot: int) -> int:
        """The number of the job's choice, which the cycle tells of where it is new."""
        types, paces = table.types[slot], table.paces.get(slot)
        choice = types, () if paces is None or not paces.by_type else tuple([paces.by_type.get(number, 1.0) for number in types])
        number = self._choices.get(choice)
        if number is None:
            number = self._choices[choice] = len(self._choices)
            cycle.choices.add(host_type=types, pace=choice[1] or [1.0] * len(types))
        return number


def _extend(ranges: policy_service_pb2.HostRanges, hosts: Sequence[int]) -> None:
    for first, count in _runs(hosts):
        ranges.first_host.append(first)
        ranges.host_count.append(count)


def _withdraw(ranges: policy_service_pb2.HostRanges, view: View) -> None:
    if not view.kept:
        _extend(ranges, view.withdrawn)
        return
    for kept in (False, True):
        _extend(ranges, [host for host in view.withdrawn if (host in view.kept) is kept])
        ranges.reserved.extend([kept] * (len(ranges.first_host) - len(ranges.reserved)))


def _tell_reservation(told: policy_service_pb2.PolicyReservation, reservation: HostReservation) -> None:
    told.name, told.maintenance, told.times = reservation.name, reservation.maintenance, reservation.times
    _extend(told.hosts, reservation.hosts)
    told.begin_nanoseconds, told.duration_nanoseconds = reservation.begin_ns, reservation.duration_ns
    told.every_nanoseconds = reservation.every_ns
    told.queues.extend(sorted(reservation.queues))
    told.tenants.extend(sorted(reservation.tenants))


def _runs(hosts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and length of every run of consecutive numbers; ``hosts`` rise."""
    start = 0
    for place in range(1, len(hosts) + 1):
        if place == len(hosts) or hosts[place] != hosts[place - 1] + 1:
            yield hosts[start], place - start
            start = place


def decisions(answer: policy_service_pb2.Decisions) -> Decisions:
    """What the policy wants. Raises Gone where that cannot be told."""
    again = answer.reconsider_at_nanoseconds if answer.HasField("reconsider_at_nanoseconds") else NEVER
    return Decisions([_action(place, action) for place, action in enumerate(answer.actions)], again)


def _action(place: int, message: policy_service_pb2.Action) -> Action:
    kind = message.WhichOneof("action")
    if kind == "start":
        start = message.start
        if not start.HasField("placement"):
            return Start(start.job_id, None, start.stop_unless_started, message.group)
        ranges = _ranges(place, start.placement)
        return Start(start.job_id, ranges, start.stop_unless_started, message.group)
    if kind == "preempt":
        return Preempt(message.preempt.job_id, message.preempt.reason[:REASON_LETTERS], message.group, message.preempt.suspend)
    if kind == "hold":
        return Hold(message.hold.job_id, message.hold.reason[:REASON_LETTERS], message.group)
    if kind == "resize":
        resize = message.resize
        to = _ranges(place, resize.placement) if resize.HasField("placement") else None
        return Resize(resize.job_id, resize.gpus, to, resize.reason[:REASON_LETTERS], message.group)
    raise Gone(f"action {place} of its answer is none; allowed: start, preempt, hold, resize")


def _ranges(place: int, placement: policy_service_pb2.Placement) -> list[HostRange]:
    """Of action number ``place``."""
    first, count, mask = placement.first_host, placement.host_count, placement.gpu_mask
    if not len(first) == len(count) == len(mask):
        lengths = f"{len(first)}, {len(count)}, {len(mask)}"
        raise Gone(f"action {place} of its answer has a placement with columns of {lengths} entries; allowed: equal lengths")
    return list(zip(first, count, mask, strict=True))


#: Of what a user is told; more is cut off.
REASON_LETTERS = 500
