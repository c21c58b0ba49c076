"""What surrounds a live session: the gRPC server, the head's metrics, and waiting for its end."""

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from emulator.cli.errors import CommandError
from emulator.cli.ports import API_PORT, LOOPBACK
from emulator.cli.sessions import Observer, Session, what_is_built_stays
from emulator.cli.signals import Stop
from emulator.engine.shards import Readings
from emulator.engine.snapshot import Snapshot

#: Wall seconds that a thread computes before it lets another have the interpreter, where one waits.
SWITCH_SECONDS = 0.0005
#: New objects from one look for garbage to the next, looks to one that goes further, and such to one at all objects, which are the history
#: that watches resume from: in a cycle with 10,000 submissions it took as long as all else.
COLLECTIONS = (100_000, 50, 100)


@dataclass(frozen=True)
class Served:
    """Addresses as bound, host:port."""

    api: str
    metrics: str
    shard_metrics: tuple[str, ...]
    gpus: int


@contextmanager
def served(session: Session, *, host: str, port: int, metrics_port: int) -> Iterator[Served]:
    """Serve ``session`` inside the ``with`` block. Raises CommandError if a port is not available."""
    from emulator.service.server import ServeError, serve
    from emulator.telemetry.exporter import ShardText
    from emulator.telemetry.exposition import head_text
    from emulator.telemetry.server import MetricsServer, Page, metrics_groups

    page = Page()
    name = session.cluster().name
    try:
        metrics = MetricsServer(
            page,
            targets=lambda: metrics_groups(session.metrics_targets(), name),
            host=host,
            port=metrics_port,
            title=f"Gigawatt: {name}",
        )
    except OSError as error:
        raise CommandError(f"--metrics-port: {error.strerror or error}") from error
    with metrics:
        local = ShardText(session.topology, session.local_shards, session.telemetry_detail) if session.local_shards else None

        def publish(snapshot: Snapshot, readings: Readings) -> None:
            page.publish(lambda: head_text(snapshot) + (local(readings.racks, readings.planes) if local else b""))

        session.attach_metrics(metrics.address, publish)
        try:
            server = serve(
                session,
                f"{host}:{port}",
                host_type=session.host_type,
                host_types=session.host_types,
                payload_ratio=session.payload_ratio,
                collective=session.collective,
            )
        except ServeError as error:
            raise CommandError(f"--port: {error}") from error
        try:
            yield Served(server.address, metrics.address, session.metrics_targets()[1:], session.cluster().gpus)
        finally:
            server.stop()


def announce(addresses: Served, *, to_stderr: bool) -> None:
    """Say where everything is, and how to submit from another terminal."""
    default = addresses.api == f"{LOOPBACK}:{API_PORT}"
    more = f" and {len(addresses.shard_metrics)} more, one an actor" if addresses.shard_metrics else ""
    job = f"gigawatt job submit --gpus {min(1024, max(1, addresses.gpus // 4))} --duration 1h"
    print(
        f"API        {addresses.api} (gRPC, emulator.v1)\n"
        f"metrics    http://{addresses.metrics}/metrics{more}\n"
        f"discovery  http://{addresses.metrics}/sd (Prometheus http_sd_configs)\n"
        f"submit     {job}{'' if default else f' --api {addresses.api}'}\n"
        "Ctrl-C ends it.",
        file=sys.stderr if to_stderr else sys.stdout,
        flush=True,
    )


def follow(
    session: Session,
    stop: Stop,
    *,
    limit_seconds: float,
    glance_seconds: float,
    observer: Observer | None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Run ``session`` until it ends, the limit of wall seconds is reached or ``stop`` is asked for."""
    end = clock() + limit_seconds
    with what_is_built_stays():
        _answer_soon()
        session.start()
        try:
            while not stop.requested and (left := end - clock()) > 0:
                if session.wait(min(glance_seconds, left)):
                    return
                if observer is not None:
                    observer(session.progress())
        finally:
            session.stop()


def _answer_soon() -> None:
    """Keep answers from waiting for the interpreter: p99 of 1,000 submissions a second on `colossus` was 117 ms, then 44 and 27."""
    gc.set_threshold(*COLLECTIONS)
    sys.setswitchinterval(SWITCH_SECONDS)
