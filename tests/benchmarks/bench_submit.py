"""100,000 jobs through SubmitJobs into a live Colossus with its journal on disk, by our client, against the least that any such service
does: the same messages, sent by the same client stub to a stream handler that parses them and counts.

Client and server share one process, so the CPU time is that of both.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np

from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.service.client import Client
from emulator.service.server import serve
from emulator.service.spec import batches_of
from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceServicer, JobServiceStub, add_JobServiceServicer_to_server
from emulator.workload.jobs import SECOND, JobColumns, job_columns

COUNT, BATCH_JOBS, LEAST_PER_SECOND = 100_000, 10_000, 20_000

Answer = TypeVar("Answer")


def many_jobs() -> JobColumns:
    rng = np.random.default_rng(1)
    return job_columns(
        COUNT,
        submit_ns=0,
        gpus=rng.choice([1, 8, 64, 512], COUNT),
        duration_ns=rng.integers(60, 10**5, COUNT) * SECOND,
        queue=rng.integers(0, 3, COUNT),
        queues=("a", "b", "c"),
        names=tuple(f"job-{number}" for number in range(COUNT)),
    )


class Counter(JobServiceServicer):
    def SubmitJobs(self, request_iterator: Iterator[pb.SubmitJobsRequest], context: grpc.ServicerContext) -> pb.SubmitJobsResponse:
        return pb.SubmitJobsResponse(accepted=sum(request.batch.count for request in request_iterator))


def timed(work: Callable[[], Answer]) -> tuple[Answer, float, float]:
    """The answer, and the wall and CPU seconds that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return answer, time.perf_counter() - wall, time.process_time() - cpu


def test_a_hundred_thousand_jobs(tmp_path: Path, row: Callable[..., None]) -> None:
    jobs = many_jobs()
    bare = grpc.server(ThreadPoolExecutor(2), options=[("grpc.max_receive_message_length", 2**26)])
    add_JobServiceServicer_to_server(Counter(), bare)
    port = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = JobServiceStub(channel)

        def send() -> pb.SubmitJobsResponse:
            response: pb.SubmitJobsResponse = stub.SubmitJobs(pb.SubmitJobsRequest(batch=batch) for batch in batches_of([jobs], BATCH_JOBS))
            return response

        send()
        counted, floor_wall, floor_cpu = timed(send)
    bare.stop(None)
    assert counted.accepted == COUNT

    scenario = load("colossus", ["runtime.actors=inline", "workload.kind=none"])
    session = open_session(scenario, endless=True, state_dir=tmp_path)
    server = serve(session, "127.0.0.1:0", host_type=session.host_type)
    session.start()
    try:
        with Client(server.address) as client:
            done, wall, cpu = timed(lambda: client.submit_many([jobs], batch_jobs=BATCH_JOBS))
            assert (done.accepted, done.refused) == (COUNT, 0)
            assert len(set(done.job_ids.tolist())) == COUNT
            for job_id in done.job_ids[:: COUNT // 10].tolist():
                assert client.job(job_id).job_id == job_id
    finally:
        server.stop(0.0)
        session.stop()
        session.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as journal:
        submitted = journal.execute("SELECT payload FROM input WHERE kind = 'submit'").fetchall()
    on_disk = [job_id for (text,) in submitted for job_id in json.loads(text)["job_id"]]
    assert sorted(on_disk) == sorted(done.job_ids.tolist()), "what was accepted is on disk"
    row(
        "SubmitJobs: 100,000 jobs, journalled",
        jobs_per_wall_s=f"{COUNT / wall:,.0f}",
        least=f"{LEAST_PER_SECOND:,}",
        jobs_per_cpu_s=f"{COUNT / cpu:,.0f}",
        cpu_over_counting=cpu / floor_cpu,
        wall_over_counting=wall / floor_wall,
    )
    assert COUNT / wall >= LEAST_PER_SECOND
