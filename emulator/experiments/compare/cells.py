"""What is run: a cell is one run, and every variant (policy and placement) of a scenario has the same replicates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from emulator.scenario import Scenario
from emulator.scenario.files import as_json
from emulator.workload.readers.times import format_date, parse_date, parse_number

#: More would be a mistake.
MOST_WINDOWS = 1000


class Variant(NamedTuple):
    """What is compared, as it was typed."""

    policy: str
    placement: str


@dataclass(frozen=True)
class Group:
    """A scenario with one variant, before it is repeated. ``label`` is the scenario's."""

    label: str
    variant: Variant
    scenario: Scenario
    to_end_of_work: bool  # else up to clock.until


class Window(NamedTuple):
    """A part of a trace, as its reader's options ``from`` and ``until``."""

    start: str
    end: str

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"


@dataclass(frozen=True)
class Cell:
    """One run. ``scenario`` is all of it as JSON values; ``replicate`` counts the runs of a group from 0."""

    label: str
    variant: Variant
    replicate: int
    seed: int
    window: Window | None
    scenario: Mapping[str, Any]
    to_end_of_work: bool

    def __str__(self) -> str:
        return f"{self.label}, {self.variant.policy}, {self.variant.placement}, " + (
            f"seed {self.seed}" if self.window is None else f"from {self.window}"
        )


def cells(groups: Sequence[Group], seeds: int | Sequence[int], windows: Sequence[Window] = ()) -> list[Cell]:
    """All runs: replicate by replicate, so that what has been run of an interrupted comparison can be compared.

    ``seeds`` is a number of them, from the scenario's own on, or all of them; ``windows``, where given, are the replicates instead.
    """
    found = []
    count = len(windows) or (seeds if isinstance(seeds, int) else len(seeds))
    for replicate in range(count):
        window = windows[replicate] if windows else None
        for group in groups:
            own = group.scenario.seed
            seed = own if windows else own + replicate if isinstance(seeds, int) else seeds[replicate]
            inline = group.scenario.runtime.model_copy(update={"actors": "inline"})
            changed: dict[str, Any] = {"seed": seed, "runtime": inline}
            if window is not None:
                options = {**group.scenario.workload.options, "from": window.start, "until": window.end}
                changed["workload"] = group.scenario.workload.model_copy(update={"options": options})
            scenario = as_json(group.scenario.model_copy(update=changed))
            found.append(Cell(group.label, group.variant, replicate, seed, window, scenario, group.to_end_of_work))
    return found


def cut(options: Mapping[str, str], length_ns: int) -> list[Window]:
    """The windows of that length from the trace option ``from`` up to ``until``; a shorter rest is left out. Raises ValueError."""
    edges = []
    for name in ("from", "until"):
        if name not in options:
            raise ValueError(f"the trace option {name} is not given; allowed: together with --trace-option from=... and until=...")
        number, date = parse_number(options[name]), parse_date(options[name])
        if number is None and date is None:
            raise ValueError(f"trace option {name}={options[name]} is neither a date nor a number of seconds")
        edges.append((number is None, date if number is None else number))
    (by_date, start), (also_by_date, end) = edges
    assert start is not None
    assert end is not None
    if by_date != also_by_date:
        raise ValueError("of the trace options from and until one is a date and one a number; allowed: two of a kind")
    count = (end - start) // length_ns
    if not 1 <= count <= MOST_WINDOWS:
        raise ValueError(f"from {options['from']} to {options['until']} are {max(0, count)} windows; allowed: 1 to {MOST_WINDOWS}")
    texts = [_moment(start + place * length_ns, by_date=by_date) for place in range(count + 1)]
    return [Window(texts[place], texts[place + 1]) for place in range(count)]


def _moment(ns: int, *, by_date: bool) -> str:
    if by_date:
        return format_date(ns).removesuffix("T00:00:00")
    whole, rest = divmod(ns, 10**9)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
