"""Pages through plain stubs: sizes, tokens, and tokens that belong to another list."""

import grpc
import pytest

from emulator.service.client import Client
from emulator.service.spec import JobSpec
from emulator.v1 import cluster_service_pb2 as cluster_pb
from emulator.v1 import job_pb2
from emulator.v1 import job_service_pb2 as pb
from emulator.v1 import queue_service_pb2 as queue_pb
from emulator.v1.cluster_service_pb2_grpc import ClusterServiceStub
from emulator.v1.job_service_pb2_grpc import JobServiceStub
from emulator.v1.queue_service_pb2_grpc import QueueServiceStub


def test_pages_follow_one_another_without_gap_or_repeat(client: Client, channel: grpc.Channel) -> None:
    for _ in range(7):
        client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    stub, token, pages = JobServiceStub(channel), "", []
    while True:
        page = stub.ListJobs(pb.ListJobsRequest(page_size=3, page_token=token))
        pages.append([job.job_id for job in page.jobs])
        token = page.next_page_token
        if not token:
            break
    assert pages == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_last_page_that_is_full_has_no_token(client: Client, channel: grpc.Channel) -> None:
    for _ in range(3):
        client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    assert JobServiceStub(channel).ListJobs(pb.ListJobsRequest(page_size=3)).next_page_token == ""


def test_queues_racks_and_links_page(channel: grpc.Channel) -> None:
    queues = QueueServiceStub(channel)
    first = queues.ListQueues(queue_pb.ListQueuesRequest(page_size=2))
    rest = queues.ListQueues(queue_pb.ListQueuesRequest(page_size=2, page_token=first.next_page_token))
    assert [queue.name for page in (first, rest) for queue in page.queues] == ["default", "inference", "research"]
    assert rest.next_page_token == ""
    racks = ClusterServiceStub(channel).ListRacks(cluster_pb.ListRacksRequest(page_size=25))
    assert (len(racks.racks), racks.next_page_token) == (25, "")
    links = ClusterServiceStub(channel).ListLinks(cluster_pb.ListLinksRequest(tier="leaf_spine"))
    again = ClusterServiceStub(channel).ListLinks(cluster_pb.ListLinksRequest(tier="leaf_spine", page_token=links.next_page_token))
    assert [link.link for link in (*links.links, *again.links)] == list(range(1, 400, 2))


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ListJobsRequest(page_size=-1), "page_size"),
        (pb.ListJobsRequest(page_size=1001), "page_size"),
        (pb.ListJobsRequest(page_token="nonsense"), "page_token"),
        (pb.ListJobsRequest(page_token="é"), "page_token"),
        (pb.ListJobsRequest(states=[job_pb2.JOB_STATE_UNSPECIFIED]), "states"),
        (pb.ListJobsRequest(states=[99]), "states"),  # type: ignore[list-item]  # there is no such state
    ],
)
def test_what_is_no_page(channel: grpc.Channel, request_: pb.ListJobsRequest, field: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        JobServiceStub(channel).ListJobs(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in (caught.value.details() or "")


def test_a_token_holds_only_for_its_own_list(client: Client, channel: grpc.Channel) -> None:
    for _ in range(3):
        client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    stub = JobServiceStub(channel)
    token = stub.ListJobs(pb.ListJobsRequest(page_size=1)).next_page_token
    with pytest.raises(grpc.RpcError, match="page_token"):
        stub.ListJobs(pb.ListJobsRequest(page_size=1, queue="default", page_token=token))
    with pytest.raises(grpc.RpcError, match="page_token"):
        ClusterServiceStub(channel).ListRacks(cluster_pb.ListRacksRequest(page_token=token))
