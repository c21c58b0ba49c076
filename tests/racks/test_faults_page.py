"""docs/faults.md says what the code does."""

from pathlib import Path

from emulator.racks.faults import CAUSES, Scope
from emulator.racks.unit_faults import OF_KIND
from emulator.racks.units import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def rows(heading: str) -> list[list[str]]:
    """Of the table with this first column, without marks of code."""
    lines = PAGE[PAGE.index(f"\n| {heading} |") + 1 :].split("\n\n", 1)[0].splitlines()
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def seconds(text: str) -> tuple[float, ...]:
    numbers, unit = text.partition(",")[0].split(" ")
    return tuple(float(number) * SECONDS[unit] for number in numbers.split("–"))


def test_the_causes_of_the_table_are_those_that_are_drawn() -> None:
    drawn = {cause.name: cause for cause in CAUSES if cause.count}
    table = rows("cause")
    assert [row[0] for row in table] == list(drawn)
    for name, count, takes, noticed, repair, *_ in table:
        cause = drawn[name]
        assert (int(count), takes, seconds(noticed)) == (cause.count, cause.scope.name.lower(), (cause.detection_seconds,))
        assert (repair == "none") == (cause.scope == Scope.PROCESS)
        assert repair == "none" or seconds(repair) == cause.repair_seconds


def test_the_units_of_the_table_are_those_that_there_are() -> None:
    table = rows("kind")
    assert [row[0] for row in table] == list(KINDS)
    for kind, cause, _, repair, _ in table:
        assert (cause, seconds(repair)) == OF_KIND[kind]


def test_every_cause_is_on_the_page() -> None:
    assert not [cause.name for cause in CAUSES if f"`{cause.name}`" not in PAGE and cause.name not in ("suspect_host", "slow_host")]
