"""Imports point one way: from the shells to the core, and within a room in no circle (docs/architecture.md)."""

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: The rooms from the lowest to the highest; a room may import from the storeys below its own and from no other.
STOREYS = (
    ("emulator.draws", "topology"),
    ("emulator.workload", "emulator.power"),
    ("emulator.racks", "emulator.fabric", "emulator.jobs"),
    ("emulator.scheduler",),
    ("emulator.engine",),
    ("emulator.scenario",),
    ("emulator.store", "emulator.service", "emulator.openai", "emulator.telemetry", "emulator.report"),
    ("emulator.runtime",),
    ("emulator.experiments",),
    ("emulator.compiled",),
    ("emulator.cli",),
    ("emulator",),
)
#: Made by protoc, and for the rooms that speak gRPC only.
STUBS = "emulator.v1"
SPEAK_GRPC = {"emulator.service", "emulator.cli", "emulator.runtime"}
PURE = {room for storey in STOREYS[:5] for room in storey}
#: Neither other machines and processes, nor the wall clock, nor luck that is not drawn by counter.
IMPURE = {
    "ray",
    "grpc",
    "threading",
    "multiprocessing",
    "concurrent",
    "subprocess",
    "socket",
    "asyncio",
    "time",
    "random",
    "secrets",
    "uuid",
}


def modules() -> dict[str, Path]:
    """Every module of ours by its name, generated ones left out."""
    files = [path for package in ("emulator", "topology") for path in sorted((ROOT / package).rglob("*.py"))]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    return {name: path for name, path in names.items() if not name.startswith(STUBS)}


def imported(path: Path, name: str, known: frozenset[str]) -> Iterator[str]:
    """What a module imports at any place in it: modules of ours by their full name, others by their first."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (start, node.module) if part)
            targets = [deeper if (deeper := f"{source}.{alias.name}") in known else source for alias in node.names]
        else:
            continue
        yield from (target if target in known or target.startswith(STUBS) else target.split(".")[0] for target in targets)


@cache
def arrows() -> dict[str, frozenset[str]]:
    """What each module of ours imports."""
    known = modules()
    return {name: frozenset(imported(path, name, frozenset(known))) - {name} for name, path in known.items()}


def room_of(module: str) -> str | None:
    """The room of one of our modules, ``None`` for anything else."""
    parts = module.split(".")
    if parts[0] == "emulator":
        return ".".join(parts[:2])
    return "topology" if parts[0] == "topology" else None


def storey_of(room: str) -> int:
    return next(number for number, storey in enumerate(STOREYS) if room in storey)


def test_every_room_has_its_storey() -> None:
    rooms = {room_of(name) for name in modules()}
    assert rooms == {room for storey in STOREYS for room in storey}


def test_arrows_point_down() -> None:
    wrong = [
        f"{name} imports {target}"
        for name, targets in arrows().items()
        for target in sorted(targets)
        if (room := room_of(name)) and (other := room_of(target)) and other not in (room, STUBS) and storey_of(other) >= storey_of(room)
    ]
    assert wrong == []


def test_only_the_rooms_that_speak_grpc_know_its_stubs() -> None:
    assert {room_of(name) for name, targets in arrows().items() if any(target.startswith(STUBS) for target in targets)} <= SPEAK_GRPC


def test_the_core_is_pure() -> None:
    wrong = [f"{name} imports {target}" for name, targets in arrows().items() if room_of(name) in PURE for target in targets & IMPURE]
    assert wrong == []


@pytest.mark.parametrize("room", sorted(room for storey in STOREYS for room in storey))
def test_no_circle_of_files(room: str) -> None:
    inside = {
        name: {target for target in targets if room_of(target) == room} for name, targets in arrows().items() if room_of(name) == room
    }
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " -> ".join(error.args[1]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import ray.util as u", {"ray"}),
        ("def late():\n    from emulator.racks import shard, power", {"emulator.racks.shard", "emulator.racks.power"}),
        ("from emulator.racks.shard import Shard", {"emulator.racks.shard"}),
        ("from . import power", {"emulator.racks.power"}),
        ("from .power import Watts", {"emulator.racks.power"}),
        ("from ..fabric import plane", {"emulator.fabric.plane"}),
        ("from emulator.v1 import job_pb2", {"emulator.v1"}),
    ],
)
def test_every_way_to_import_is_seen(tmp_path: Path, text: str, found: set[str]) -> None:
    path = tmp_path / "other.py"
    path.write_text(text)
    assert set(imported(path, "emulator.racks.other", frozenset(modules()))) == found
