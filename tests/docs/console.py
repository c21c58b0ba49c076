"""The ``console`` blocks of a page: commands behind ``$``, each with the output that a reader is shown.

A block's first line may go on with ``figures=vary``: its output is of a live session, so that every number differs from run to run. A line
``...`` stands for any lines. ``$ cat FILE`` shows a file; where it is not there yet, the page itself gives it to the reader.
Lines of progress are not compared: how many there are depends on the machine.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_OPENING = re.compile(r"```console(?P<words>.*)")
#: What differs between two runs of a command on the same machine, or between two machines, and what stands for it.
_VOLATILE = (
    (re.compile("─+"), "─"),
    (re.compile(r"in .+ of wall time \(\S+x\)"), "in WALL of wall time (SPEEDx)"),
    (re.compile(r"cost +\S.* of CPU, \S+ [GM]iB"), "cost CPU of CPU, MEMORY"),
    (re.compile(r"Ray, \d+ actors?"), "Ray, N actors"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r" --api 127\.0\.0\.1:PORT"), ""),
    (re.compile(r"and \d+ more, one an actor"), "and N more, one an actor"),
)
#: Those inside a name (r00012-h03, leaf-00003) stay.
_NUMBER = re.compile(r"(?<![\w-])\d[\d,]*(\.\d+)?(e-\d+)?(?![\d-])")
#: On stderr every ten seconds of wall time where there is no terminal.
_PROGRESS = re.compile(r"gigawatt: (resuming: )?\d+:\d\d:\d\d( of |, )")
_SPAN = re.compile(r"#( (d|h|min|s|ms|us)\b)( # (d|h|min|s|ms|us)\b)*")
_UNIT = re.compile(r"# [kMGT]?(?=(W|Wh|B|L)\b)")


@dataclass(frozen=True)
class Step:
    """One command, the line of the page that it stands on, and what is shown below it."""

    line: int
    command: str
    shown: tuple[str, ...]
    figures_vary: bool


def steps(page: str) -> list[Step]:
    """All commands of a page in order; behind a backslash, a command goes on in the next line.

    Raises ValueError for output without a command.
    """
    found: list[Step] = []
    block: list[tuple[int, str]] | None = None
    vary = False
    for number, line in enumerate(page.splitlines(), start=1):
        if block is None:
            if opening := _OPENING.fullmatch(line.strip()):
                block, vary = [], "figures=vary" in opening["words"].split()
        elif line.strip() == "```":
            found += _block(block, figures_vary=vary)
            block = None
        else:
            block.append((number, line.rstrip()))
    return found


def _block(lines: Sequence[tuple[int, str]], *, figures_vary: bool) -> Iterable[Step]:
    place, command, shown = 0, "", list[str]()
    for number, line in lines:
        if command.endswith("\\") and not shown:
            command = command[:-1].rstrip() + " " + line.strip()
        elif line.startswith("$ "):
            if command:
                yield Step(place, command, tuple(shown), figures_vary)
            place, command, shown = number, line[2:], []
        elif not command:
            raise ValueError(f"line {number}: output without a command")
        else:
            shown.append(line)
    if command:
        yield Step(place, command, tuple(shown), figures_vary)


def plain(line: str, *, figures_vary: bool) -> str:
    """``line`` without what may differ between two runs, and with one space where there are several."""
    for pattern, word in _VOLATILE:
        line = pattern.sub(word, line)
    if figures_vary:
        line = _UNIT.sub("# ", _SPAN.sub("# s", _NUMBER.sub("#", line)))
    return " ".join(line.split())


def differs(step: Step, output: str) -> str:
    """Where ``output`` is not what the page shows, in a sentence; "" where it is."""
    shown = [plain(line, figures_vary=step.figures_vary) for line in step.shown]
    given = [plain(line, figures_vary=step.figures_vary) for line in output.splitlines()]
    shown, given = ([line for line in lines if line and not _PROGRESS.match(line)] for lines in (shown, given))
    parts: list[list[str]] = [[]]
    for line in shown:
        if line == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    at = 0
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        starts = [at] if number == 0 else [len(given) - len(part)] if last else range(at, len(given) - len(part) + 1)
        place = next((start for start in starts if start >= at and given[start : start + len(part)] == part), None)
        if place is None:
            wrong = next((line for line in part if line not in given[at:]), part[0] if part else "")
            return f"line {step.line}: `{step.command}` does not print {wrong!r} there; it prints:\n{output}"
        at = place + len(part)
    if len(parts) == 1 and at < len(given):
        return f"line {step.line}: `{step.command}` also prints {given[at]!r}; it prints:\n{output}"
    return ""
