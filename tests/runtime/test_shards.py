"""Every runtime gives the in-process answers: with any number of shards and actors, and whoever is killed on the way."""

import logging
import os
import signal
import urllib.request
from collections.abc import Sequence

import numpy as np
import psutil
import pytest

from emulator.engine.shards import ShardsLost, Window
from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.racks.messages import RackOrder, RackOrders
from emulator.racks.shard import RackSettings
from emulator.runtime import ray_link, ray_shards
from emulator.runtime.inline import InlineShards
from emulator.runtime.ray_address import RayStartError
from emulator.runtime.ray_shards import RayShards
from tests.runtime.conftest import Script
from tests.runtime.counting_exporter import CountingExporter
from topology.cluster import Cluster

RACKS = RackSettings(faults=FaultSettings(host_rate_per_1000_node_days=2e5))
FABRIC = FabricSettings()
SEED = 5


@pytest.fixture(scope="session")
def expected(cluster: Cluster, script: Script) -> list[Sequence[object]]:
    return script.run(cluster, InlineShards(cluster, RACKS, FABRIC, SEED))


def actor_processes() -> list[psutil.Process]:
    """Processes of this one's actors, by the name that Ray gives them."""
    return [process for process in psutil.Process().children(recursive=True) if process.name().startswith("ray::Shar")]


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.mark.parametrize("shards", [2, 3, 99])
def test_shards_in_process_answer_alike(
    cluster: Cluster,
    script: Script,
    expected: list[Sequence[object]],
    shards: int,
) -> None:
    assert script.run(cluster, InlineShards(cluster, RACKS, FABRIC, SEED, shards)) == expected


def test_the_script_exercises_everything(cluster: Cluster, script: Script, expected: list[Sequence[object]]) -> None:
    assert sum(len(events) for events in expected[0::2]) > 100
    assert len(InlineShards(cluster, RACKS, FABRIC, SEED, 99).ranges) > 2
    assert InlineShards(cluster, RACKS, FABRIC, SEED).plane_count == 8
    assert InlineShards(cluster, RACKS, FABRIC, SEED).metrics_addresses() == ()


@pytest.mark.ray
@pytest.mark.parametrize("actors", [1, 2, 5])
def test_actors_answer_as_in_process(
    cluster: Cluster,
    script: Script,
    expected: list[Sequence[object]],
    actors: int,
) -> None:
    before = set(children())
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=actors)
    try:
        assert shards.actor_count == actors
        assert shards.plane_count == 8
        assert len(actor_processes()) == actors
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in {psutil.Process(), *children()} - before
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}, "on one machine everything listens on loopback only"
        assert script.run(cluster, shards) == expected
        assert shards.rebuilds == 0
    finally:
        shards.close()
        shards.close()
    assert set(children()) <= before, "nothing is left behind"


@pytest.mark.ray
def test_killed_actors_are_rebuilt_and_nobody_notices(
    cluster: Cluster,
    script: Script,
    expected: list[Sequence[object]],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Kills before a snapshot, after one, two actors at once, and one again at the next window; their metrics keep their address."""
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=3, exporter=CountingExporter, snapshot_windows=7)
    addresses = shards.metrics_addresses()

    def between(window: int) -> None:
        for process in actor_processes()[: {2: 1, 17: 2, 18: 1}.get(window, 0)]:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    with caplog.at_level(logging.WARNING):
        try:
            assert script.run(cluster, shards, between) == expected
            assert shards.rebuilds == 4
            assert shards.metrics_addresses() == addresses
            for address in addresses:
                with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as reply:
                    assert reply.read().startswith(b"racks ")
        finally:
            shards.close()
    assert "goes on as epoch 2" in caplog.text
    assert capfd.readouterr().out == "", "standard output is for data"


@pytest.mark.ray
@pytest.mark.parametrize("part", ["/raylet ", "/gcs_server ", "emulator.runtime.ray_driver", "agent"])
def test_a_ray_that_dies_is_replaced_and_nobody_notices(
    cluster: Cluster,
    script: Script,
    expected: list[Sequence[object]],
    part: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ray ends the driver's process with its raylet, its GCS or an agent: another Ray takes up the snapshots and logs."""
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=2, snapshot_windows=7)

    def between(window: int) -> None:
        if window == 16:
            next(process for process in children() if part in " ".join(process.cmdline()).lower()).kill()

    with caplog.at_level(logging.WARNING):
        try:
            assert script.run(cluster, shards, between) == expected
        finally:
            shards.close()
    assert children() == [], "nothing is left behind"


