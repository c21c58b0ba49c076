"""The kinds of machine that one machine can be: processors without some of its vector instructions, and other versions of Python."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14")


@cache
def disabled_features() -> dict[str, str]:
    """What to put into NPY_DISABLE_CPU_FEATURES, by name: nothing, AVX-512 where there is such, and all that numpy chooses code by."""
    module = np._core._multiarray_umath  # type: ignore[attr-defined]  # numpy tells it nowhere else
    found = [name for name in module.__cpu_dispatch__ if module.__cpu_features__.get(name)]
    newest = [name for name in found if "AVX512" in name or name == "X86_V4"]
    named = {"all": [], "without AVX-512": newest, "baseline": found}
    return {name: " ".join(features) for name, features in named.items() if name == "all" or features}


def pythons() -> list[str]:
    """Interpreters to try: those of GIGAWATT_PYTHONS (as PATH), of ``make digests``, and on the path."""
    given = [path for path in os.environ.get("GIGAWATT_PYTHONS", "").split(os.pathsep) if path]
    made = sorted(str(path) for path in (ROOT / ".venvs").glob("*/bin/python"))
    return given + made or list(PYTHONS)


def run(*arguments: object, python: str = sys.executable, disabled: str = "", hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    """Python on these arguments in the repository, on such a machine."""
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled, "PYTHONHASHSEED": str(hash_seed), "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [python, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
