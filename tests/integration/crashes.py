"""A live session whose head is killed over and over while clients submit, then ended: nothing acknowledged is lost, nothing is done twice.

``python -m tests.integration.crashes --crashes 20 eagle --actors inline`` for the evidence; a test runs a few.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from pyarrow import parquet

from emulator.service.client import Client, ClientError
from emulator.service.spec import JobSpec
from tests.integration.program import COMMAND, ROOT, descendants, run

#: Clients and submissions per second over all of them.
CLIENTS, RATE = 4, 200


@dataclass
class Told:
    """What clients were told: request id -> job id."""

    accepted: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    repeats: int = 0


def submit(address: str, number: int, stop: threading.Event, told: Told) -> None:
    """Submit one job after the other; a request without an answer is repeated with its id until it has one.

    Now and then one is repeated that has been answered: its answer must be the first.
    """
    draw, count = random.Random(number), 0
    with Client(address, timeout_seconds=5.0) as client:
        while not stop.is_set():
            request_id = f"client-{number}-{count}"
            gpus, duration = 8 * (1 + count % 16), 60.0 + count % 500
            while not stop.is_set():
                try:
                    job = client.submit(JobSpec(gpus=gpus, duration_seconds=duration, name=request_id), request_id=request_id)
                except ClientError as error:
                    if error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "FAILED_PRECONDITION"):
                        told.broken.append(str(error))
                        return
                    time.sleep(0.02)
                    continue
                if told.accepted.setdefault(request_id, job.job_id) != job.job_id:
                    told.broken.append(f"{request_id} was {told.accepted[request_id]} and became {job.job_id}")
                break
            count += 1
            if count and draw.random() < 0.05:  # a client that forgot, of the last requests
                count = max(0, count - 3)
                told.repeats += 1
            time.sleep(CLIENTS / RATE)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class Report:
    crashes: int
    accepted: int
    repeats: int
    digest: str
    replayed: str


def crash(folder: Path, arguments: list[str], *, crashes: int, seed: int, longest_seconds: float) -> Report:
    """Raises AssertionError for whatever was lost, done twice or comes out otherwise."""
    draw, state, port, told, stop = random.Random(seed), folder / "state", free_port(), Told(), threading.Event()
    command = [*COMMAND, "up", *arguments, "--state", str(state), "--port", str(port), "--metrics-port", "0"]
    clients = [threading.Thread(target=submit, args=(f"127.0.0.1:{port}", number, stop, told)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for number in range(crashes):
            log, up = folder / f"{number}.log", draw.random() < 0.8  # the others while it starts, or resumes
            process = _start(command, log, wait_for="Ctrl-C ends it." if up else "")
            time.sleep(draw.uniform(0.0, longest_seconds))
            assert process.poll() is None, log.read_text()
            started = descendants(process.pid)
            process.kill()
            process.wait()
            for child in started:  # Ray's own; they would end by themselves, later
                if child.is_running():
                    child.kill()
            print(f"crash {number + 1}: {len(told.accepted)} jobs accepted", file=sys.stderr)
        process = _start([*command, "-o", str(folder / "out"), "--speed", "max"], folder / "last.log", wait_for="Ctrl-C ends it.")
        time.sleep(1.0)
    finally:
        stop.set()
        for client in clients:
            client.join()
    if "--until" not in arguments:
        process.terminate()
    assert process.wait(600) in (0, 130), (folder / "last.log").read_text()
    assert not told.broken, told.broken[:3]
    rows = parquet.read_table(folder / "out" / "jobs.parquet").to_pydict()
    there = [job for job in rows["job_id"] if job >= 10**9]
    assert len(set(there)) == len(there)
    assert len(set(told.accepted.values())) == len(told.accepted), "two requests have the same job"
    missing = set(told.accepted.values()) - set(there)
    assert not missing, f"{len(missing)} acknowledged jobs are lost"
    assert len(there) <= len(told.accepted) + CLIENTS, "jobs were done twice"
    digest = json.loads((folder / "out" / "summary.json").read_text())["digest"]
    summary, _ = run("replay", state, "--actors", "inline", "-q", seconds=600)
    assert summary["digest"] == digest
    return Report(crashes, len(told.accepted), told.repeats, digest, summary["digest"])


def _start(command: list[str], log: Path, *, wait_for: str = "") -> "subprocess.Popen[bytes]":
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    while wait_for and wait_for not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    return process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=2.0, help="wall seconds from a start to its kill, at most")
    known, arguments = parser.parse_known_args()
    with TemporaryDirectory() as folder:
        print(crash(Path(folder), arguments, crashes=known.crashes, seed=known.seed, longest_seconds=known.longest))


if __name__ == "__main__":
    main()
