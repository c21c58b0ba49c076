"""The class of the Ray actors: a ``ShardHost``, made after a check of the code that is installed on its node.

Everything here travels to the nodes by value, so that a node without the package, or with another version of it, can still say so. It
therefore imports nothing of ours but inside ``hold``.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

PACKAGES = ("emulator", "topology")


def installed_code() -> tuple[str, str]:
    """The version of gigawatt that is installed here, and a hash of the sources that would be imported; "" where one is not there.

    Sources are all Python files of the packages, generated stubs included. A node with other sources may give other answers.
    """
    digest = hashlib.sha256()
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            return "", ""
        root = Path(found.origin).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(root).as_posix()}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    try:
        version = importlib.metadata.version("gigawatt")
    except importlib.metadata.PackageNotFoundError:
        version = "not installed as a package"
    return version, digest.hexdigest()[:12]


def call(code: tuple[str, str], function: str, argument: Any) -> tuple[tuple[str, str], Any]:
    """The code of this node and, where that is ``code``, what ``function`` (``package.module:name``) answers."""
    ours = installed_code()
    if ours != code:
        return ours, None
    module, _, name = function.partition(":")
    return ours, getattr(importlib.import_module(module), name)(argument)


class ShardActor:
    """Holds nothing until ``hold``, and serves the head from ``serve`` on, over a line of its own."""

    def __init__(self) -> None:
        self._host: Any = None
        self._listener: Any = None

    def code(self) -> tuple[str, str]:
        """The code that this node has; see ``installed_code``."""
        return installed_code()

    def hold(self, cluster: Any, share: Any, epoch: int, window: int, snapshot: bytes, payloads: Any) -> int:
        """Make the shards and bring them to the head's present window; see ``ShardHost.recover``. Returns the last window."""
        from emulator.runtime.actor import ShardHost

        self._host = ShardHost(cluster, share, epoch)
        last: int = self._host.recover(window, snapshot, payloads)
        return last

    def listen(self, at: str, port: int) -> tuple[str, str]:
        """Where the head can reach this actor, and its metrics (``port``; 0: any): ``at`` is a path or a host, "" this node's address."""
        from emulator.runtime.line import listen

        if not at:
            import ray

            at = ray.util.get_node_ip_address()
        self._listener, address = listen(at)
        return address, self._host.serve_metrics("127.0.0.1" if at.startswith("/") else at, port)

    def serve(self, key: bytes) -> None:
        """Answer the head, which has this key, until it closes the line."""
        from emulator.runtime.actor import serve
        from emulator.runtime.line import accept

        serve(self._host, accept(self._listener, key))
