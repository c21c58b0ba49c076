"""The summary as a table on the terminal."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulator.report.tables import sections

if TYPE_CHECKING:
    from rich.table import Table


def summary_table(values: Mapping[str, Any]) -> "Table":
    """A rich table of a summary (``report.summary.summary``), with one section per subject."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, show_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in sections(values):
        table.add_row(Text(title, style="bold not dim"), "")
        for label, value in rows:
            table.add_row(f"  {label}", Text(value))
        table.add_section()
    return table
