import os

import pytest

from emulator.runtime.cpus import usable_cpus


def test_only_the_cpus_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 8}, raising=False)
    assert usable_cpus() == 3


@pytest.mark.parametrize(("counted", "usable"), [(10, 10), (None, 1)])
def test_where_the_system_does_not_tell_all_count(monkeypatch: pytest.MonkeyPatch, counted: int | None, usable: int) -> None:
    """macOS has no such call; Python's count is None where it cannot be found out."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert usable_cpus() == usable
