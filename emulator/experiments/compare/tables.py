"""A comparison as tables of text, for the terminal, the page and Markdown."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emulator.experiments.compare.cells import Variant
from emulator.experiments.compare.comparison import Comparison
from emulator.experiments.compare.intervals import CONFIDENCE, Estimate
from emulator.experiments.compare.metrics import SIZE_CLASSES

_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_ENERGIES = ((3.6e12, "GWh"), (3.6e9, "MWh"), (3.6e6, "kWh"), (3600.0, "Wh"))


@dataclass(frozen=True)
class Column:
    """A metric in a table. ``better`` is -1 where less is better, 1 where more is, 0 where neither."""

    metric: str
    heading: str
    better: int
    units: Sequence[tuple[float, str]] = ((1.0, ""),)


COLUMNS = (
    Column("wait_seconds.mean", "wait mean", -1, _TIMES),
    Column("wait_seconds.p90", "wait p90", -1, _TIMES),
    Column("wait_so_far_seconds.mean", "wait so far", -1, _TIMES),
    Column("completion_seconds.mean", "completion", -1, _TIMES),
    Column("bounded_slowdown.mean", "slowdown", -1),
    Column("fairness.jain_index", "fairness", 1),
    Column("gpu_allocation_ratio", "allocated", 1, ((0.01, "%"),)),
    Column("goodput_ratio", "goodput", 1, ((0.01, "%"),)),
    Column("fragmentation_ratio", "fragmented", -1, ((0.01, "%"),)),
    Column("it_energy_joules", "IT energy", 0, _ENERGIES),
    Column("jobs.finished", "finished", 1),
    Column("jobs.pending", "pending", -1),
    Column("jobs.preemptions", "preemptions", 0),
    Column("deadlines.met_ratio", "deadlines met", 1, ((0.01, "%"),)),
)
#: Shown only where some job is still pending, was preempted, or has a deadline: else they say nothing.
_ONLY_IF_ANY = {
    "wait_so_far_seconds.mean": "jobs.pending",
    "jobs.pending": "jobs.pending",
    "jobs.preemptions": "jobs.preemptions",
    "deadlines.met_ratio": "deadlines.jobs",
}


@dataclass(frozen=True)
class Table:
    """The first ``names`` columns hold names, the others numbers; all are text."""

    title: str
    headings: tuple[str, ...]
    names: int
    rows: tuple[tuple[str, ...], ...]

    @property
    def widths(self) -> list[int]:
        """The least of each column, in characters: a heading may be folded between words, a number may not."""
        columns = zip(*self.rows, strict=True)
        return [max(map(len, [*heading.split(), *cells])) for heading, cells in zip(self.headings, columns, strict=True)]


def tables(comparison: Comparison, scenario: str) -> list[Table]:
    """What a scenario has: means, differences from the baseline, and waits by size of job."""
    by_size = [Column(f"wait_so_far_seconds.mean.by_gpus.{name}", gpus(name), -1, _TIMES) for _, name in SIZE_CLASSES]
    found = [
        _means("means", comparison, scenario, COLUMNS),
        _differences(comparison, scenario),
        _means("wait so far by size of job", comparison, scenario, by_size),
    ]
    return [table for table in found if table.rows and len(table.headings) > table.names]


def notes(comparison: Comparison) -> list[str]:
    """What the tables mean, in sentences."""
    most = max((row.value.replicates for row in comparison.rows), default=0)
    percent = f"{100 * CONFIDENCE:g} %"
    base = name(comparison, comparison.baseline)
    if most == 0:
        return ["No run has ended, so there are no figures."]
    if most == 1:
        return ["One run each: there are no intervals, and small differences may be luck (--seeds 5, or --windows of a trace)."]
    told = [f"Means of {most} runs, ± half of the {percent} interval (Student's t); * the best mean."]
    if len(comparison.variants) > 1:
        told.append(f"Differences are paired: each run less that of {base} with the same work; * the interval leaves out 0.")
    return told


def gpus(size_class: str) -> str:
    """``9-64 GPUs``, ``1 GPU``."""
    return f"{size_class} GPU" + "s" * (size_class != "1")


def name(comparison: Comparison, variant: Variant) -> str:
    """With the placement where there are several."""
    return ", ".join(variant) if _several_placements(comparison) else variant.policy


def markdown(table: Table) -> str:
    """As Markdown."""
    rule = ["---"] * table.names + ["---:"] * (len(table.headings) - table.names)
    rows = ([cell.replace("|", r"\|").replace("*", r"\*") for cell in row] for row in (table.headings, rule, *table.rows))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def parts(table: Table, width: int, gap: int) -> list[Table]:
    """The columns in as many tables as ``width`` characters need, each with the names; ``gap`` characters lie between two columns."""
    widths = [gap + characters for characters in table.widths]
    names, found = sum(widths[: table.names]) - gap, [list[int]()]
    for place in range(table.names, len(widths)):
        if found[-1] and names + sum(widths[other] for other in found[-1]) + widths[place] > width:
            found.append([])
        found[-1].append(place)

    def part(places: list[int], title: str) -> Table:
        kept = [*range(table.names), *places]
        rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
        return Table(title, tuple(table.headings[place] for place in kept), table.names, rows)

    return [part(places, "" if number else table.title) for number, places in enumerate(found)]


def unit_of(values: Iterable[float | None], units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The largest unit, as (size, name), in which the largest of the values is at least 2; else the smallest."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    return next((unit for unit in units if largest >= 2 * unit[0]), units[-1])


def _means(title: str, comparison: Comparison, scenario: str, columns: Sequence[Column]) -> Table:
    """Without the columns in which all are equal, unless all columns are such."""
    said = {column: _values(comparison, scenario, column.metric) for column in columns if not _nothing(comparison, scenario, column.metric)}
    said = {column: estimates for column, estimates in said.items() if any(each.mean is not None for each in estimates)}
    different = {column: estimates for column, estimates in said.items() if len(set(estimates)) > 1}
    shown: list[tuple[str, list[str]]] = []
    for column, estimates in (different or said).items():
        means = {each.mean for each in estimates if each.mean is not None}
        best = (max if column.better > 0 else min)(means) if column.better and len(means) > 1 else None
        shown.append(_column(column, estimates, [best is not None and each.mean == best for each in estimates], signed=False))
    return _table(f"{scenario}: {title}", comparison, shown)


def _differences(comparison: Comparison, scenario: str) -> Table:
    shown: list[tuple[str, list[str]]] = []
    none = Estimate(None, None, None, 0)
    for column in COLUMNS:
        rows = [comparison.row(scenario, variant, column.metric) for variant in comparison.variants]
        estimates = [none if row is None or row.difference is None else row.difference for row in rows]
        if not any(each.mean for each in estimates) or _nothing(comparison, scenario, column.metric):
            continue
        sure = [each.low is not None and each.high is not None and (each.low > 0 or each.high < 0) for each in estimates]
        shown.append(_column(column, estimates, sure, signed=True))
    table = _table(f"{scenario}: differences from {name(comparison, comparison.baseline)}", comparison, shown)
    return Table(table.title, table.headings, table.names, table.rows[1:])


def _values(comparison: Comparison, scenario: str, metric: str) -> list[Estimate]:
    rows = [comparison.row(scenario, variant, metric) for variant in comparison.variants]
    return [Estimate(None, None, None, 0) if row is None else row.value for row in rows]


def _nothing(comparison: Comparison, scenario: str, metric: str) -> bool:
    """Whether a column has nothing to say."""
    return metric in _ONLY_IF_ANY and not any(each.mean for each in _values(comparison, scenario, _ONLY_IF_ANY[metric]))


def _column(column: Column, estimates: Sequence[Estimate], marked: Sequence[bool], *, signed: bool) -> tuple[str, list[str]]:
    """Heading and cells: all numbers of a column have the unit and the decimals of the largest."""
    size, unit = unit_of((each.mean for each in estimates), column.units)
    largest = max((abs(each.mean) for each in estimates if each.mean is not None), default=0.0) / size
    decimals = max(0, 2 - math.floor(math.log10(largest))) if largest > 0 else 0
    form = f"{'+' if signed else ''},.{min(decimals, 6)}f"

    def text(each: Estimate, mark: bool) -> str:
        if each.mean is None:
            return "-"
        half = "" if each.half_width is None else f" ±{each.half_width / size:{form.removeprefix('+')}}"
        return f"{each.mean / size:{form}}{half}" + (" *" if mark else "")

    heading = f"{column.heading} ({unit})" if unit else column.heading
    return heading, [text(each, mark) for each, mark in zip(estimates, marked, strict=True)]


def _table(title: str, comparison: Comparison, columns: Sequence[tuple[str, list[str]]]) -> Table:
    headings = ("policy", "placement") if _several_placements(comparison) else ("policy",)
    rows = tuple((*variant[: len(headings)], *(cells[at] for _, cells in columns)) for at, variant in enumerate(comparison.variants))
    return Table(title, (*headings, *(heading for heading, _ in columns)), len(headings), rows)


def _several_placements(comparison: Comparison) -> bool:
    return len({variant.placement for variant in comparison.variants}) > 1
