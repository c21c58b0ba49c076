"""Unknown attributes: those of drawings and of other programs are skipped, but a misspelt name of the vocabulary is an error."""

import re
from collections.abc import Iterable

#: Words that other programs use (networkx, Gephi, yEd, Graphviz, ...) and that are one letter away from one of ours.
_OF_OTHERS = frozenset({"cost", "line", "lines", "plane", "planes", "side", "size", "tail"})


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` misspells, if it does.

    It does if case or separators differ (``hostsPerRack``); if one letter is wrong, missing or too many, or two are swapped (up to two such
    faults in words of 8 letters or more); or if it is the known word up to a separator (``latency`` for ``latency_seconds``).
    """
    plain = _plain(word)
    if word in _OF_OTHERS or len(plain) < 3:
        return None
    best: tuple[float, str] | None = None
    for other in known:
        target = _plain(other)
        most = 2 if min(len(plain), len(target)) >= 8 else 1
        slips: float = _slips(plain, target, most)
        if slips > most:
            if not other.startswith(f"{word.lower()}_"):
                continue
            slips = most + 1
        if best is None or slips < best[0]:
            best = slips, other
    return best[1] if best else None


def _plain(word: str) -> str:
    return re.sub(r"[\s_.:-]+", "", word[:200]).lower()


def _slips(one: str, other: str, most: int) -> int:
    """Letters to put in, to leave out, to change, or neighbours to swap, to make ``other`` of ``one``; more than ``most``: most + 1.

    Optimal string alignment (Damerau, "A technique for computer detection and correction of spelling errors", CACM 7(3), 1964).
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        row = [i]
        for j, b in enumerate(other, start=1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return min(last[-1], most + 1)
