"""A live session under calls of any kind, sensible, extreme and senseless: each is answered or refused, and none ends the emulation.

``GIGAWATT_FUZZ_CALLS`` says how many (``make fuzz`` makes 100,000), ``GIGAWATT_FUZZ_SEED`` which.
"""

import os
import random
import threading
from collections import Counter
from collections.abc import Callable

import grpc
import pytest

from emulator.runtime.session import Session
from emulator.service.client import Client
from emulator.service.server import serve
from tests.service.any_message import any_bytes, any_message, methods, path_of

CALLS = int(os.environ.get("GIGAWATT_FUZZ_CALLS", "6000"))
SEED = int(os.environ.get("GIGAWATT_FUZZ_SEED", "2"))
CALLERS = 4
DEADLINE_SECONDS = 60
ALLOWED = {
    *(grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION),
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
#: What changes most, tried most.
CHANGING = {"SubmitJob", "SubmitJobs", "CancelJob", "SetJobPriority", "InjectFault"}
#: Need a job that waits or runs at that moment, a fault or a reservation that is not over, which is a matter of luck; or a service, of
#: which there is none.
LUCKY = {"HoldJob", "ReleaseJob", "ClearFault", "CancelJob", "SetJobPriority", "CreateReservation", "DeleteReservation"} | {
    *("GetService", "ScaleService"),
}
#: Clusters that differ in what can be broken and how it is shared; small, so that faults and jobs meet.
CLUSTERS = {
    "trunks": "cluster: {host: hgx-h100, hosts: 32, hosts_per_rack: 4, switch: qm9700, oversubscription: {leaf: 3}}",
    "cables": "cluster: {host: hgx-h100, hosts: 32, hosts_per_rack: 4, switch: qm9700}\nfabric: {routing: ecmp}",
    "dragonfly": "cluster: {builder: dragonfly, group_switches: 4, host: frontier-node, hosts: 64, hosts_per_rack: 16, switch: rosetta}",
}


def scenario_text(cluster: str) -> str:
    return f"""
name: fuzz
{CLUSTERS[cluster]}
clock: {{cycle: 10s, until: 1h, speed: max}}
workload: {{kind: generated, generated: {{load: 0.5}}}}
scheduler: {{preemption: true, pending_limit: 2000}}
faults: {{host_rate_per_1000_node_days: 300}}
runtime: {{actors: inline}}
"""


def attack(channel: grpc.Channel, luck: random.Random, calls: int, seen: Counter[tuple[str, str]], wrong: list[str]) -> None:
    """So many random calls; what came of them goes into ``seen``, and what must not be into ``wrong``."""
    all_methods = methods()
    often = [5 if method.name in CHANGING else 1 for method in all_methods]
    for _ in range(calls):
        (method,) = luck.choices(all_methods, often)
        message = any_message(luck, method.input_type._concrete_class, luck.choice((0.05, 0.3)))
        payload = any_bytes(luck, message) if luck.random() < 0.15 else message.SerializeToString()
        path = path_of(method)
        try:
            if method.server_streaming:
                stream = channel.unary_stream(path, request_serializer=None, response_deserializer=None)(payload, timeout=0.05)
                for _, _ in zip(stream, range(3), strict=False):
                    pass
                stream.cancel()  # type: ignore[no-untyped-call]  # of grpc's stubs
            elif method.client_streaming:
                channel.stream_unary(path, request_serializer=None, response_deserializer=None)(
                    iter([payload] * 2), timeout=DEADLINE_SECONDS
                )
            else:
                channel.unary_unary(path, request_serializer=None, response_deserializer=None)(payload, timeout=DEADLINE_SECONDS)
            code = None
        except grpc.RpcError as error:
            code = error.code()
            quiet = method.server_streaming and code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
            if code not in ALLOWED and not quiet:
                wrong.append(f"{method.name} {str(message)[:1000]} {payload!r}: {code} {error.details()}")
                if len(wrong) > 20:
                    return
        seen[method.name, code.name if code else "OK"] += 1


@pytest.mark.timeout(60 + CALLS // 20)
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_no_call_ends_the_emulation(cluster: str, session: Callable[..., Session], capsys: pytest.CaptureFixture[str]) -> None:
    live = session(scenario_text(cluster), endless=True)
    live.start()
    server = serve(live, "127.0.0.1:0", host_type=live.host_type, host_types=live.host_types, payload_ratio=live.payload_ratio)
    seen: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    try:
        with grpc.insecure_channel(server.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            callers = [
                threading.Thread(
                    target=attack,
                    args=(channel, random.Random(f"{SEED} {cluster} {number}"), CALLS // len(CLUSTERS) // CALLERS, seen, wrong),
                )
                for number in range(CALLERS)
            ]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
        assert not wrong, "\n".join(wrong)
        with Client(server.address, timeout_seconds=DEADLINE_SECONDS) as client:
            clock = client.clock()  # the emulation is there, and its thread has met no error
            assert not clock.finished
            client.set_speed(float("inf"))
            client.resume()
            assert client.clock().emulated_seconds >= clock.emulated_seconds
        assert live.snapshot().commands_failed == 0
        with capsys.disabled():
            print(f"\n{cluster}: {sum(seen.values()):,} calls, {dict(sorted(Counter(code for _, code in seen.elements()).items()))}")
        answered = {name for name, code in seen if code == "OK"}
        assert answered >= {method.name for method in methods() if not method.server_streaming} - LUCKY or CALLS < 6000
    finally:
        server.stop()
