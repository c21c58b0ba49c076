"""What is compiled gives what its sources give, and is left alone where the sources are others."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

from emulator import compiled
from emulator.compiled import MODULES, PACKAGE

ROOT = PACKAGE.parent
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
#: Prints whether the process runs what is compiled, and the files of two modules that may be.
WHICH = """
from pathlib import Path
from emulator import compiled
from emulator.engine import engine
from emulator.scheduler import ledger
print(compiled.IN_USE, *(Path(module.__file__).name for module in (engine, ledger)))
"""

#: Figures of a summary that are not of the emulation.
OF_THE_MACHINE = {"wall_seconds", "cpu_seconds", "peak_rss_bytes"}

needs_compiled = pytest.mark.skipif(not compiled.is_current(), reason="nothing is compiled here, or of other sources: `make compile`")


def python(*arguments: str, root: Path = ROOT, interpreted: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GIGAWATT_INTERPRETED": interpreted, "PYTHONPATH": str(root)}
    return subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_what_is_compiled_is_there_and_named_once() -> None:
    assert len(set(MODULES)) == len(MODULES)
    assert [module for module in MODULES if not (PACKAGE / module).is_file()] == []


@needs_compiled
def test_who_asks_for_the_sources_gets_them() -> None:
    assert python("-c", WHICH).stdout.split() == ["True", f"engine{SUFFIX}", f"ledger{SUFFIX}"]
    assert python("-c", WHICH, interpreted="0").stdout.split()[0] == "True"
    assert python("-c", WHICH, interpreted="1").stdout.split() == ["False", "engine.py", "ledger.py"]


@needs_compiled
@pytest.mark.parametrize("change", ["a source is edited", "the record is torn", "the record is gone"])
def test_what_was_made_of_other_sources_is_not_used(change: str, tmp_path: Path) -> None:
    for package in ("emulator", "topology"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    assert python("-c", WHICH, root=tmp_path).stdout.split()[0] == "True"
    record = tmp_path / compiled.RECORD.relative_to(ROOT)
    if change == "a source is edited":
        with (tmp_path / "emulator/scheduler/ledger.py").open("a") as ledger:
            ledger.write("__file__ = 'edited'\n")
    elif change == "the record is torn":
        record.write_text(record.read_text()[:-9])
    else:
        record.unlink()
    wanted = "edited" if change == "a source is edited" else "ledger.py"
    assert python("-c", WHICH, root=tmp_path).stdout.split() == ["False", "engine.py", wanted]


@cache
def summary(preset: str, policy: str, interpreted: str) -> dict[str, object]:
    """Of twelve hours, without what depends on the machine."""
    options = ("--until", "12h", "--seed", "3", "--actors", "inline", "--policy", policy, "--json", "-q")
    done = python("-m", "emulator.cli", "run", preset, *options, interpreted=interpreted)
    assert done.returncode == 0, done.stderr
    return {name: value for name, value in json.loads(done.stdout).items() if name not in OF_THE_MACHINE}


@needs_compiled
@pytest.mark.parametrize(("preset", "policy"), [("laptop", "fifo"), ("laptop", "conservative"), ("laptop", "las"), ("eagle", "easy")])
def test_every_figure_of_a_run_is_the_same(preset: str, policy: str) -> None:
    assert summary(preset, policy, "0") == summary(preset, policy, "1")


def test_a_machine_that_cannot_compile_is_told_so_and_goes_on(tmp_path: Path) -> None:
    for package in ("emulator", "topology"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.json", "*.so", "*.pyd"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CC": "no-such-compiler"}
    command = [sys.executable, "-m", "emulator.compiled.build"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("gigawatt: not compiled, since there is no C compiler (no-such-compiler): it runs as it is")
    assert done.stderr.count("\n") == 1
    assert python("-c", WHICH, root=tmp_path).stdout.split() == ["False", "engine.py", "ledger.py"]
