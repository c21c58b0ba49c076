"""Hostlists as Slurm writes them: ``n[10-11,15]`` is n10, n11 and n15.

A list is names apart by commas (or white space); a name may have several brackets (``rack[0-63]_blade[0-41]``: the last one runs fastest)
and text after them; a number keeps the zeros it is written with (slurm.conf(5), NodeName).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, product
from math import prod
from operator import itemgetter

#: Most names of a list: twice the hosts of 4,000,000 GB200 (10 GW), which is about 2 GiB of graph.
MOST_NAMES = 2_000_000
#: Of one name, after expansion; Slurm's own limit is 64 for a switch, a DNS name has 253.
_LONGEST_NAME = 253
#: Brackets of one name; Slurm has machines of up to 5 dimensions.
_MOST_BRACKETS = 8
_MOST_DIGITS = 18

_Segment = str | list[str]


class HostlistError(ValueError):
    """Not a hostlist; ``position`` is the place of the fault in its text, from 1."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at character {position})")
        self.position = position


def expand(text: str, most: int = MOST_NAMES) -> list[str]:
    """The names of a hostlist, in its order, repeated ones included. Raises HostlistError, also for more than ``most`` names."""
    names: list[str] = []
    for start, word in _words(text):
        segments = _segments(word, start, most)
        count = prod(len(segment) for segment in segments if isinstance(segment, list))
        if len(names) + count > most:
            raise HostlistError(f"more than {most} names: {_short(word)} alone has {count}", start)
        longest = sum(len(segment) if isinstance(segment, str) else max(map(len, segment)) for segment in segments)
        if longest > _LONGEST_NAME:
            raise HostlistError(f"a name of {longest} characters: at most {_LONGEST_NAME} are allowed", start)
        names += map("".join, product(*([segment] if isinstance(segment, str) else segment for segment in segments)))
    return names


def fold(names: Sequence[str]) -> str:
    """The hostlist of ``names``, from which `expand` returns them in the same order. Raises ValueError for a name that no hostlist can
    hold.
    """
    parts: list[str] = []
    for name in names:
        if not name or re.search(r"[\s,\[\]#\x00-\x1f\x7f]", name):
            raise ValueError(f"{name!r} cannot be in a hostlist: a name has no white space, comma, bracket or #")
    for _, alike in groupby((re.split(r"(\d{1,18})", name) for name in names), key=lambda segments: (len(segments), segments[::2])):
        group = list(alike)
        fields = [segments[1::2] for segments in group]
        for folded in _folded(fields):
            texts = group[0][::2]
            parts.append("".join(text + field for text, field in zip(texts, [*folded, ""], strict=True)))
    return ",".join(parts)


def _words(text: str) -> Iterator[tuple[int, str]]:
    """(position, word) of what stands between commas outside brackets."""
    depth, start = 0, 0
    for at, letter in enumerate(text + ","):
        if letter == "[":
            if depth:
                raise HostlistError("a bracket inside a bracket", at + 1)
            depth = 1
        elif letter == "]":
            if not depth:
                raise HostlistError("']' without '['", at + 1)
            depth = 0
        elif letter == "," or letter.isspace():
            if depth:
                if at == len(text):
                    raise HostlistError("'[' without ']'", text.rindex("[") + 1)
                continue
            if word := text[start:at]:
                yield start + 1, word
            start = at + 1
        elif not letter.isprintable():
            raise HostlistError(f"{letter!r} cannot be in a name", at + 1)


def _segments(word: str, start: int, most: int) -> list[_Segment]:
    """A word's texts and the numbers of its brackets, in turn."""
    pieces = re.split(r"\[([^]]*)\]", word)
    if len(pieces) > 2 * _MOST_BRACKETS + 1:
        raise HostlistError(f"more than {_MOST_BRACKETS} brackets in a name", start)
    segments: list[_Segment] = []
    position = start
    for place, piece in enumerate(pieces):
        if place % 2:
            segments.append(_numbers(piece, position + 1, most))
            position += len(piece) + 2
        else:
            segments.append(piece)
            position += len(piece)
    return segments


def _numbers(text: str, position: int, most: int) -> list[str]:
    """``10-11,15`` as its numbers, zeros kept."""
    numbers: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(rf"([0-9]{{1,{_MOST_DIGITS}}})(?:-([0-9]{{1,{_MOST_DIGITS}}}))?", part.strip())
        if not match:
            raise HostlistError(f"{_short(part)!r} is not a number or a range such as 0-7", position)
        low, high = match[1], match[2] or match[1]
        count = int(high) - int(low) + 1
        if count < 1:
            raise HostlistError(f"the range {low}-{high} runs backwards", position)
        if len(numbers) + count > most:
            raise HostlistError(f"the range {low}-{high} has {count} numbers: at most {most} are allowed", position)
        numbers += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
        position += len(part) + 1
    return numbers


def _folded(rows: list[list[str]]) -> Iterator[list[str]]:
    """Rows of numbers as fewer rows of numbers and brackets: the last field is folded first, then the others where the rest is the same."""
    fields = len(rows[0])
    for field in reversed(range(fields)):
        merged: list[list[str]] = []
        others = [(*row[:field], *row[field + 1 :]) for row in rows]
        for _, alike in groupby(zip(others, rows, strict=True), key=itemgetter(0)):
            run = [row for _, row in alike]
            merged.append([*run[0][:field], _ranges([row[field] for row in run]), *run[0][field + 1 :]])
        rows = merged
    yield from rows


def _ranges(numbers: list[str]) -> str:
    """Numbers in their order as ranges, in brackets where they are several."""
    if len(numbers) == 1:
        return numbers[0]
    runs: list[list[str]] = []
    for number in numbers:
        if runs and _follows(runs[-1][-1], number, runs[-1][0]):
            runs[-1].append(number)
        else:
            runs.append([number])
    return "[" + ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) + "]"


def _follows(last: str, number: str, first: str) -> bool:
    """Whether ``number`` continues the range from ``first`` to ``last``."""
    return str(int(last) + 1).zfill(len(first)) == number


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
