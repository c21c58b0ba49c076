from collections.abc import Callable
from dataclasses import replace

import pytest

from emulator.report.outcome import JobTable, Outcome
from tests.report.example import build_jobs, build_outcome


@pytest.fixture
def outcome() -> Outcome:
    return build_outcome()


@pytest.fixture
def altered() -> Callable[..., JobTable]:
    """The jobs with some columns replaced."""
    return lambda **columns: replace(build_jobs(), **columns)
