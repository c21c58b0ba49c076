"""A live session as its users see it: over gRPC, with a client that knows nothing of this program, and in bulk."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from emulator.runtime.session import Session
from emulator.service.client import Client
from emulator.service.server import serve
from emulator.workload.jobs import SECOND, job_columns


@pytest.fixture
def served(session: Callable[..., Session]) -> Iterator[Callable[..., tuple[Session, str]]]:
    servers = []

    def make(*args: Any, **options: Any) -> tuple[Session, str]:
        made = session(*args, **options)
        made.start()
        servers.append(serve(made, "127.0.0.1:0", host_type=made.host_type, payload_ratio=made.payload_ratio))
        return made, servers[-1].address

    yield make
    for server in servers:
        server.stop()


def test_a_client_that_has_only_reflection_submits_a_job_and_watches_it_to_its_end(served: Callable[..., tuple[Session, str]]) -> None:
    made, address = served(endless=True)
    made.pause()
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"emulator.v1.JobService", "emulator.v1.ClockService", "grpc.health.v1.Health"} <= set(database.get_services())
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("emulator.v1.JobService")

        def method(name: str, kind: str) -> Any:
            found = service.methods_by_name[name]
            request, response = GetMessageClass(found.input_type), GetMessageClass(found.output_type)
            call = getattr(channel, kind)(f"/{service.full_name}/{name}", request.SerializeToString, response.FromString)
            return request, call

        request, submit = method("SubmitJob", "unary_unary")
        asked = request()
        asked.spec.gpus, asked.spec.name = 16, "by reflection"
        asked.spec.duration.seconds = 95
        job = submit(asked).job
        assert (job.gpus, job.name) == (16, "by reflection")

        request, watch = method("WatchJobs", "unary_stream")
        asked = request(job_ids=[job.job_id])
        events = (event for response in watch(asked) for event in response.events)
        states = job.DESCRIPTOR.fields_by_name["state"].enum_type.values_by_number
        seen = [next(events).job]
        made.resume()
        seen += [event.job for event in events]
    assert [states[view.state].name for view in seen] == ["JOB_STATE_PENDING"] * 2 + ["JOB_STATE_RUNNING", "JOB_STATE_FINISHED"]
    assert seen[-1].end_seconds - seen[-1].start_seconds == 95.0


def test_a_hundred_thousand_jobs_are_accepted_and_none_lost(
    served: Callable[..., tuple[Session, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the client, the server and the session, with the journal on. The clock stands: nothing but taking them in is measured."""
    count = 100_000
    made, address = served(endless=True, state_dir=tmp_path / "state")
    made.pause()
    jobs = job_columns(count, submit_ns=0, gpus=np.arange(count) % 64 + 1, duration_ns=(np.arange(count) % 90 + 100) * SECOND)
    with Client(address) as client:
        begin = time.perf_counter()
        done = client.submit_many([jobs])
        seconds = time.perf_counter() - begin
    with capsys.disabled():
        print(f" {count / seconds:,.0f} jobs/s accepted, journalled", end="")
    assert (done.accepted, done.refused) == (count, 0)
    assert done.job_ids.tolist() == list(range(10**9, 10**9 + count))
    assert made._engine.intake.posted_jobs == count
    assert made._journal is not None
    kept = [job for row in made._journal.inputs() for job in row.payload["job_id"]]
    assert kept == done.job_ids.tolist()
    made.step(2)
    assert made.snapshot().jobs_submitted == count
    assert sum(queue.pending_jobs + queue.running_jobs for queue in made.queues()) == count
