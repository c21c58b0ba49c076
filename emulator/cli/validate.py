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
        help="Rows of training steps or of serving as CSV, in place of the figures that Gigawatt has (docs/validity.md: the columns).",
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
    from emulator.experiments.validation.fields import RowsError, header_of, read_text
    from emulator.experiments.validation.figures import compare_all
    from emulator.experiments.validation.rows import parse_rows
    from emulator.experiments.validation.serving import compare_serving
    from emulator.experiments.validation.serving_rows import KNOWN_BY, parse_serving_rows

    if rows is None:
        return compare_all()
    try:
        text = read_text(rows)
        if set(header_of(text)) >= KNOWN_BY:
            return compare_serving(parse_serving_rows(text, str(rows)))
        return compare_training(parse_rows(text, str(rows)))
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
    if comparison.quantiles:
        print()
        quantiles = [
            {"quantity": one.quantity, "rows": one.rows, "within": one.within}
            | {"median": f"{100 * one.median_ratio:.1f} %", "median_bar": f"{100 * one.median_tolerance_ratio:.0f} %"}
            | {"p90": f"{100 * one.p90_ratio:.1f} %", "p90_bar": f"{100 * one.p90_tolerance_ratio:.0f} %"}
            for one in comparison.quantiles
        ]
        headings = {"quantity": "ERRORS OF SERVING", "rows": "ROWS", "median": "MEDIAN", "median_bar": "BAR", "p90": "90TH PERCENTILE"}
        show_rows(quantiles, headings | {"p90_bar": "BAR", "within": "WITHIN"}, Format.TABLE)
    if off := [one for one in comparison.sweeps if not one.within]:
        print()
        headings = {"sweep": "SWEEP", "rows": "ROWS", "published": "SATURATES AT", "ours": "OURS"}
        show_rows([one.words() for one in off], headings, Format.TABLE)
    alone = [row for row in comparison.rows if not row.in_quantile]
    parts = [f"{sum(row.within for row in alone)} of {len(alone)} rows within their bars"] if alone else []
    if many := len(comparison.rows) - len(alone):
        kept = all(one.within for one in comparison.quantiles)
        parts.append(f"{many} of serving {'within' if kept else 'not within'} those of their errors")
    median, most = (100 * words[key] for key in ("median_abs_error_ratio", "p90_abs_error_ratio"))
    note(f"{', and '.join(parts)}; error {median:.1f} % in the median, {most:.1f} % at the 90th percentile")
