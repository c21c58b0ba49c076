"""The files of a comparison, in one directory: for programs ``compare.json`` and Parquet, for people ``compare.html``, ``compare.md`` and
pictures.
"""

import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from emulator.experiments.compare.comparison import Comparison
from emulator.experiments.compare.metrics import WAIT_GRID_SECONDS
from emulator.experiments.compare.plots import plots
from emulator.experiments.compare.tables import Table, markdown, notes, tables
from emulator.report.files import write_files
from emulator.report.html import document, image
from emulator.report.summary import to_json


def write(directory: Path, comparison: Comparison) -> list[str]:
    """Write the files and return their names; ``compare.json`` is last, so if it is new all are. Raises OutputError."""
    drawn = {scenario: plots(comparison, scenario) for scenario in comparison.scenarios}
    named = {scenario: {f"{_stem(scenario)}-{stem}.svg": svg for stem, svg in found.items()} for scenario, found in drawn.items()}
    contents: dict[str, Callable[[Path], object]] = {
        "runs.parquet": lambda path: _parquet(path, comparison.run_rows()),
        "metrics.parquet": lambda path: _parquet(path, [row.as_dict() for row in comparison.rows]),
        "started.parquet": lambda path: _parquet(path, _started_rows(comparison)),
        **{name: _text(svg) for found in named.values() for name, svg in found.items()},
        "compare.md": _text(_markdown(comparison, named)),
        "compare.html": _text(page(comparison, drawn)),
        "compare.json": _text(to_json(comparison.as_dict())),
    }
    write_files(directory, contents)
    return list(contents)


def page(comparison: Comparison, drawn: dict[str, dict[str, str]]) -> str:
    """``compare.html``: one page without any other file or outside asset. ``drawn`` are the pictures by scenario."""
    parts = []
    for scenario in comparison.scenarios:
        parts += [_html(table) for table in tables(comparison, scenario)]
        parts += [f"<figure>{image(svg, f'{stem}, {scenario}')}</figure>" for stem, svg in drawn[scenario].items()]
    for cell, failed in comparison.failed:
        parts.append(f"<p>failed: {escape(str(cell))}: {escape(failed.error)}</p>")
    ended = ["Interrupted before its end: the figures cover the runs that ended."] if comparison.interrupted else []
    policies = dict.fromkeys(variant.policy for variant in comparison.variants)
    title = f"{', '.join(policies)} on {', '.join(comparison.scenarios)}"
    return document(escape(title), escape(" ".join([*ended, *notes(comparison)])), "".join(parts))


def _html(table: Table) -> str:
    def row(cells: tuple[str, ...]) -> str:
        return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"

    head = "".join(f"<th scope=col style='width:auto'>{escape(heading)}</th>" for heading in table.headings)
    return f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>{''.join(map(row, table.rows))}</table>"


def _markdown(comparison: Comparison, named: dict[str, dict[str, str]]) -> str:
    parts = []
    for scenario in comparison.scenarios:
        parts += [f"**{table.title}**\n\n{markdown(table)}" for table in tables(comparison, scenario)]
        parts.append("\n".join(f"![{name.removesuffix('.svg')}]({name})" for name in named[scenario]) + "\n")
    return "\n".join([*parts, *(note.replace("*", r"\*") for note in notes(comparison))]) + "\n"


def _started_rows(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {**variant._asdict(), "scenario": scenario, "wait_seconds": seconds, "started_ratio": ratio}
        for scenario in comparison.scenarios
        for variant in comparison.variants
        for seconds, ratio in zip(WAIT_GRID_SECONDS, comparison.started_ratios(scenario, variant), strict=False)
    ]


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


def _text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding="utf-8")


def _stem(scenario: str) -> str:
    """A scenario's label as a part of a file's name."""
    return (
        re.sub(r"[^A-Za-z0-9._-]+", "-", Path(scenario).stem if scenario.endswith((".yaml", ".yml")) else scenario).strip("-.")
        or "scenario"
    )