@pytest.mark.ray
def test_without_another_ray_the_shards_come_into_this_process(
    cluster: Cluster,
    script: Script,
    expected: list[Sequence[object]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=2, snapshot_windows=7)

    def between(window: int) -> None:
        if window == 16:
            monkeypatch.setattr(ray_shards, "RayLink", refuse)
            next(process for process in children() if "emulator.runtime.ray_driver" in process.cmdline()).kill()

    def refuse(*_: object, **__: object) -> None:
        raise RayStartError("no more")

    with caplog.at_level(logging.WARNING):
        try:
            assert script.run(cluster, shards, between) == expected
        finally:
            shards.close()
    assert "Ray cannot be started again (no more)" in caplog.text
    assert "goes on in this process" in caplog.text


def test_a_driver_that_ends_at_once_is_a_ray_that_did_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(RayStartError, match="Ray did not start: the process that drives Ray ended with code 1"):
        ray_link.RayLink("local", object_bytes=0, system_config=None)


@pytest.mark.ray
def test_a_run_that_ends_waits_for_nobody(cluster: Cluster, script: Script, expected: list[Sequence[object]]) -> None:
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=2)

    def between(window: int) -> None:
        if window == 20:
            shards.end()
            for process in actor_processes():
                process.suspend()

    try:
        assert script.run(cluster, shards, between) == expected
    finally:
        shards.close()
    assert children() == []


@pytest.mark.ray
def test_an_actor_that_hangs_is_replaced(cluster: Cluster, script: Script, expected: list[Sequence[object]]) -> None:
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=2, answer_seconds=5.0)
    try:
        assert script.run(cluster, shards, lambda window: actor_processes()[0].suspend() if window == 5 else None) == expected
        assert shards.rebuilds == 1
    finally:
        shards.close()


@pytest.mark.ray
def test_errors_of_a_shard_come_through_and_the_answers_go_on(cluster: Cluster, script: Script, expected: list[Sequence[object]]) -> None:
    """A refused window leaves the other actors of that barrier ahead of the head: all are brought back to where the head is."""
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=2)

    def between(window: int) -> None:
        if window == 4:
            until = script.untils[window]
            first, second = (int(np.searchsorted(cluster.block.first_host, span.first_host)) for span in shards.ranges)
            good = orders([(0, RackOrder.OCCUPY, first, 1, 1, 5, 0)])
            bad = orders([(until + 2, RackOrder.OCCUPY, second, 1, 1, 5, 0)])
            with pytest.raises(ValueError, match="after the window's end"):
                shards.advance(Window(until + 1, {0: good, 1: bad}))

    try:
        assert script.run(cluster, shards, between) == expected
    finally:
        shards.close()


def orders(rows: list[tuple[int, RackOrder, int, int, int, int, int]]) -> RackOrders:
    dtypes = (np.int64, np.int8, np.int32, np.uint64, np.uint64, np.int64, np.int64, np.int16, np.int8)
    whole = [(*row, 0, 0) for row in rows]
    return RackOrders(*(np.array([row[i] for row in whole], dtype) for i, dtype in enumerate(dtypes)))


@pytest.mark.ray
def test_what_cannot_be_had_is_said(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = RayShards(cluster, RACKS, FABRIC, SEED, actors=1)
    try:
        monkeypatch.setattr(ray_shards, "REBUILDS", 0)
        (process,) = actor_processes()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(ShardsLost, match="actor 0 died"):
            shards.read(0)
    finally:
        shards.close()
    with pytest.raises(RayStartError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        RayShards(cluster, RACKS, FABRIC, SEED, actors=1, address="127.0.0.1:1")
    assert actor_processes() == []
