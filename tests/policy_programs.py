"""Policies that are programs: the one of the examples, and others that do not do as they should."""

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import grpc

from emulator.v1 import policy_service_pb2_grpc
from emulator.v1.policy_service_pb2 import Decisions, Opened, PlanRequest, PlanResponse

#: What a program does with a stream.
Plan = Callable[[Iterator[PlanRequest]], Iterator[PlanResponse]]


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("policy_server", Path(__file__).parents[1] / "examples" / "policy_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = _example()


def mirror(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
    """The example."""
    answers: Iterator[PlanResponse] = EXAMPLE.Servicer().Plan(requests, None)
    return answers


def after(cycles: int, then: Plan) -> Plan:
    """The example for so many cycles, and ``then`` with what comes."""

    def plan(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
        answers = mirror(requests)
        for _ in range(1 + cycles):
            yield next(answers)
        yield from then(requests)

    return plan


def opened() -> PlanResponse:
    return PlanResponse(opened=Opened(protocol_version=1))


def says(answer: Callable[[PlanRequest], PlanResponse]) -> Plan:
    """Answers the opening, and with ``answer`` whatever comes."""

    def plan(requests: Iterator[PlanRequest]) -> Iterator[PlanResponse]:
        for request in requests:
            if request.HasField("opening"):
                yield opened()
            elif not request.cycle.more:
                yield answer(request)

    return plan


def decides(request: PlanRequest) -> Decisions:
    """An empty answer to a cycle."""
    return Decisions(sequence=request.cycle.sequence)


@contextmanager
def served(plan: Plan) -> Iterator[str]:
    """The address of a program while it runs."""

    class Servicer(policy_service_pb2_grpc.PolicyServiceServicer):
        def Plan(self, requests: Iterator[PlanRequest], context: grpc.ServicerContext) -> Iterator[PlanResponse]:
            return plan(requests)

    server = grpc.server(ThreadPoolExecutor(4))
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
