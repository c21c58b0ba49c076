"""The mypy plugin finds sums and powers of floats in the pure core, and those alone."""

from pathlib import Path

import pytest

PLUGIN = Path(__file__).with_name("mypy_sums.py")
SOURCE = """\
import numpy as np

floats, whole = [0.5, 0.25], [1, 2]
wrong_1 = sum(floats)
wrong_2 = sum(one / 2 for one in whole)
wrong_3 = sum(np.ones(2).tolist(), 0.0)
wrong_4 = floats[0] ** floats[1]
wrong_5 = floats[0] ** 2
right_1 = sum(whole) + sum(one > 1 for one in whole)
right_2 = whole[0] ** 2 + 2.0**-52 + 10**9
right_3 = sum([np.zeros(2, dtype=np.int64)], np.zeros(2, dtype=np.int64))
"""


@pytest.mark.parametrize(("room", "expected"), [("fabric", [4, 5, 6, 7, 8]), ("report", [])])
def test_sums_and_powers_of_floats_are_errors_in_the_pure_core(tmp_path: Path, room: str, expected: list[int]) -> None:
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "emulator" / room / "example.py"
    file.parent.mkdir(parents=True)
    file.write_text(SOURCE)
    config = tmp_path / "mypy.ini"
    config.write_text(f"[mypy]\nplugins = {PLUGIN}\n")
    printed, errors, _ = api.run(["--config-file", str(config), "--cache-dir", str(tmp_path / "cache"), str(file)])
    lines = {int(line.split(":")[1]) for line in printed.splitlines() if ": error:" in line}
    assert (sorted(lines), errors) == (expected, ""), printed
