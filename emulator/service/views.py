"""What Control shows as messages, and back again for the client.

Fields have one name in both worlds (the tests hold them equal), so the copying is by name; only enums and absences are translated.
"""

from dataclasses import fields
from typing import Any, TypeVar

from google.protobuf.message import Message

from emulator.engine.fault_control import FaultView
from emulator.engine.hardware_control import ClusterView, HostState, HostView, LinkView, RackView
from emulator.engine.job_control import Explanation, JobEvent, JobState, JobView
from emulator.engine.queue_control import QueueView, QuotaView
from emulator.engine.reservation_control import ReservationView
from emulator.engine.snapshot import ClockView
from emulator.v1 import clock_service_pb2, cluster_service_pb2, job_pb2, job_service_pb2, queue_service_pb2, reservation_service_pb2
from emulator.workload.jobs import JobKind

View = TypeVar(
    "View", ClockView, ClusterView, Explanation, FaultView, HostView, JobView, LinkView, QueueView, QuotaView, RackView, ReservationView
)

_NAMES = {
    view: tuple(field.name for field in fields(view))
    for view in (
        ClockView,
        ClusterView,
        Explanation,
        FaultView,
        HostView,
        JobView,
        LinkView,
        QueueView,
        QuotaView,
        RackView,
        ReservationView,
    )
}

STATE_NUMBER = {state: job_pb2.JobState.Value(f"JOB_STATE_{state.name}") for state in JobState}
STATE_OF = {int(number): state for state, number in STATE_NUMBER.items()}
HOST_STATE_NUMBER = {state: cluster_service_pb2.HostState.Value(f"HOST_STATE_{state.name}") for state in HostState}
HOST_STATE_OF = {int(number): state for state, number in HOST_STATE_NUMBER.items()}
#: What becomes of jobs that run on hosts when they begin to be kept, as in `scheduler.calendar.Running`.
RUNNING_NUMBER = {
    name.removeprefix("RUNNING_JOBS_").lower(): number for name, number in reservation_service_pb2.RunningJobs.items() if number
}
RUNNING_OF = {number: name for name, number in RUNNING_NUMBER.items()}
_KIND_NUMBER = {kind.name.lower(): job_pb2.JobKind.Value(f"JOB_KIND_{kind.name}") for kind in JobKind}
_KIND_OF = {number: kind for kind, number in _KIND_NUMBER.items()}
_REASON_NUMBER = {name.removeprefix("REASON_KIND_").lower(): number for name, number in job_service_pb2.ReasonKind.items() if number}
_REASON_OF = {number: kind for kind, number in _REASON_NUMBER.items()}


def _fields(view: Any) -> dict[str, Any]:
    return {name: getattr(view, name) for name in _NAMES[type(view)]}


def view_of(message: Message, view: type[View], **translated: object) -> View:
    """``message`` as ``view``, with ``translated`` for the fields that have another form there."""
    values: dict[str, Any] = {name: translated[name] if name in translated else getattr(message, name) for name in _NAMES[view]}
    return view(**values)


def _present(message: Message, name: str, absent: object) -> Any:
    return getattr(message, name) if message.HasField(name) else absent


def job_message(job: JobView) -> job_pb2.Job:
    """To the API's job; a kind that it does not know is KIND_UNSPECIFIED."""
    return job_pb2.Job(**_fields(job) | {"kind": _KIND_NUMBER.get(job.kind, 0), "state": STATE_NUMBER[job.state]})


def job_view(job: job_pb2.Job) -> JobView:
    """Back from the API; times that are not set are None."""
    return view_of(
        job,
        JobView,
        kind=_KIND_OF.get(job.kind, ""),
        state=STATE_OF[job.state],
        start_seconds=_present(job, "start_seconds", None),
        end_seconds=_present(job, "end_seconds", None),
        deadline_seconds=_present(job, "deadline_seconds", None),
        phase_seconds={name: job.phase_seconds[name] for name in sorted(job.phase_seconds)},
    )


def event_message(event: JobEvent) -> job_service_pb2.JobEvent:
    """To the API's event of a watch."""
    return job_service_pb2.JobEvent(sequence=event.sequence, at_seconds=event.at_seconds, job=job_message(event.job))


