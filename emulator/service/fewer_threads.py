"""gRPC with fewer threads on the way of a message, where wall time counts: ``from emulator.service.fewer_threads import grpc``.

grpcio 1.80 gave the sockets to threads of its own (EventEngine, https://github.com/grpc/grpc/pull/41432), which hand each message to the
thread that waits for it. Until then the one that waits read the socket itself, and that is still to be had: one exchange between two
programs in Python then takes a third less. It holds for the whole process, and can be chosen only before gRPC is imported for the first
time, so where another module has imported it before, it is as it is. Nothing depends on it but wall time.
"""

import os
from importlib.metadata import version

#: Releases of grpcio that have both ways. Later ones may have one only, and complain of names that they do not know.
_BOTH_WAYS = range(80, 86)
_VARIABLE, _FEWER = "GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener"


def _chosen() -> bool:
    """Set the environment variable that gRPC reads when it is imported, unless it is set. Returns whether it did."""
    major, minor = version("grpcio").split(".")[:2]
    if _VARIABLE in os.environ or major != "1" or int(minor) not in _BOTH_WAYS:
        return False
    os.environ[_VARIABLE] = _FEWER
    return True


_chose = _chosen()
import grpc  # noqa: E402

if _chose:
    del os.environ[_VARIABLE]  # other programs that this one starts may have another gRPC

__all__ = ["grpc"]
