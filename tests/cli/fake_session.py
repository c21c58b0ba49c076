"""A session that emulates nothing: the Control surface of the fake, and a run that ends when the test says so."""

import threading
from collections.abc import Callable
from dataclasses import replace

from emulator.engine.shards import Readings, ShardRange
from emulator.engine.snapshot import Snapshot
from emulator.openai import Serving
from emulator.racks.served_pools import ServedPools
from emulator.report.outcome import Outcome
from emulator.report.progress import Progress
from tests.report.example import build_outcome
from tests.service.conftest import FakeControl
from tests.telemetry.plausible import snapshot
from topology.catalog import HGX_H100, HostType


class FakeSession(FakeControl):
    def __init__(self, *, ends: bool = True, interrupted: bool = False) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.ended = threading.Event()
        if ends:
            self.ended.set()
        self.interrupted = interrupted
        self.head: tuple[str, ...] = ()

    @property
    def host_type(self) -> HostType:
        return HGX_H100

    @property
    def host_types(self) -> tuple[HostType, ...]:
        return (HGX_H100,)

    @property
    def collective(self) -> str:
        return "ring"

    @property
    def payload_ratio(self) -> float:
        return 1.0

    telemetry_detail = "rack"
    served_pools = ServedPools()
    serving: Serving | None = None
    notes = ()
    unkept = None

    @property
    def local_shards(self) -> tuple[ShardRange, ...]:
        return ()

    def askable(self) -> Serving | None:
        return self.serving

    def attach_metrics(self, address: str, publish: Callable[[Snapshot, Readings], None]) -> None:
        self.head = (address,)
        publish(snapshot(), Readings((), ()))

    def metrics_targets(self) -> tuple[str, ...]:
        return (*self.head, "127.0.0.1:50001", "127.0.0.1:50002")

    def run_to_end(self, progress: Callable[[Progress], None] | None = None) -> Outcome:
        self.calls.append("run_to_end")
        if progress is not None:
            progress(self.progress())
        if self.interrupted:
            raise KeyboardInterrupt
        return self.outcome()

    def start(self) -> None:
        self.calls.append("start")

    def wait(self, timeout_seconds: float | None = None) -> bool:
        return self.ended.wait(timeout_seconds)

    def stop(self) -> None:
        self.calls.append("stop")

    def progress(self) -> Progress:
        return Progress(7200.0, 86400.0, 1800.0, 100, 10, 20, 70, 128, 256)

    def outcome(self) -> Outcome:
        return replace(build_outcome(), scenario="laptop", interrupted=self.interrupted)

    def interrupt(self) -> None:
        self.interrupted = True

    def close(self) -> None:
        self.calls.append("close")
