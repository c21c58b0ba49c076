"""Tables of what was measured, printed at the end of the run."""

from collections.abc import Callable, Sequence

import pytest

Cell = str | float | int
_TABLES = pytest.StashKey[dict[str, list[Sequence[Cell]]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_TABLES] = {}


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``row(title, column=value, ...)`` adds a row to the table of that title."""
    tables = request.config.stash[_TABLES]

    def add(title: str, **cells: Cell) -> None:
        tables.setdefault(title, [tuple(name.replace("_", " ") for name in cells)]).append(tuple(cells.values()))

    return add


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for title, rows in config.stash[_TABLES].items():
        texts = [[f"{cell:,.3g}" if isinstance(cell, float) else str(cell) for cell in cells] for cells in rows]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        terminalreporter.write_sep("-", title)
        for cells in texts:
            terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
