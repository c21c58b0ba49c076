"""Reservations of a live emulation: made and ended over the API, kept in the journal."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from emulator.engine.reservation_control import ReservationRequest
from emulator.runtime.opening import open_replay, open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario
from emulator.service.client import Client, ClientError
from emulator.service.server import serve
from emulator.service.spec import JobSpec
from emulator.store.journal import Journal
from emulator.workload.jobs import SECOND, job_columns

TEXT = """
name: kept
cluster: {host: hgx-h100, hosts: 8, hosts_per_rack: 4, switch: qm9700}
clock: {cycle: 10s, until: 1d}
workload: {kind: none}
scheduler: {reservations: [{name: first, hosts: r00001-h00, start: 1h, duration: 1h}]}
faults: {enabled: false}
runtime: {actors: inline}
"""


def test_hosts_are_reserved_over_the_api(session: Callable[..., Session]) -> None:
    live = session(TEXT, endless=True)
    live.start()
    server = serve(live, "127.0.0.1:0", host_type=live.host_type, host_types=live.host_types, payload_ratio=live.payload_ratio)
    try:
        with Client(server.address) as client:
            client.pause()
            now = client.clock().emulated_seconds
            made = client.reserve(ReservationRequest("night", 3600.0, hosts=("r00000",), maintenance=True, running="requeue"))
            assert (made.hosts, made.host_count, made.maintenance, made.running) == ("r00000-h[00-03]", 4, True, "requeue")
            with pytest.raises(ClientError, match="r00000-h03 is kept at that time already, by maintenance of rack r00000") as caught:
                client.reserve(ReservationRequest("other", 60.0, hosts=("r00000-h03",), start_seconds=now + 600))
            assert caught.value.field == "start_seconds"
            with pytest.raises(ClientError, match="or was"):
                client.reserve(ReservationRequest("first", 60.0, hosts=("r00001",), start_seconds=40_000.0))
            with pytest.raises(ClientError, match="every is -1 s; allowed: 0 or more"):
                client.reserve(ReservationRequest("back", 60.0, hosts=("r00001",), start_seconds=40_000.0, every_seconds=-1.0))
            lab = client.reserve(ReservationRequest("lab", 7200.0, host_count=2, every_seconds=36_000.0, times=2))
            assert (lab.hosts, lab.windows_left) == ("r00001-h[02-03]", 2)
            client.step(2)
            job = client.submit(JobSpec(gpus=8, duration_seconds=60.0, reservation="lab", name="inside"))
            client.step(2)
            assert (client.job(job.job_id).hosts, client.job(job.job_id).reservation) == ("r00001-h02", "lab")
            plain = client.submit(JobSpec(gpus=8, duration_seconds=60.0))
            assert client.job(plain.job_id).reservation == ""
            assert [one.is_open for one in client.reservations()] == [False, True, True]
            assert [one.state.value for one in client.hosts(rack="r00000")] == ["maintenance"] * 4
            assert client.end_reservation("night").windows_left == 0
            client.step(1)
            assert [one.state.value for one in client.hosts(rack="r00000")] == ["healthy"] * 4
            with pytest.raises(ClientError, match="is over"):
                client.end_reservation("night")
            with pytest.raises(ClientError, match="no reservation 'none'"):
                client.end_reservation("none")
            with pytest.raises(ClientError, match="reservation night is maintenance"):
                client.submit(JobSpec(gpus=8, duration_seconds=60.0, reservation="night"))
    finally:
        server.stop()


def test_reservations_outlive_a_crash(session: Callable[..., Any], scenario: Callable[..., Scenario], tmp_path: Path) -> None:
    text = TEXT.replace("until: 1d", "until: 1d, speed: max")
    made = session(text, state_dir=tmp_path / "state")
    made.pause()
    made.start()
    night = ReservationRequest("night", 7200.0, hosts=("r00000",), start_seconds=1800.0, running="kill")
    view = made.reserve(night, request_id="once")
    made.reserve(ReservationRequest("lab", 600.0, hosts=("r00001-h03",), queues=("default",)))
    made.step(2)
    names = {"reservation": [-1, 0], "reservations": ("lab",)}
    times = [3600 * SECOND, 300 * SECOND]
    made.submit(job_columns(2, gpus=[32, 8], submit_ns=0, duration_ns=times, **names))
    made.step(2)
    made.end_reservation("lab")
    shutil.copytree(tmp_path / "state", tmp_path / "crashed")
    made.resume()
    assert made.wait(60)
    digest = made.outcome().digest
    assert [one.windows_left for one in made.reservations()] == [0, 0, 0]

    again: Any = open_session(scenario(text), state_dir=tmp_path / "crashed")
    with closing(again):
        again.pause()
        again.start()
        assert again.reserve(night, request_id="once") == view, "who asks again is told the same"
        again.resume()
        assert again.wait(60)
        assert again.outcome().digest == digest
    with closing(Journal.copy(tmp_path / "crashed")) as journal, closing(open_replay(journal, actors="inline")) as replayed:
        assert replayed.replay(journal).digest == digest
