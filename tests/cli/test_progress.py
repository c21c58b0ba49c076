"""Progress in words, and how often."""

import pytest

from emulator.cli import progress
from emulator.report.progress import Progress

HALFWAY = Progress(43_200.0, 86_400.0, 1800.0, 12_345, 40, 300, 12_005, 87_000, 100_000)


def test_words() -> None:
    assert progress.words(HALFWAY) == (
        "12:00:00 of 24:00:00, 1,800x, 12,345 jobs: 40 pending, 300 running, 12,005 ended; 87 % of GPUs; 24 s left"
    )


def test_without_an_end_nothing_is_left_and_nothing_divides_by_zero() -> None:
    assert (
        progress.words(Progress(90_061.0, None, 0.0, 0, 0, 0, 0, 0, 0))
        == "25:01:01, 0x, 0 jobs: 0 pending, 0 running, 0 ended; 0 % of GPUs"
    )


def test_lines_come_every_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    with progress.shown(quiet=False, clock=lambda: now) as observer:
        assert observer is not None
        for now in (1.0, 9.0, 10.5, 11.0, 20.6):  # noqa: B007 - the clock reads it
            observer(HALFWAY)
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 2)


def test_quiet_is_quiet() -> None:
    with progress.shown(quiet=True) as observer:
        assert observer is None
