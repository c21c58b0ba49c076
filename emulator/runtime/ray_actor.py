"""The class of the Ray actors: a ``ShardHost``, made after a check of the code that is installed on its node.

Everything here travels to the nodes by value, so that a node without the package, or with another version of it, can still say so. It
therefore imports nothing of ours but inside ``hold``.
"""

import hashlib
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


class ShardActor:
    """Holds nothing until ``hold``."""

    def __init__(self) -> None:
        self._host: Any = None

    def code(self) -> tuple[str, str]:
        """The code that this node has; see ``installed_code``."""
        return installed_code()

    def hold(self, cluster: Any, share: Any, epoch: int, window: int, snapshot: bytes, payloads: Any) -> int:
        """Make the shards and bring them to the head's present window; see ``ShardHost.recover``. Returns the last window."""
        from emulator.runtime.actor import ShardHost

        self._host = ShardHost(cluster, share, epoch)
        last: int = self._host.recover(window, snapshot, payloads)
        return last

    def call(self, verb: str, *arguments: Any) -> Any:
        """A method of the ``ShardHost``."""
        return getattr(self._host, verb)(*arguments)

    def usage(self) -> tuple[float, int]:
        """CPU seconds of this process so far, and its memory in bytes."""
        from emulator.report.usage import own_usage

        return own_usage()
