"""A policy as a program of its own, which decides what starts, and where, GPU by GPU.

    python examples/policy_server.py 50051 &
    gigawatt run eagle --until 6h --policy grpc://localhost:50051

It keeps a copy of the run's scheduler by what it is told, and lets a policy of the shelf plan on the copy: ``easy``, or what
``--policy-option policy=`` names. Every run has a copy of its own.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from emulator.scenario.policies import find
from emulator.service.policy_copy import SchedulerCopy
from emulator.v1 import policy_service_pb2_grpc
from emulator.v1.policy_service_pb2 import Opened, PlanRequest, PlanResponse


class Servicer(policy_service_pb2_grpc.PolicyServiceServicer):
    """One copy a stream, which is one run."""

    def Plan(self, requests: Iterator[PlanRequest], context: grpc.ServicerContext) -> Iterator[PlanResponse]:
        opening = next(requests).opening
        copy = SchedulerCopy(opening, find(opening.options.get("policy", "easy"), {}, opening.seed))
        yield PlanResponse(opened=Opened(protocol_version=1))
        for request in requests:
            copy.follow(request.cycle)
            if not request.cycle.more:
                yield PlanResponse(decisions=copy.plan(request.cycle))


def serve(port: int) -> tuple[grpc.Server, int]:
    """A server that has started, and its port; 0: any free one."""
    server = grpc.server(ThreadPoolExecutor(8))
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


if __name__ == "__main__":
    server, port = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 50051)
    print(f"listening on {port}", flush=True)
    server.wait_for_termination()
