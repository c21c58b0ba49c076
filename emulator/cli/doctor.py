"""``gigawatt doctor``: is this machine ready, and if not, what is missing."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from emulator.cli.errors import CommandError, Exit
from emulator.cli.output import Format, FormatOption, show_rows
from emulator.cli.ports import API_PORT, LOOPBACK, METRICS_PORT, check_free
from emulator.runtime.cpus import usable_cpus

#: A day of Colossus stays below 2.5 GiB over all processes; Ray and the system want some as well.
_MEMORY_BYTES = 3 * 2**30
#: Ray's object store lies in /dev/shm and complains below this.
_SHARED_BYTES = 512 * 2**20


class Status(StrEnum):
    """How a check went; the worst of all decides the exit code: 1 where one is ``missing``, else 0."""

    OK = "ok"
    WARNING = "warning"  # something optional is missing
    MISSING = "missing"  # gigawatt will not work


@dataclass(frozen=True)
class Finding:
    """One line of `gigawatt doctor`: what was looked at, and what was found there in words."""

    check: str
    status: Status
    detail: str


def doctor(output: FormatOption = Format.TABLE) -> None:
    """Check Python, packages, API stubs, memory, ports and Prometheus; exit 1 where something needed is missing."""
    findings = [finding for check in CHECKS for finding in check()]
    show_rows([asdict(finding) for finding in findings], {"check": "CHECK", "status": "STATUS", "detail": "DETAIL"}, output)
    missing = [finding.check for finding in findings if finding.status is Status.MISSING]
    if missing:
        raise CommandError(f"not ready: {', '.join(missing)}", Exit.FAILED)


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding("python", Status.OK if good else Status.MISSING, version if good else f"{version}; needed: 3.11 or newer")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    for package in ("ray", "numpy", "networkx", "grpcio", "pydantic", "pyarrow"):
        try:
            yield Finding(package, Status.OK, version(package))
        except PackageNotFoundError:
            yield Finding(package, Status.MISSING, "not installed; pip install -e . in the project installs it")


def _stubs() -> Iterator[Finding]:
    folder = Path(__file__).parent.parent / "v1"
    stubs = sorted(folder.glob("*_pb2.py"))
    if stubs:
        yield Finding("API stubs", Status.OK, f"{len(stubs)} in {folder}")
    else:
        yield Finding("API stubs", Status.MISSING, f"none in {folder}; pip install -e . generates them")


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB available"
    enough = memory.available >= _MEMORY_BYTES
    yield Finding("memory", Status.OK if enough else Status.WARNING, detail + ("" if enough else "; a day of colossus needs 3 GiB"))
    shared = Path("/dev/shm")  # noqa: S108 - asked how large it is
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        roomy = free >= _SHARED_BYTES
        hint = "" if roomy else "; Ray falls back to /tmp, which is slower (in Docker: --shm-size=1g)"
        yield Finding("shared memory", Status.OK if roomy else Status.WARNING, f"{free / 2**30:.1f} GiB free in /dev/shm{hint}")
    yield Finding("CPUs", Status.OK, f"{usable_cpus()} usable")


def _ports() -> Iterator[Finding]:
    for name, place, port in (("API port", "--port", API_PORT), ("metrics port", "--metrics-port", METRICS_PORT)):
        try:
            check_free(place, LOOPBACK, port)
            yield Finding(name, Status.OK, f"{LOOPBACK}:{port} is free")
        except CommandError as error:
            yield Finding(name, Status.WARNING, str(error))


def _programs() -> Iterator[Finding]:
    for program, purpose in (("prometheus", "to scrape the emulation"), ("promtool", "to check rules and to import history")):
        path = shutil.which(program)
        yield Finding(program, Status.OK if path else Status.WARNING, path or f"not found; only needed {purpose}")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _packages, _stubs, _memory, _ports, _programs)
