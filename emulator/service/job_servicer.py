"""JobService: a thin shell around Control."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import numpy as np
from numpy.typing import NDArray

from emulator.engine.control import Control, ControlError, InvalidRequest, JobState
from emulator.service import views
from emulator.service.calls import Calls
from emulator.service.convert import intake_of
from emulator.service.draft import Draft, draft_of_batch, draft_of_spec
from emulator.service.errors import job_errors
from emulator.service.gpu_types import GpuTypes
from emulator.service.paging import page_of
from emulator.service.validate import check_request_id
from emulator.service.watches import Watch
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]

#: Jobs that one stream of SubmitJobs may hold: its answer names each.
MAX_STREAM_JOBS = 1_000_000
MAX_WATCHED_JOBS = 10_000


class JobServicer(JobServiceServicer):
    """``emulator.v1.JobService``: submissions, jobs and watches."""

    def __init__(self, control: Control, call: Calls, gpu_types: GpuTypes) -> None:
        self._control, self._call, self._gpu_types = control, call, gpu_types

    def _submit(self, draft: Draft, request_id: str) -> tuple[NDArray[np.int64], dict[int, ControlError]]:
        """Hand in what is sound of ``draft``: per job its id or -1, and the errors by index."""
        intake = intake_of(draft, self._gpu_types)
        job_ids, errors = np.full(draft.count, -1, dtype=np.int64), intake.errors
        if len(intake.rows):
            try:
                result = self._control.submit(intake.columns, request_id)
            except ControlError as error:
                return job_ids, errors | dict.fromkeys(intake.rows.tolist(), error)
            job_ids[intake.rows] = result.job_ids
            refused = {int(intake.rows[index]): error for index, error in result.errors.items()}
            job_ids[list(refused)] = -1
            errors |= refused
        return job_ids, errors

    async def SubmitJob(self, request: pb.SubmitJobRequest, context: Context) -> pb.SubmitJobResponse:
        return await self._call(self._submit_one, request)

    def _submit_one(self, request: pb.SubmitJobRequest) -> pb.SubmitJobResponse:
        check_request_id(request.request_id)
        job_ids, errors = self._submit(draft_of_spec(request.spec), request.request_id)
        accepted = job_ids[job_ids >= 0].tolist()
        if not accepted:
            raise errors[0]
        return pb.SubmitJobResponse(job=views.job_message(self._control.job(accepted[0])), job_ids=accepted, errors=job_errors(errors))

    async def SubmitJobs(self, request_iterator: AsyncIterator[pb.SubmitJobsRequest], context: Context) -> pb.SubmitJobsResponse:
        response = pb.SubmitJobsResponse()
        errors: dict[int, ControlError] = {}
        batches = 0
        try:
            async for request in request_iterator:
                first = len(response.job_ids)
                job_ids, refused = await self._call(self._submit_batch, request, first)
                response.job_ids.extend(job_ids.tolist())
                errors |= {first + index: error for index, error in refused.items()}
                batches += 1
        except InvalidRequest as error:
            stand = f"; the {len(response.job_ids) - len(errors)} jobs accepted before it stand" if batches else ""
            raise type(error)(f"batch {batches}: {error}{stand}", field=error.field, allowed=error.allowed) from error
        response.errors.extend(job_errors(errors))
        response.refused = len(errors)
        response.accepted = len(response.job_ids) - len(errors)
        return response

    def _submit_batch(self, request: pb.SubmitJobsRequest, first: int) -> tuple[NDArray[np.int64], dict[int, ControlError]]:
        check_request_id(request.request_id)
        draft = draft_of_batch(request.batch)
        if first + draft.count > MAX_STREAM_JOBS:
            raise InvalidRequest("the stream is too long", field="batch.count", allowed=f"at most {MAX_STREAM_JOBS:,} jobs in one stream")
        return self._submit(draft, request.request_id)

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

    async def ExplainJob(self, request: pb.ExplainJobRequest, context: Context) -> pb.ExplainJobResponse:
        return views.explanation_message(await self._call(self._control.explain, request.job_id))

    async def WatchJobs(self, request: pb.WatchJobsRequest, context: Context) -> AsyncIterator[pb.WatchJobsResponse]:
        if len(request.job_ids) > MAX_WATCHED_JOBS:
            raise InvalidRequest(
                f"job_ids has {len(request.job_ids)} entries", field="job_ids", allowed=f"at most {MAX_WATCHED_JOBS:,}; none watches all"
            )
        after = request.after_sequence if request.HasField("after_sequence") else -1
        if after < -1:
            raise InvalidRequest(f"after_sequence is {after}", field="after_sequence", allowed="a sequence that an event had")
        job_ids = frozenset(request.job_ids)
        watch = Watch(lambda: self._control.watch(job_ids=job_ids, after_sequence=after), views.event_message)
        try:
            await context.send_initial_metadata(())  # tells the client that it is watching, however long nothing happens
            async for events in watch.batches():
                yield pb.WatchJobsResponse(events=events)
        finally:
            watch.stop()


def states_of(request: pb.ListJobsRequest) -> frozenset[JobState]:
    """The states that ``request`` asks for. Raises InvalidRequest where a number is none."""
    for number in request.states:
        if number not in views.STATE_OF:
            raise InvalidRequest(
                f"states has the value {number}", field="states", allowed=", ".join(f"JOB_STATE_{state.name}" for state in JobState)
            )
    return frozenset(views.STATE_OF[number] for number in request.states)