def event_view(event: job_service_pb2.JobEvent) -> JobEvent:
    """Back from the API."""
    return JobEvent(event.sequence, event.at_seconds, job_view(event.job))


def explanation_message(why: Explanation) -> job_service_pb2.ExplainJobResponse:
    """To the API's explanation; the position is unset where the job is not pending."""
    translated = {
        "state": STATE_NUMBER[why.state],
        "kind": _REASON_NUMBER.get(why.kind, 0),
        "position": why.position if why.position >= 0 else None,
    }
    return job_service_pb2.ExplainJobResponse(**_fields(why) | translated)


def explanation_view(why: job_service_pb2.ExplainJobResponse) -> Explanation:
    """Back from the API; a position that is not set is -1."""
    return view_of(
        why,
        Explanation,
        state=STATE_OF[why.state],
        kind=_REASON_OF.get(why.kind, ""),
        numbers=dict(sorted(why.numbers.items())),  # a map of protobuf has no order
        position=_present(why, "position", -1),
    )


def queue_message(queue: QueueView) -> queue_service_pb2.Queue:
    """To the API's queue, field by field; a limit that is None is unset."""
    return queue_service_pb2.Queue(**_fields(queue) | {"quotas": [queue_service_pb2.Quota(**_fields(quota)) for quota in queue.quotas]})


def queue_view(queue: queue_service_pb2.Queue) -> QueueView:
    """Back from the API."""
    return view_of(queue, QueueView, quotas=tuple(map(_quota_view, queue.quotas)))


def reservation_message(reservation: ReservationView) -> reservation_service_pb2.Reservation:
    """To the API's reservation."""
    return reservation_service_pb2.Reservation(**_fields(reservation) | {"running": RUNNING_NUMBER[reservation.running]})


def reservation_view(reservation: reservation_service_pb2.Reservation) -> ReservationView:
    """Back from the API."""
    lists = {"queues": tuple(reservation.queues), "tenants": tuple(reservation.tenants)}
    return view_of(reservation, ReservationView, running=RUNNING_OF[reservation.running], **lists)


def _quota_view(quota: queue_service_pb2.Quota) -> QuotaView:
    limits = {name: _present(quota, name, None) for name in ("borrowing_limit_gpus", "lending_limit_gpus")}
    return view_of(quota, QuotaView, **limits)


def cluster_message(cluster: ClusterView) -> cluster_service_pb2.Cluster:
    """To the API's cluster, field by field."""
    return cluster_service_pb2.Cluster(**_fields(cluster))


def cluster_view(cluster: cluster_service_pb2.Cluster) -> ClusterView:
    """Back from the API."""
    return view_of(cluster, ClusterView, sites=tuple(cluster.sites))


def rack_message(rack: RackView) -> cluster_service_pb2.Rack:
    """To the API's rack, field by field."""
    return cluster_service_pb2.Rack(**_fields(rack))


def host_message(host: HostView) -> cluster_service_pb2.Host:
    """To the API's host, whose state is an enum of its own."""
    return cluster_service_pb2.Host(**_fields(host) | {"state": HOST_STATE_NUMBER[host.state]})


def host_view(host: cluster_service_pb2.Host) -> HostView:
    """Back from the API."""
    return view_of(host, HostView, state=HOST_STATE_OF[host.state], job_ids=tuple(host.job_ids))


def fault_message(fault: FaultView) -> cluster_service_pb2.Fault:
    """To the API's fault; an end that is None is unset."""
    return cluster_service_pb2.Fault(**_fields(fault))


def fault_view(fault: cluster_service_pb2.Fault) -> FaultView:
    """Back from the API."""
    return view_of(fault, FaultView, until_seconds=_present(fault, "until_seconds", None), job_ids=tuple(fault.job_ids))


def link_message(link: LinkView) -> cluster_service_pb2.Link:
    """To the API's link, a trunk, field by field."""
    return cluster_service_pb2.Link(**_fields(link))


def clock_message(clock: ClockView) -> clock_service_pb2.Clock:
    """To the API's clock, field by field."""
    return clock_service_pb2.Clock(**_fields(clock))
