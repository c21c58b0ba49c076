"""Data on stdout as a table, JSON or YAML; words on stderr."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from emulator.service.client import Listing

#: Rows that a listing shows unless asked for more.
ROWS_SHOWN = 100
#: Numbers that name something: they can be pasted into a command, so nothing stands between their digits.
_IDS = frozenset({"fault_id", "job_id", "job_ids", "head_job_id", "rack", "host", "link"})
#: Of several in one cell of a table so many; JSON and YAML have all.
_IDS_SHOWN = 16
#: Wide enough that a table into a pipe or file is never folded.
_PIPE_WIDTH = 400


class Format(StrEnum):
    """How commands print rows; json and yaml have the same fields, for programs."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How to print: table, json or yaml.")]

LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, max=10_000_000, help=f"Rows to print at most. Default: {ROWS_SHOWN}; a note on stderr says if there are more."
    ),
]


def console(stream: IO[str] | None = None) -> "Console":
    """A rich console on ``stream`` (stdout). rich itself honours NO_COLOR and a stream that is no terminal."""
    from rich.console import Console

    target = stream or sys.stdout
    return Console(file=target, highlight=False, width=None if target.isatty() else _PIPE_WIDTH)


def note(text: str) -> None:
    """A line on stderr."""
    print(f"gigawatt: {text}", file=sys.stderr, flush=True)


def show_listing(ask: "Callable[[int], Listing[Any]]", limit: int | None, columns: Mapping[str, str], output: Format) -> None:
    """Print the first rows of what ``ask`` gives for a limit; a note says so where nobody asked for that limit and there are more."""
    listing = ask(limit or ROWS_SHOWN)
    rows = [asdict(row) for row in listing]
    show_rows(rows, columns, output)
    if limit is None and listing.total > len(rows):
        note(f"{len(rows):,} of {listing.total:,} shown; --limit {listing.total} shows all")


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], output: Format) -> None:
    """Print ``rows``; the table shows only ``columns`` (key -> heading), JSON and YAML everything."""
    if output is not Format.TABLE:
        _dump(list(rows), output)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for key, heading in columns.items():
        numeric = any(isinstance(row.get(key), int | float) and not isinstance(row.get(key), bool) for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(key, row.get(key))) for key in columns))
    console().print(table)


def show_one(record: Mapping[str, Any], output: Format, words: Mapping[str, str] | None = None) -> None:
    """Print one record; in the table nested mappings are indented, lists are a line an item, and ``words`` stand for their keys."""
    if output is not Format.TABLE:
        _dump(dict(record), output)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in record.items():
        label = (words or {}).get(key, key)
        if isinstance(value, Mapping):
            table.add_row(label, "" if value else "-")
            for inner, item in value.items():
                table.add_row(f"  {inner}", Text(cell(inner, item) if inner.endswith("_id") else word(item)))
        elif isinstance(value, list | tuple) and key not in _IDS:
            for place, item in enumerate(value):
                table.add_row("" if place else label, Text(cell(key, item)))
        else:
            table.add_row(label, Text(cell(key, value)))
    console().print(table)


def cell(key: str, value: Any) -> str:
    """A value as a table shows it under ``key``: ids as commands take them, everything else for reading."""
    if key in _IDS:
        if isinstance(value, list | tuple):
            more = f" and {len(value) - _IDS_SHOWN:,} more" if len(value) > _IDS_SHOWN else ""
            return (",".join(str(item) for item in value[:_IDS_SHOWN]) or "-") + more
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:.0f}"
    return word(value)


def word(value: Any) -> str:
    """A value for reading: thousands apart, floats to four digits, a dash for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 and math.isfinite(value) else f"{value:.4g}"
    return str(value)


def _dump(value: Any, output: Format) -> None:
    plain = _plain(value)
    if output is Format.JSON:
        print(json.dumps(plain, indent=2, allow_nan=False))
    else:
        import yaml

        print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")


def _plain(value: Any) -> Any:
    """JSON's own types; infinities as the words that the options take, NaN as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "max" if value > 0 else "-max"
    return value
