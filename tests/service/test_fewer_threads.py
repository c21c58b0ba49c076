"""Whether gRPC's own threads are on the way of a message is seen in what gRPC traces."""

import os
import subprocess
import sys

import pytest

EXCHANGE = """
import os
from concurrent.futures import ThreadPoolExecutor
from emulator.service.fewer_threads import _BOTH_WAYS, grpc
server = grpc.server(ThreadPoolExecutor(1))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
try:
    grpc.insecure_channel(f"127.0.0.1:{port}").unary_unary("/a/b")(b"", timeout=10)
except grpc.RpcError as error:
    print(error.code().name, int(grpc.__version__.split(".")[1]) in _BOTH_WAYS, os.environ.get("GRPC_EXPERIMENTS"))
server.stop(None)
"""


@pytest.mark.parametrize("said", [None, "-tcp_rcv_lowat"])
def test_the_one_that_waits_reads_the_socket_unless_the_user_has_said_something(said: str | None) -> None:
    env = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"} | {
        "GRPC_VERBOSITY": "debug",
        "GRPC_TRACE": "tcp",
    }
    env |= {} if said is None else {"GRPC_EXPERIMENTS": said}
    done = subprocess.run([sys.executable, "-c", EXCHANGE], env=env, capture_output=True, text=True, check=True, timeout=60)
    code, both_ways, left = done.stdout.split()
    assert code == "UNIMPLEMENTED"
    assert left == str(said), "it is as before for the programs that this one starts"
    assert "Unknown experiment" not in done.stderr, "a release that has one way only is not to be asked for the other"
    if both_ways == "True":
        assert ("posix_endpoint" in done.stderr) == (said is not None)
