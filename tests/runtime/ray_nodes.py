"""Nodes of a Ray cluster as somebody else starts them, by ``ray start``: on loopback, or each in a network namespace of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
GIGAWATT = [sys.executable, "-m", "emulator.cli"]
#: A lost node is noticed within a second or two instead of 17.
QUICK_TO_NOTICE = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "200",
    "RAY_health_check_timeout_ms": "400",
    "RAY_health_check_failure_threshold": "3",
}
START_SECONDS = 60


@dataclass
class Node:
    address: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As a machine is lost: everything of it at once."""
        processes = [psutil.Process(self.process.pid)] if self.process.poll() is None else []
        for process in [child for one in processes for child in one.children(recursive=True)] + processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


@dataclass
class Nodes:
    """A cluster under construction; ``address`` is that of its head."""

    folder: Path
    address: str = ""
    nodes: list[Node] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    dashboard_port: int = 0

    def add_all(self, *cpus: int) -> None:
        """Nodes with so many CPUs each. One after the other: Ray gives a node 30 s to start, which two at once exceed on a busy machine."""
        for of_one in cpus:
            self.add(of_one)

    def add(self, cpus: int, *, packages: Path = ROOT, dashboard: bool = False) -> Node:
        """One more node, the first is the head; ``packages``: where its workers look for ours first."""
        number = len(self.nodes)
        host = f"10.221.0.{number + 1}" if self.namespaces else f"127.0.1.{number + 1}"
        options = [
            "--block",
            f"--num-cpus={cpus}",
            f"--node-ip-address={host}",
            f"--dashboard-agent-listen-port={free_port()}",  # or a second cluster on this machine has no agent, and takes no jobs
            "--object-store-memory=100000000",
        ]
        if number:
            options += [f"--address={self.address}"]
        else:
            port = free_port()
            self.address = f"{host}:{port}"
            options += ["--head", f"--port={port}", f"--temp-dir={self.folder}/ray", f"--include-dashboard={str(dashboard).lower()}"]
            self.dashboard_port = free_port()
            options += [f"--dashboard-port={self.dashboard_port}", f"--ray-client-server-port={free_port()}"]
        environment = self.environment | {"PYTHONPATH": str(packages)}
        log = (self.folder / f"node-{number}.log").open("wb")
        process = subprocess.Popen(
            [*self._inside(number), sys.executable, "-m", "ray.scripts.scripts", "start", *options],
            env=environment, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        node = Node(host, process)
        self.nodes.append(node)
        self._wait_for("Ray runtime started", number)
        return node

    def run(self, *arguments: str, on: int = 0, seconds: float = 150, **environment: str) -> subprocess.CompletedProcess[str]:
        """A command of ours on a node, to its end."""
        program = self.start(*arguments, on=on, **environment)
        out, err = program.communicate(timeout=seconds)
        return subprocess.CompletedProcess(program.args, program.returncode, out, err)

    def start(self, *arguments: str, on: int = 0, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._inside(on), *GIGAWATT, *arguments],
            env=self.environment | {"PYTHONPATH": str(ROOT)} | environment,
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _inside(self, number: int) -> list[str]:
        """What puts a command into the namespace of that number."""
        return ["ip", "netns", "exec", self.namespaces[number]] if self.namespaces else []

    def _wait_for(self, text: str, number: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        log = self.folder / f"node-{number}.log"
        while text not in log.read_text(errors="replace"):
            assert self.nodes[number].process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"Ray's node did not start in {START_SECONDS} s: {log.read_text()}"
            time.sleep(0.1)


@contextlib.contextmanager
def ray_nodes(*, namespaces: int = 0) -> Iterator[Nodes]:
    """A cluster without nodes yet, on loopback or, for at most ``namespaces`` nodes, with an address each. All is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nodes-", dir="/tmp"))  # Ray's sockets have short names
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
    environment |= QUICK_TO_NOTICE | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    environment |= {"RAY_TMPDIR": str(folder), "HOME": str(folder)}
    nodes = Nodes(folder, environment=environment)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if namespaces:
            nodes.namespaces = stack.enter_context(_namespaces(namespaces))
        try:
            yield nodes
        finally:
            for node in nodes.nodes:
                node.kill()


@contextlib.contextmanager
def _namespaces(count: int) -> Iterator[list[str]]:
    """Network namespaces on one bridge, 10.221.0.1 and on; skips the test where they are not to be had. The bridge is in the first."""
    stem = f"gw{os.getpid() % 100_000}"
    names = [f"{stem}n{number}" for number in range(count)]
    with contextlib.ExitStack() as stack:
        for number, name in enumerate(names):
            _ip(f"netns add {name}")
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False, capture_output=True)
            _ip(f"-n {name} link set lo up")
            if not number:
                _ip(f"-n {name} link add br0 type bridge")
                _ip(f"-n {name} addr add 10.221.0.1/24 dev br0")
                _ip(f"-n {name} link set br0 up")
                continue
            _ip(f"link add eth0 netns {name} type veth peer name port{number} netns {names[0]}")
            _ip(f"-n {name} addr add 10.221.0.{number + 1}/24 dev eth0")
            _ip(f"-n {name} link set eth0 up")
            _ip(f"-n {names[0]} link set port{number} master br0 up")
        yield names


def _ip(arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces need root and iproute2: {getattr(error, 'stderr', '') or error}")


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def stop(program: subprocess.Popen[str]) -> None:
    """End a program that may hang, with what it started."""
    for process in psutil.Process(program.pid).children(recursive=True) if program.poll() is None else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    program.kill()
    program.wait()
