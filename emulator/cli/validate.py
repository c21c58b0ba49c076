"""``gigawatt validate``: what the models say beside what was published."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.errors import CommandError, Exit
from emulator.cli.output import Format, FormatOption, note, show_one, show_rows
from emulator.cli.values import path

if TYPE_CHECKING:
    from emulator.experiments.validation.compare import Comparison

RowsOption = Annotated[
    Path | None,
    typer.Option(
        "--rows",
        parser=path,
        metavar="FILE",
        help="Rows of training steps as CSV, in place of the published figures that come with Gigawatt (docs/validity.md has the columns).",
        show_default=False,
    ),
]


def validate(
    *,
    rows: RowsOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout: as -o json.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Compare the models with published figures. Exit code 0 where all are within their bars, otherwise 1."""
    comparison = _comparison(rows)
    if json or output is not Format.TABLE:
        show_one(comparison.words(), Format.JSON if json else output)
    else:
        _show(comparison)
    if not comparison.within:
        raise typer.Exit(Exit.FAILED)


def _comparison(rows: Path | None) -> "Comparison":
    from emulator.experiments.validation.compare import compare_training
    from emulator.experiments.validation.figures import compare_all
    from emulator.experiments.validation.rows import RowsError, read_rows

    if rows is None:
        return compare_all()
    try:
        return compare_training(read_rows(rows))
    except RowsError as error:
        raise CommandError(f"--rows: {error}") from error


def _show(comparison: "Comparison") -> None:
    words = comparison.words()
    lines = [
        {
            **row,
            "published": f"{row['published']:,.4g}" if row["published"] < 1e4 else f"{row['published']:,.0f}",
            "ours": f"{row['ours']:,.4g}" if row["ours"] < 1e4 else f"{row['ours']:,.0f}",
            "error": f"{100 * row['error_ratio']:+.1f} %",
            "tolerance": f"±{100 * row['tolerance_ratio']:.0f} %",
        }
        for row in words["rows"]
    ]
    headings = {"id": "ID", "quantity": "QUANTITY", "published": "PUBLISHED", "ours": "OURS", "error": "ERROR", "tolerance": "BAR"}
    show_rows(lines, headings | {"within": "WITHIN", "source": "SOURCE"}, Format.TABLE)
    if comparison.losses:
        print()
        losses = [
            {
                **loss,
                "published": f"{100 * loss['published']:.1f} %",
                "ours": f"{100 * loss['ours']:.1f} %",
                "tolerance": f"±{100 * loss['tolerance']:.0f} points",
            }
            for loss in words["scaling"]
        ]
        headings = {"series": "LOSS PER GPU", "from_gpus": "FROM GPUS", "gpus": "TO GPUS", "published": "PUBLISHED", "ours": "OURS"}
        show_rows(losses, headings | {"tolerance": "BAR", "within": "WITHIN"}, Format.TABLE)
    count, inside = len(comparison.rows), sum(row.within for row in comparison.rows)
    median, most = (100 * words[key] for key in ("median_abs_error_ratio", "p90_abs_error_ratio"))
    note(f"{inside} of {count} rows within their bars; error {median:.1f} % in the median, {most:.1f} % at the 90th percentile")
