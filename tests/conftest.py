"""What all tests may ask for."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from emulator import compiled
from emulator.runtime.ray_start import set_environment

# Some tests import Ray for its schemas, others start it: what it reads from the environment at import has to be there before all of them.
set_environment()

# No test fails for being slow: a busy machine is not wrong.
settings.register_profile("gigawatt", deadline=None)
settings.load_profile("gigawatt")

ROOT = Path(__file__).resolve().parent.parent


def pytest_report_header() -> str:
    return f"gigawatt: {'compiled' if compiled.IN_USE else 'interpreted'}"


@pytest.fixture(scope="session")
def traces() -> Path:
    """The folder of real traces; the test skips where it is absent, for they are never part of the repository."""
    folder = Path(os.environ.get("GIGAWATT_TRACES") or ROOT.parent / "shared" / "traces")
    if not folder.is_dir():
        pytest.skip(f"real traces: {folder} is not a folder; set GIGAWATT_TRACES to the one that holds them")
    return folder
