"""A signal at any instant ends ``run`` and ``up`` in good order: the files of what ran, the exit code, and nothing left behind.

``GIGAWATT_ENDINGS=50`` tries that many at random instants of their first minute, instead of four.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.program import COMMAND, ROOT, descendants

#: Wall seconds from the signal to the end of the process.
LIMIT_SECONDS = 5.0
#: By now every start-up is over and a cycle has run, also on a busy machine.
STARTED_SECONDS = 25.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PLACES = (("run", "inline"), ("up", "2"), ("run", "2"), ("up", "inline"))

_random = random.Random(8)
_WANTED = int(os.environ.get("GIGAWATT_ENDINGS", "4"))
_LONGEST = 60.0 if _WANTED > 4 else 10.0
CASES = [(*PLACES[k % 4], SIGNALS[k % 3], _random.uniform(0.1, _LONGEST)) for k in range(_WANTED)]


@pytest.mark.ray
@pytest.mark.parametrize(("verb", "actors", "number", "delay_seconds"), CASES)
def test_a_signal_ends_it_in_good_order(tmp_path: Path, verb: str, actors: str, number: signal.Signals, delay_seconds: float) -> None:
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    ports = ("--port", "0", "--metrics-port", "0", "--speed", "max") if verb == "up" else ("--until", "60d")
    process = subprocess.Popen(
        [*COMMAND, verb, "colossus", "--actors", actors, "-o", str(out), *ports],
        cwd=ROOT, env=os.environ | {"TMPDIR": str(temporary)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    children: list[psutil.Process] = []
    try:
        with pytest.raises(subprocess.TimeoutExpired):  # it does not end by itself
            process.wait(delay_seconds)
        children = descendants(process.pid)
        began = time.monotonic()
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
        took = time.monotonic() - began
        assert process.returncode == 130, printed
        assert took < LIMIT_SECONDS, printed
        if (out / "summary.json").exists():
            assert json.loads((out / "summary.json").read_text())["interrupted"] is True
            assert {path.name for path in out.iterdir()} >= {"jobs.parquet", "timeline.parquet", "links.parquet", "report.html"}
        else:
            assert delay_seconds < STARTED_SECONDS, printed
        assert [child for child in children if child.is_running()] == []
        assert list(temporary.iterdir()) == []
    finally:
        process.kill()
        for child in children:
            if child.is_running():
                child.kill()
