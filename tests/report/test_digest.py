"""The digest changes with every value it covers, and with nothing else."""

import hashlib
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.report import digest as digest_module
from emulator.report.digest import digest
from emulator.report.outcome import JobTable

Placements = dict[int, list[tuple[int, int, int]]]
PLACEMENTS: Placements = {7: [(0, 0b1, 0xFF)], 3: [(1, 0b11, 0xFF)], 1: [(3, 2**63, 1), (2, 0xFF, 0xFF)]}


def columns(jobs: JobTable, placements: Placements) -> tuple[np.ndarray, ...]:
    rows = [placements.get(int(job), []) for job in jobs.job_id]
    flat = [row for job in rows for row in job]
    start = np.cumsum([0, *(len(job) for job in rows)])
    block, hosts, gpus = (np.array([row[i] for row in flat], dtype=t) for i, t in enumerate((np.int32, np.uint64, np.uint64)))
    return start, block, hosts, gpus


def of(jobs: JobTable, placements: Placements = PLACEMENTS, energy: tuple[float, ...] = (1.5, -0.0)) -> str:
    return digest(jobs, *columns(jobs, placements), rack_energy_joules=np.array(energy))


def plain(jobs: JobTable, placements: Placements, energy: tuple[float, ...]) -> str:
    """The same bytes, put together one by one."""
    data = digest_module.FORMAT + struct.pack("<q", len(jobs))
    order = sorted(range(len(jobs)), key=lambda i: int(jobs.job_id[i]))
    for i in order:
        job = int(jobs.job_id[i])
        times = (int(jobs.submit_ns[i]), int(jobs.start_ns[i]), int(jobs.end_ns[i]))
        numbers = (int(jobs.gpus[i]), int(jobs.preemptions[i]), int(jobs.restarts[i]), int(jobs.state[i]))
        data += struct.pack("<qqqqiiiiq", job, *times, *numbers, len(placements.get(job, [])))
    for i in order:
        rows = sorted(placements.get(int(jobs.job_id[i]), []), key=lambda row: (row[0], row[2], row[1]))
        data += b"".join(struct.pack("<qQQ", *row) for row in rows)
    return hashlib.sha256(data + struct.pack(f"<q{len(energy)}d", len(energy), *energy)).hexdigest()


def test_bytes_are_the_documented_ones(altered: Callable[..., JobTable]) -> None:
    assert of(altered()) == plain(altered(), PLACEMENTS, (1.5, -0.0))


def test_order_of_rows_and_chunks_do_not_matter(altered: Callable[..., JobTable], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = altered()
    expected = of(jobs)
    mixed = np.array([4, 0, 5, 2, 1, 3])
    shuffled = altered(**{name: column[mixed] for name, column in vars(jobs).items() if isinstance(column, np.ndarray)})
    assert of(shuffled) == expected
    assert of(jobs, PLACEMENTS | {1: PLACEMENTS[1][::-1]}) == expected
    monkeypatch.setattr(digest_module, "_CHUNK", 2)
    assert of(jobs) == expected
    assert of(shuffled) == expected


@pytest.mark.parametrize("name", ["gpus", "submit_ns", "start_ns", "end_ns", "state", "preemptions", "restarts"])
def test_every_covered_column_counts(altered: Callable[..., JobTable], name: str) -> None:
    column = getattr(altered(), name).copy()
    column[2] += 1
    assert of(altered(**{name: column})) != of(altered())


@pytest.mark.parametrize("name", ["reason", "queue", "tenant", "gpu_seconds", "network_slowdown_ratio", "placement_level"])
def test_nothing_else_counts(altered: Callable[..., JobTable], name: str) -> None:
    assert of(altered(**{name: getattr(altered(), name) + 1})) == of(altered())


@pytest.mark.parametrize("row", [(4, 2**63, 1), (3, 2**62, 1), (3, 2**63, 2)])
def test_placement_counts(altered: Callable[..., JobTable], row: tuple[int, int, int]) -> None:
    assert of(altered(), PLACEMENTS | {1: [row, (2, 0xFF, 0xFF)]}) != of(altered())


def test_a_placement_row_belongs_to_its_job(altered: Callable[..., JobTable]) -> None:
    assert of(altered(), {7: PLACEMENTS[7]}) != of(altered(), {8: PLACEMENTS[7]})


def test_energy_counts_bit_by_bit(altered: Callable[..., JobTable]) -> None:
    jobs = altered()
    results = {of(jobs, energy=e) for e in ((1.5, -0.0), (1.5, 0.0), (np.nextafter(1.5, 2), -0.0), (-0.0, 1.5), (1.5,))}
    assert len(results) == 5


def test_nonsense_is_refused(altered: Callable[..., JobTable]) -> None:
    jobs = altered(job_id=np.array([7, 3, 1, 2, 9, 7]))
    with pytest.raises(ValueError, match="repeat"):
        of(jobs)
    start, *rest = columns(altered(), PLACEMENTS)
    with pytest.raises(ValueError, match="allowed: 7"):
        digest(altered(), start[:-1], *rest, rack_energy_joules=np.zeros(1))


@settings(max_examples=40)
@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**64 - 1), st.integers(0, 255)), max_size=4), min_size=6, max_size=6))
def test_any_placement_agrees_with_the_plain_bytes(rows: list[list[tuple[int, int, int]]]) -> None:
    count = 6
    zeros = {name: np.zeros(count, dtype=np.int64) for name in JobTable.__dataclass_fields__ if name not in _WORDS}
    jobs = JobTable(**(zeros | {"job_id": np.array([5, 4, 9, 0, 2, 1])}))
    placements = dict(zip(jobs.job_id.tolist(), rows, strict=True))
    assert of(jobs, placements, ()) == plain(jobs, placements, ())


_WORDS = ("queues", "tenants", "reasons", "names")
