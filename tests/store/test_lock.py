"""One process a directory."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator.store.errors import JournalError
from emulator.store.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from pathlib import Path
from emulator.store.journal import Journal
from tests.store.conftest import SESSION
journal = Journal.keep(Path(sys.argv[1]), SESSION)
print("kept", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "kept\n"
    yield child
    child.kill()
    child.wait()


def test_a_second_process_is_refused_with_the_first_ones_id(
    holder: "subprocess.Popen[str]", keep: Callable[..., Journal], tmp_path: Path
) -> None:
    said = rf"state is in use by process {holder.pid}; allowed: another directory, or this one when that has ended"
    with pytest.raises(JournalError, match=said):
        keep()
    with pytest.raises(JournalError, match=said):
        Journal.copy(tmp_path / "state")


def test_a_dead_process_holds_nothing(holder: "subprocess.Popen[str]", keep: Callable[..., Journal]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    keep().append(0, "cancel", {"job_id": 1})


def test_one_process_may_not_open_it_twice_but_again(keep: Callable[..., Journal]) -> None:
    journal = keep()
    with pytest.raises(JournalError, match=f"in use by process {os.getpid()}"):
        keep()
    journal.close()
    keep()
