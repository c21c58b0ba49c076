"""JobService: a thin shell around Control."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from emulator.engine.control import Control
from emulator.engine.errors import ControlError, InvalidRequest, NotFound
from emulator.engine.job_control import JobState
from emulator.service import views
from emulator.service.calls import Calls
from emulator.service.convert import intake_of
from emulator.service.draft import draft_of_batch, draft_of_spec
from emulator.service.errors import job_errors
from emulator.service.gathering import Gathering, Handled
from emulator.service.gpu_types import GpuTypes
from emulator.service.paging import page_of
from emulator.service.validate import check_request_id
from emulator.service.watches import Watches
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_pb2 import Job
from emulator.v1.job_service_pb2_grpc import JobServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]

#: Jobs that one stream of SubmitJobs may hold: its answer names each.
MAX_STREAM_JOBS = 1_000_000
MAX_WATCHED_JOBS = 10_000


class JobServicer(JobServiceServicer):
    """``emulator.v1.JobService``: submissions, jobs and watches."""

    def __init__(self, control: Control, call: Calls, gathering: Gathering, gpu_types: GpuTypes) -> None:
        self._control, self._call, self._gathering, self._gpu_types = control, call, gathering, gpu_types
        self._watches = Watches(control, call)

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> pb.SubmitJobResponse:
        check_request_id(request.request_id)
        replicas = max(1, request.spec.service.replicas, request.spec.array_size)
        handled = await self._gathering.hand_in(
            lambda: intake_of(draft_of_spec(request.spec), self._gpu_types), request.request_id, replicas
        )
        accepted = handled.job_ids[handled.job_ids >= 0].tolist()
        if not accepted:
            raise handled.errors[0]
        job = views.job_message(handled.job) if handled.job is not None else await self._repeated(request, accepted[0])
        return pb.SubmitJobResponse(job=job, job_ids=accepted, errors=job_errors(handled.errors))

    async def _repeated(self, request: pb.SubmitJobRequest, job_id: int) -> Job:
        """The job of a request that was made before: as it stands, or as in the first answer where it has ended and is not kept."""
        try:
            return views.job_message(await self._call(self._control.job, job_id))
        except NotFound as error:
            spec, pending = request.spec, views.STATE_NUMBER[JobState.PENDING]
            return Job(job_id=job_id, name=spec.name, queue=spec.queue, gpus=spec.gpus, state=pending, reason=str(error))

    async def SubmitJobs(self, request_iterator: AsyncIterator[pb.SubmitJobsRequest], context: Context) -> pb.SubmitJobsResponse:
        response = pb.SubmitJobsResponse()
        errors: dict[int, ControlError] = {}
        batches = 0
        try:
            async for request in request_iterator:
                first = len(response.job_ids)
                handled = await self._submit_batch(request, first)
                response.job_ids.extend(handled.job_ids.tolist())
                errors |= {first + index: error for index, error in handled.errors.items()}
                batches += 1
        except InvalidRequest as error:
            stand = f"; the {len(response.job_ids) - len(errors)} jobs accepted before it stand" if batches else ""
            raise type(error)(f"batch {batches}: {error}{stand}", field=error.field, allowed=error.allowed) from error
        response.errors.extend(job_errors(errors))
        response.refused = len(errors)
        response.accepted = len(response.job_ids) - len(errors)
        return response

    async def _submit_batch(self, request: pb.SubmitJobsRequest, first: int) -> Handled:
        check_request_id(request.request_id)
        count = request.batch.count
        if first + count > MAX_STREAM_JOBS:
            raise InvalidRequest("the stream is too long", field="batch.count", allowed=f"at most {MAX_STREAM_JOBS:,} jobs in one stream")
        return await self._gathering.hand_in(lambda: intake_of(draft_of_batch(request.batch), self._gpu_types), request.request_id, count)

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        if not request.name:
            return pb.GetJobResponse(job=views.job_message(await self._call(self._control.job, request.job_id)))
        if request.job_id:
            raise InvalidRequest("both job_id and name are given", field="name", allowed="one of them")
        return pb.GetJobResponse(job=views.job_message(await self._call(self._control.job_named, request.name)))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        states = states_of(request)
        page = page_of(f"jobs {sorted(states)} {request.queue}", request.page_size, request.page_token)
        found = await self._call(self._control.jobs, states=states, queue=request.queue, after_id=page.after, limit=page.size + 1)
        last = page.last(found)
        rows, token = page.cut(found, last.job_id if last else -1)
        total = page.total(found) or await self._call(self._control.job_count, states=states, queue=request.queue)
        return pb.ListJobsResponse(jobs=map(views.job_message, rows), next_page_token=token, total_size=total)

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        check_request_id(request.request_id)
        return pb.CancelJobResponse(job=views.job_message(await self._call(self._control.cancel, request.job_id, request.request_id)))

    async def HoldJob(self, request: pb.HoldJobRequest, context: Context) -> pb.HoldJobResponse:
        check_request_id(request.request_id)
        return pb.HoldJobResponse(job=views.job_message(await self._call(self._control.hold, request.job_id, request.request_id)))

    async def ReleaseJob(self, request: pb.ReleaseJobRequest, context: Context) -> pb.ReleaseJobResponse:
        check_request_id(request.request_id)
        return pb.ReleaseJobResponse(job=views.job_message(await self._call(self._control.release, request.job_id, request.request_id)))

    async def SetJobPriority(self, request: pb.SetJobPriorityRequest, context: Context) -> pb.SetJobPriorityResponse:
        check_request_id(request.request_id)
        job = await self._call(self._control.set_priority, request.job_id, request.priority, request.request_id)
        return pb.SetJobPriorityResponse(job=views.job_message(job))

    async def ExplainJob(self, request: pb.ExplainJobRequest, context: Context) -> pb.ExplainJobResponse:
        return views.explanation_message(await self._call(self._control.explain, request.job_id))

    async def WatchJobs(self, request: pb.WatchJobsRequest, context: Context) -> AsyncIterator[bytes]:
        if len(request.job_ids) > MAX_WATCHED_JOBS:
            raise InvalidRequest(
                f"job_ids has {len(request.job_ids)} entries", field="job_ids", allowed=f"at most {MAX_WATCHED_JOBS:,}; none watches all"
            )
        after = request.after_sequence if request.HasField("after_sequence") else -1
        if after < -1:
            raise InvalidRequest(f"after_sequence is {after}", field="after_sequence", allowed="a sequence that an event had")
        await context.send_initial_metadata(())  # tells the client that it is watching, however long nothing happens
        async for response in self._watches.responses(frozenset(request.job_ids), after):
            yield response


def states_of(request: pb.ListJobsRequest) -> frozenset[JobState]:
    """The states that ``request`` asks for. Raises InvalidRequest where a number is none."""
    for number in request.states:
        if number not in views.STATE_OF:
            raise InvalidRequest(
                f"states has the value {number}", field="states", allowed=", ".join(f"JOB_STATE_{state.name}" for state in JobState)
            )
    return frozenset(views.STATE_OF[number] for number in request.states)
