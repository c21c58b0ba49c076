"""An outcome does not show when jobs have left the engine."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emulator.engine.engine import Engine
from emulator.engine.gpu_time import HELD, held_time
from emulator.report import collect
from emulator.report.files import write
from emulator.report.job_rows import Reasons, all_jobs, rows_of
from emulator.report.spool import Spool
from emulator.runtime.opening import open_session
from emulator.scenario.load import load
from emulator.scheduler.table import State
from tests.engine.random_work import Manner, Work, run_work, work

#: What no two runs have in common.
OF_THE_MACHINE = ("wall_seconds", "cpu_seconds", "peak_rss_bytes")


@cache
def work_of(seed: int) -> Work:
    return work(seed)


def end_of(seed: int, policy: str, kept: int | None, at_once: int = 1) -> dict[str, Any]:
    """Everything that a report takes from the jobs of a random run; ``kept`` None: no job leaves."""
    spool, reasons, held = Spool(), Reasons(), [0] * len(HELD)

    def put_by(made: Engine, slots: Sequence[int]) -> None:
        now = held_time(made.table, slots, made.now_ns)
        held[:] = [before + more for before, more in zip(held, now, strict=True)]
        spool.add("jobs", rows_of(made, slots, reasons))

    def begin(made: Engine) -> None:
        if kept is not None:
            made.ends.kept, made.ends.at_once = kept, at_once
            made.ends.retire = lambda slots: put_by(made, slots)

    made = run_work(work_of(seed), seed, policy, Manner(begin=begin))
    there = [slot for slot in made.table.slot_of.values() if made.table.state[slot] != State.FUTURE]
    if kept is not None:
        assert made.ends.retired == max(0, (sum(made.chronicle.ended.values()) - kept) // at_once * at_once)
    put_by(made, there)
    table, *others = all_jobs(made, spool.chunks("jobs"), reasons)
    rest = [np.asarray(other).tobytes() for other in others]
    texts = {
        name: value
        for name, value in vars(table).items()
        if not isinstance(value, np.ndarray) and name not in ("reasons", "reason", "hosts")
    }
    arrays = {name: value.tobytes() for name, value in vars(table).items() if isinstance(value, np.ndarray) and name != "reason"}
    said = [table.reasons[number] if number >= 0 else "" for number in table.reason.tolist()]
    assert table.hosts is not None
    links = made.read_links()
    energy = [shard.energy_joules.tobytes() for shard in made.read().racks]
    return texts | arrays | {
        "said": said, "hosts": table.hosts(), "rest": rest, "held": held, "energy": energy,
        "carried": links.carried_bytes.tobytes(), "waits": (made.chronicle.waits, made.chronicle.events),
    }  # fmt: skip


@cache
def nobody_left(seed: int, policy: str) -> dict[str, Any]:
    return end_of(seed, policy, None)


@pytest.mark.parametrize("policy", ["fifo", "easy"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 300), kept=st.sampled_from([0, 1, 7]), at_once=st.sampled_from([1, 4]))
@example(seed=1, kept=0, at_once=1)
def test_when_jobs_leave_does_not_matter(policy: str, seed: int, kept: int, at_once: int) -> None:
    assert end_of(seed, policy, kept, at_once) == nobody_left(seed, policy)


@pytest.mark.parametrize("kept", [0, 1, 7])
@pytest.mark.parametrize("scenario", ["laptop", "eagle"])
def test_the_files_of_a_run_are_the_same(scenario: str, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(name: str, *, leave: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
        (tmp_path / name).mkdir()
        overrides = ["runtime.actors=inline", "clock.until=3h", "faults.host_rate_per_1000_node_days=300"]
        session = open_session(load(scenario, overrides))
        try:
            if leave:
                made = session._engine
                made.ends.kept, made.ends.at_once = kept, 1
            summary = write(tmp_path / name, session.run_to_end())
        finally:
            session.close()
        files = {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.parquet")}
        return {key: value for key, value in summary.items() if key not in OF_THE_MACHINE}, files

    stay = written("stay", leave=False)
    monkeypatch.setattr(collect, "SAMPLES_AT_ONCE", 7)
    assert written("leave", leave=True) == stay
    assert len(stay[1]) == 3
