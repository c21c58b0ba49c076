"""How many tokens prompts and outputs have, by a named distribution, from 32 random bits each.

The distributions fitted to traces are tables of quantiles, written by `emulator.experiments.validation.fit_requests`. A table's prompt is
drawn by inversion, so the two highest bits of its chance are the quartile that the prompt is in; the output is drawn from the quantiles
of that quartile. So long prompts have the outputs of long prompts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import exp, log
from emulator.draws.normal import normal_quantile
from emulator.workload.requests.columns import MAX_TOKENS, Int64
from emulator.workload.requests.fitted import FITTED
from emulator.workload.requests.tables import CELLS, POINTS

_CELL_SHIFT = np.uint64(32 - 10)
#: Bits behind the point of a table's tokens.
_FRACTION = 8

UInt64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Length:
    """The distribution of one length: ``constant`` (tokens), ``uniform`` (low to high, both included), ``lognormal`` (mean, coefficient of
    variation) or ``fitted`` (a table of the name).

    A lognormal is rounded and kept within 1 to MAX_TOKENS.
    """

    kind: str
    first: float = 0.0
    second: float = 0.0
    table: str = ""

    def __post_init__(self) -> None:
        tokens = f"from 1 to {MAX_TOKENS}"
        match self.kind:
            case "constant":
                good, allowed = 1 <= self.first <= MAX_TOKENS and self.first == int(self.first), f"whole tokens {tokens}"
            case "uniform":
                whole = self.first == int(self.first) and self.second == int(self.second)
                good, allowed = whole and 1 <= self.first <= self.second <= MAX_TOKENS, f"whole tokens low <= high {tokens}"
            case "lognormal":
                good, allowed = 1 <= self.first <= MAX_TOKENS and 0.0 <= self.second <= 100.0, f"a mean {tokens}, a variation from 0 to 100"
            case "fitted":
                good, allowed = self.table in FITTED, ", ".join(FITTED)
            case _:
                raise ValueError(f"length: {self.kind!r} (allowed: constant, uniform, lognormal, fitted)")
        if not good:
            given = self.table if self.kind == "fitted" else f"{self.first:.15g}, {self.second:.15g}"
            raise ValueError(f"length {self.kind}: {given} (allowed: {allowed})")

    @property
    def mean(self) -> float:
        """Tokens in the mean, before a lognormal is rounded and cut."""
        match self.kind:
            case "uniform":
                return (self.first + self.second) / 2.0
            case "fitted":
                return _table_mean(FITTED[self.table].prompt)
        return self.first


def constant(tokens: int) -> Length:
    """Always as many."""
    return Length("constant", tokens)


def uniform_between(low: int, high: int) -> Length:
    """Each whole number from ``low`` to ``high`` as likely."""
    return Length("uniform", low, high)


def lognormal(mean: float, cv: float) -> Length:
    """Lognormal with this mean and coefficient of variation (standard deviation over mean)."""
    return Length("lognormal", mean, cv)


@dataclass(frozen=True)
class Lengths:
    """Lengths of prompt and output. Where both are of one table, the output follows the prompt's quartile."""

    prompt: Length
    output: Length

    def draw(self, chance_prompt: UInt64, chance_output: UInt64) -> tuple[Int64, Int64]:
        """Tokens of prompts and outputs from 32 random bits each."""
        prompt, output = self._drawers
        return prompt(chance_prompt, chance_prompt), output(chance_output, chance_prompt)

    @cached_property
    def _drawers(self) -> "tuple[_Drawer, _Drawer]":
        prompt_rows = (FITTED[self.prompt.table].prompt,) if self.prompt.table else ()
        output_rows = FITTED[self.output.table].output if self.output.table else ()
        return _drawer(self.prompt, prompt_rows), _drawer(self.output, output_rows)


#: Tokens of chances, given also the chances of the prompts.
_Drawer = Callable[[UInt64, UInt64], Int64]


def _drawer(length: Length, rows: tuple[tuple[int, ...], ...]) -> _Drawer:
    match length.kind:
        case "constant":
            return lambda chance, _: np.full(len(chance), int(length.first), np.int64)
        case "uniform":
            low, count = int(length.first), np.uint64(int(length.second) - int(length.first) + 1)
            return lambda chance, _: (chance * count >> np.uint64(32)).astype(np.int64) + low
        case "lognormal":
            return lambda chance, _: _lognormal(length, chance)
    return _table(rows)


def _lognormal(length: Length, chance: UInt64) -> Int64:
    """exp(mu + sigma z) with sigma**2 = ln(1 + cv**2) and mu = ln(mean) - sigma**2 / 2."""
    variance = log(1.0 + length.second * length.second)
    z = normal_quantile((chance.astype(np.float64) + 0.5) * 2.0**-32)
    tokens = exp(log(length.first) - 0.5 * variance + np.sqrt(variance) * z)
    return np.asarray(np.rint(np.clip(tokens, 1.0, float(MAX_TOKENS))), np.int64)


def _table(rows: tuple[tuple[int, ...], ...]) -> _Drawer:
    """Inversion of a table: a line from each point to the next, in whole numbers."""
    points = np.array(POINTS)
    cells = np.arange(CELLS + 1)
    left = np.minimum(np.searchsorted(points, cells, side="right") - 1, len(points) - 2)
    values = np.array(rows, np.int64) << _FRACTION
    ends = values[:, left] + (values[:, left + 1] - values[:, left]) * (cells - points[left]) // (points[left + 1] - points[left])
    low, width = ends[:, :-1].reshape(-1), np.diff(ends).reshape(-1)
    quarter = np.uint64(32 - 2)
    within = np.uint64((1 << int(_CELL_SHIFT)) - 1)

    def draw(chance: UInt64, chance_prompt: UInt64) -> Int64:
        cell = (chance >> _CELL_SHIFT).astype(np.int64)
        if len(rows) > 1:
            cell += (chance_prompt >> quarter).astype(np.int64) * CELLS
        spread = width[cell] * (chance & within).astype(np.int64) >> int(_CELL_SHIFT)
        return np.asarray((low[cell] + spread) >> _FRACTION)

    return draw


def _table_mean(row: tuple[int, ...]) -> float:
    parts = zip(row[:-1], row[1:], POINTS[:-1], POINTS[1:], strict=True)
    return sum((a + b) * (right - left) for a, b, left, right in parts) / (2 * CELLS) - 0.5


def fitted(table: str) -> Lengths:
    """Both lengths of a table."""
    return Lengths(Length("fitted", table=table), Length("fitted", table=table))


#: Output tokens of a reasoning answer. DeepSeek-R1 took 12,000 in the mean for a question of AIME (model card of DeepSeek-R1-0528, which itself
#: takes 23,000). Those are hard questions, so this is on the long side. The variation is assumed, and so are the prompts of a chat.
REASONING_MEAN, REASONING_CV = 12_000, 1.0

#: Lengths by name.
NAMED_LENGTHS: Mapping[str, Lengths] = {name: fitted(name) for name in FITTED} | {
    "reasoning": Lengths(Length("fitted", table="azure-conv"), lognormal(REASONING_MEAN, REASONING_CV)),
}
