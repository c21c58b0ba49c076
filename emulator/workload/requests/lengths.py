"""How many tokens prompts and outputs have, by a named distribution, from 32 random bits each.

The distributions fitted to traces are tables of quantiles, written by `emulator.experiments.validation.fit_requests`. A table's prompt is
drawn by inversion, so the two highest bits of its chance are the quartile that the prompt is in; the output is drawn from the quantiles
of that quartile. So long prompts have the outputs of long prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emulator.draws.exact import exp, log
from emulator.draws.normal import normal_quantile
from emulator.workload.requests.columns import MAX_TOKENS, Int64
from emulator.workload.requests.fitted import FITTED
from emulator.workload.requests.tables import CELLS, POINTS

#: Of 32 bits the highest ten say which cell it is, the other where in it; the highest two are the quarter.
_CELL_SHIFT, _WITHIN_CELL, _QUARTER_SHIFT = np.uint64(22), np.uint64((1 << 22) - 1), np.uint64(30)
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
        prompt = _tokens(self.prompt, self._cells[0], chance_prompt, chance_prompt)
        return prompt, _tokens(self.output, self._cells[1], chance_output, chance_prompt)

    @cached_property
    def _cells(self) -> "tuple[_Cells | None, _Cells | None]":
        prompt = _cells((FITTED[self.prompt.table].prompt,)) if self.prompt.table else None
        return prompt, _cells(FITTED[self.output.table].output) if self.output.table else None


def _tokens(length: Length, cells: "_Cells | None", chance: UInt64, chance_prompt: UInt64) -> Int64:
    if cells is not None:
        return cells.tokens(chance, chance_prompt)
    if length.kind == "constant":
        return np.full(len(chance), int(length.first), np.int64)
    if length.kind == "uniform":
        low, count = int(length.first), np.uint64(int(length.second) - int(length.first) + 1)
        return (chance * count >> np.uint64(32)).astype(np.int64) + low
    return _lognormal(length, chance)


def _lognormal(length: Length, chance: UInt64) -> Int64:
    """exp(mu + sigma z) with sigma**2 = ln(1 + cv**2) and mu = ln(mean) - sigma**2 / 2."""
    variance = log(1.0 + length.second * length.second)
    z = normal_quantile((chance.astype(np.float64) + 0.5) * 2.0**-32)
    tokens = exp(log(length.first) - 0.5 * variance + np.sqrt(variance) * z)
    return np.asarray(np.rint(np.clip(tokens, 1.0, float(MAX_TOKENS))), np.int64)


@dataclass(frozen=True, eq=False)
class _Cells:
    """A table spread over cells: where each begins and how wide it is, with _FRACTION bits behind the point; row behind row."""

    low: Int64
    width: Int64
    rows: int

    def tokens(self, chance: UInt64, chance_prompt: UInt64) -> Int64:
        """Inversion: a line from each point to the next, in whole numbers."""
        cell = (chance >> _CELL_SHIFT).astype(np.int64)
        if self.rows > 1:
            cell += (chance_prompt >> _QUARTER_SHIFT).astype(np.int64) * CELLS
        spread = self.width[cell] * (chance & _WITHIN_CELL).astype(np.int64) >> 22
        return np.asarray((self.low[cell] + spread) >> _FRACTION)


def _cells(rows: tuple[tuple[int, ...], ...]) -> _Cells:
    points, cells = np.array(POINTS), np.arange(CELLS + 1)
    left = np.minimum(np.searchsorted(points, cells, side="right") - 1, len(points) - 2)
    values = np.array(rows, np.int64) << _FRACTION
    ends = values[:, left] + (values[:, left + 1] - values[:, left]) * (cells - points[left]) // (points[left + 1] - points[left])
    return _Cells(ends[:, :-1].reshape(-1), np.diff(ends).reshape(-1), len(rows))


def _table_mean(row: tuple[int, ...]) -> float:
    parts = zip(row[:-1], row[1:], POINTS[:-1], POINTS[1:], strict=True)
    return sum((a + b) * (right - left) for a, b, left, right in parts) / (2 * CELLS) - 0.5


def fitted(table: str) -> Lengths:
    """Both lengths of a table."""
    return Lengths(Length("fitted", table=table), Length("fitted", table=table))


#: Output tokens of a reasoning answer. DeepSeek-R1 took 12,000 in the mean for a question of AIME (model card of DeepSeek-R1-0528, which
#: itself takes 23,000). Those are hard questions, so this is on the long side. The variation is assumed, as are the prompts of a chat.
REASONING_MEAN, REASONING_CV = 12_000, 1.0

#: Lengths by name.
NAMED_LENGTHS: Mapping[str, Lengths] = {name: fitted(name) for name in FITTED} | {
    "reasoning": Lengths(Length("fitted", table="azure-conv"), lognormal(REASONING_MEAN, REASONING_CV)),
}
