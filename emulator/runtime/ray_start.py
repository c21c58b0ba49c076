"""Starting a new Ray on this machine.

It listens on loopback only, keeps its files in its own temporary directory and ends with the session. Ray reads the environment when it is
first imported, so the environment is set before, and this module imports Ray late.
"""

import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emulator.runtime.cpus import usable_cpus
from emulator.runtime.ray_address import LOCAL, TEMP_PREFIX, RayStartError
from emulator.runtime.ray_head import RayHead

#: Ray lets every user write into its directory, through which pickles pass. So it is put into a directory that only this user can open.
_INNER = "r"
#: Ray's sockets are at TEMP/r/session_<date>_<time>_<micros>_<pid>/sockets/plasma_store; a path of more than 107 bytes is no socket.
_LONGEST_TEMP = 107 - len("/r/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.1")
#: Ray accepts at least 75 MiB.
_OBJECT_STORE_BYTES = 128 * 2**20

logger = logging.getLogger(__name__)

_ENVIRONMENT = {
    # Without it Ray swaps 127.0.0.1 for the machine's address and listens on every interface. (The name is of other systems; it is what
    # ``ray_constants.ENABLE_RAY_CLUSTER`` reads.)
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # No worker is started before one is needed: an idle one is 50 MB.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_enable_metrics_collection": "0",
}


@dataclass
class RaySession:
    """A Ray that this process is connected to: ours, or the cluster of ``head``. ``close`` ends what we started and nothing else."""

    cpus: int
    head: RayHead | None = None
    temp_dir: Path | None = None
    _closed: bool = field(default=False, repr=False)

    @property
    def ours(self) -> bool:
        return self.head is None

    def close(self) -> None:
        """Disconnect; stop Ray and remove its files if we started it. May be called twice."""
        if self._closed:
            return
        self._closed = True
        import ray

        ray.shutdown()
        if self.head is not None:
            self.head.close()
        if self.temp_dir is not None:
            shutil.rmtree(self.temp_dir, ignore_errors=True)


def set_environment() -> None:
    """Set the variables that Ray reads when it is imported, unless they are set. A program that imports Ray itself calls this first."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def start_ray(*, cpus: int | None = None, object_bytes: int = 0, system_config: Mapping[str, object] | None = None) -> RaySession:
    """A Ray of our own with ``cpus`` (default: those this process may use), with room for objects of ``object_bytes`` in all.

    ``system_config`` goes to Ray's ``_system_config`` (e.g. ``health_check_period_ms``). Raises RayStartError where this process has a Ray
    already, or Ray does not start.
    """
    count = cpus or usable_cpus()
    set_environment()
    import ray
    from ray._private import ray_constants

    if ray.is_initialized():
        raise RayStartError("this process is connected to a Ray already: close that first")
    ray_constants.ENABLE_RAY_CLUSTER = False  # if another module has imported Ray before
    temp_dir = _temp_dir()
    session = RaySession(cpus=count, temp_dir=temp_dir)
    try:
        with _without_extras():
            ray.init(
                LOCAL,
                num_cpus=count,
                num_gpus=0,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES + 2 * object_bytes,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="gigawatt",
                _node_ip_address="127.0.0.1",
                _temp_dir=str(temp_dir / _INNER),
                _system_config=dict(system_config) if system_config else None,
            )
    except BaseException as error:
        logs = _last_words(temp_dir)
        session.close()
        if isinstance(error, Exception):
            raise RayStartError(f"Ray did not start: {error}{logs}") from error
        raise
    quiet()
    return session


@contextlib.contextmanager
def _without_extras() -> Iterator[None]:
    """Leave out the autoscaler's monitor, the log tailer and the dashboard's server: 165 MB and 2 s of start that nothing here uses.

    Ray has no option for it (``include_dashboard=False`` starts a smaller one). What a version does not have is left alone.
    """
    from ray._private.node import Node

    kept = {name: getattr(Node, name) for name in ("start_monitor", "start_log_monitor", "start_api_server") if hasattr(Node, name)}
    try:
        for name in kept:
            setattr(Node, name, lambda self, **_: None)
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def quiet() -> None:
    """Ray prints the deaths of workers on our standard output, which is for data; they are reported by whoever misses the worker."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, **_: logger.debug("%s", data.get("lines"))


def _temp_dir() -> Path:
    """A new directory that is this user's alone, its name short enough for Ray's sockets."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp below makes a directory that is ours
        if len(os.fsencode(parent)) + len(f"/{TEMP_PREFIX}12345678") <= _LONGEST_TEMP:
            return Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir=parent))
    raise RayStartError(f"the temporary directory's name must be at most {_LONGEST_TEMP - 18} bytes for Ray's sockets: set TMPDIR")


def _last_words(temp_dir: Path) -> str:
    """The end of Ray's own logs, for a message."""
    logs = sorted(temp_dir.glob("*/session_2*/logs/*.err")) + sorted(temp_dir.glob("*/session_2*/logs/gcs_server.out"))
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-3:]]
    return "".join(f"\n  {line}" for line in lines[-6:])
