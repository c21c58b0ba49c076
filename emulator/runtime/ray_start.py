"""Starting a Ray of our own on this machine, or joining one that is given.

Ours listens on loopback only, keeps its files in a temporary directory of its own and is gone when the session ends. What Ray reads from
the environment has to be there before it is first imported, so this module imports it late.
"""

import contextlib
import logging
import math
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Ray's sockets are at TEMP/session_<date>_<time>_<micros>_<pid>/sockets/plasma_store; a path of more than 107 bytes is no socket.
_LONGEST_TEMP = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store.1")
#: Least that Ray accepts is 75 MiB.
_OBJECT_STORE_BYTES = 128 * 2**20
_PLACEMENT_SECONDS = 30.0
_CONNECT_SECONDS = 5.0

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


class RayStartError(RuntimeError):
    """Ray cannot be started or joined, or cannot hold so many actors. The message says what would do."""


@dataclass
class RaySession:
    """A Ray that this process is connected to. ``close`` ends what we started and nothing else."""

    ours: bool
    cpus: int
    temp_dir: Path | None = None
    _closed: bool = field(default=False, repr=False)

    def actor_options(self, actors: int) -> list[dict[str, Any]]:
        """Ray's options for each of ``actors`` actors: on our own machine a part of its CPUs each, elsewhere one, spread over nodes.

        Raises RayStartError where the given cluster has no room for them.
        """
        if self.ours:
            share = self.cpus / actors
            # Whole above one, as Ray has it; below, rounded down to its grain of 1/10,000.
            return [{"num_cpus": float(math.floor(share)) if share >= 1 else math.floor(share * 10_000) / 10_000}] * actors
        return _spread(actors)

    def has_lost_place(self, options: Mapping[str, Any]) -> bool:
        """Whether a node that held part of the options' placement group is gone; what was there has to start elsewhere."""
        strategy = options.get("scheduling_strategy")
        if strategy is None:
            return False
        from ray.util.placement_group import placement_group_table

        return bool(placement_group_table(strategy.placement_group).get("state") == "RESCHEDULING")

    def close(self) -> None:
        """Disconnect; stop Ray and remove its files if it is ours. May be called twice."""
        if self._closed:
            return
        self._closed = True
        import ray

        ray.shutdown()
        if self.temp_dir is not None:
            shutil.rmtree(self.temp_dir, ignore_errors=True)


def set_environment() -> None:
    """What Ray reads when it is imported, where it is not set already. A program that imports Ray itself calls this first."""
    os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def start_ray(*, cpus: int | None = None, object_bytes: int = 0, system_config: Mapping[str, object] | None = None) -> RaySession:
    """A Ray of our own with ``cpus`` (default: those this process may use), with room for objects of ``object_bytes`` in all.

    ``system_config`` goes to Ray's ``_system_config`` (e.g. ``health_check_period_ms``). Raises RayStartError where this process has a Ray
    already, or Ray does not start.
    """
    count = cpus or len(os.sched_getaffinity(0))
    set_environment()
    import ray
    from ray._private import ray_constants

    if ray.is_initialized():
        raise RayStartError("this process is connected to a Ray already: close that first")
    ray_constants.ENABLE_RAY_CLUSTER = False  # where somebody else has imported Ray before
    temp_dir = _temp_dir()
    session = RaySession(ours=True, cpus=count, temp_dir=temp_dir)
    try:
        with _without_extras(), _importable():
            ray.init(
                num_cpus=count,
                num_gpus=0,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES + 2 * object_bytes,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="gigawatt",
                _node_ip_address="127.0.0.1",
                _temp_dir=str(temp_dir),
                _system_config=dict(system_config) if system_config else None,
            )
    except BaseException as error:
        logs = _last_words(temp_dir)
        session.close()
        if isinstance(error, Exception):
            raise RayStartError(f"Ray did not start: {error}{logs}") from error
        raise
    _quiet()
    return session


def join_ray(address: str) -> RaySession:
    """Connect to the Ray cluster whose GCS is at ``address`` (``host:port``). Raises RayStartError where none answers."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise RayStartError(f"{address!r} is no address of a Ray cluster: allowed is host:port of its GCS, e.g. 10.0.0.5:6379")
    try:
        # Ray itself would wait for minutes.
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RayStartError(f"no Ray cluster answers at {address}: {error}") from error
    import ray
    from ray._private import ray_constants

    if ray.is_initialized():
        raise RayStartError("this process is connected to a Ray already: close that first")
    # A cluster on loopback knows this machine as 127.0.0.1, any other by its address.
    ray_constants.ENABLE_RAY_CLUSTER = host not in ("127.0.0.1", "localhost")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="gigawatt")
    except Exception as error:
        raise RayStartError(f"the Ray cluster at {address} does not let us in: {error}") from error
    _quiet()
    return RaySession(ours=False, cpus=int(_call(ray.cluster_resources).get("CPU", 0)))


def _spread(actors: int) -> list[dict[str, Any]]:
    """One CPU an actor, as many on each node as on any other."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    free = int(_call(ray.available_resources).get("CPU", 0))
    if free < actors:
        raise RayStartError(f"the Ray cluster has {free} free CPUs and each of the {actors} actors needs one: use --actors {max(free, 1)}")
    nodes = sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in _call(ray.nodes))
    bundles = min(actors, nodes)
    group = placement_group([{"CPU": len(range(first, actors, bundles))} for first in range(bundles)], strategy="STRICT_SPREAD")
    if not group.wait(_PLACEMENT_SECONDS):
        remove_placement_group(group)
        most = max(len(range(first, actors, bundles)) for first in range(bundles))
        raise RayStartError(
            f"{actors} actors over {bundles} nodes need {most} free CPUs on each, which the Ray cluster has not: use fewer with --actors"
        )
    return [
        {"num_cpus": 1, "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=actor % bundles)}
        for actor in range(actors)
    ]


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


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Workers import the ``emulator`` that this process runs, installed or not."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _quiet() -> None:
    """Ray prints the deaths of workers on our standard output, which is for data; they are reported by whoever misses the worker."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, **_: logger.debug("%s", data.get("lines"))


def _call(untyped: Callable[[], Any]) -> Any:
    """Ray's annotations stop at these."""
    return untyped()


def _temp_dir() -> Path:
    """A new directory, short enough for Ray's sockets."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp below makes a directory that is ours
        if len(os.fsencode(parent)) + len("/gigawatt-12345678") <= _LONGEST_TEMP:
            return Path(tempfile.mkdtemp(prefix="gigawatt-", dir=parent))
    raise RayStartError(f"the temporary directory's name must be at most {_LONGEST_TEMP - 18} bytes for Ray's sockets: set TMPDIR")


def _last_words(temp_dir: Path) -> str:
    """The end of Ray's own logs, for a message."""
    logs = sorted(temp_dir.glob("session_2*/logs/*.err")) + sorted(temp_dir.glob("session_2*/logs/gcs_server.out"))
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-3:]]
    return "".join(f"\n  {line}" for line in lines[-6:])
