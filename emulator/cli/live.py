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
    openai: str  # the base URL of clients; "": nothing is served there
    shard_metrics: tuple[str, ...]
    gpus: int


@contextmanager
def served(session: Session, *, host: str, port: int, metrics_port: int, openai_port: int | None = None) -> Iterator[Served]:
    """Serve ``session`` inside the ``with`` block, its services to OpenAI's clients too where there is a port for them. Raises CommandError
    if a port is not available.
    """
    from emulator.service.server import ServeError, serve
    from emulator.telemetry.exporter import ShardText
    from emulator.telemetry.exposition import head_text
    from emulator.telemetry.server import MetricsServer, Page, metrics_groups
    from emulator.telemetry.service_page import services_html

    page, latest = Page(), [session.services()]
    name = session.cluster().name
    try:
        metrics = MetricsServer(
            page,
            targets=lambda: metrics_groups(session.metrics_targets(), name),
            host=host,
            port=metrics_port,
            title=f"Gigawatt: {name}",
            more=lambda: services_html(latest[0]),
        )
    except OSError as error:
        raise CommandError(f"--metrics-port: {error.strerror or error}") from error
    with metrics:
        shards = session.local_shards
        local = ShardText(session.topology, shards, session.telemetry_detail, session.served_pools) if shards else None

        def publish(snapshot: Snapshot, readings: Readings) -> None:
            latest[0] = list(snapshot.services)
            page.publish(lambda: head_text(snapshot) + (local(readings.racks, readings.planes, readings.serving) if local else b""))

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
            with _openai(session, openai_port) as url:
                yield Served(server.address, metrics.address, url, session.metrics_targets()[1:], session.cluster().gpus)
        finally:
            server.stop()


@contextmanager
def _openai(session: Session, port: int | None) -> Iterator[str]:
    """The endpoint for OpenAI's clients, on loopback alone, for it lets everybody in; its base URL."""
    if port is None:
        yield ""
        return
    from emulator.openai import OpenAiServer

    serving = session.askable()
    if serving is None:
        raise CommandError("--openai: the scenario has no services to ask; allowed: a scenario with a section services")
    try:
        server = OpenAiServer(serving, host=LOOPBACK, port=port)
    except OSError as error:
        raise CommandError(f"--openai: {error.strerror or error}") from error
    with server:
        yield server.url


def announce(addresses: Served, *, to_stderr: bool) -> None:
    """Say where everything is, and how to submit from another terminal."""
    default = addresses.api == f"{LOOPBACK}:{API_PORT}"
    more = f" and {len(addresses.shard_metrics)} more, one an actor" if addresses.shard_metrics else ""
    job = f"gigawatt job submit --gpus {min(1024, max(1, addresses.gpus // 4))} --duration 1h"
    openai = f"OpenAI     {addresses.openai} (chat/completions, completions, models)\n" if addresses.openai else ""
    print(
        f"API        {addresses.api} (gRPC, emulator.v1)\n"
        f"metrics    http://{addresses.metrics}/metrics{more}\n"
        f"discovery  http://{addresses.metrics}/sd (Prometheus http_sd_configs)\n"
        f"{openai}"
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
