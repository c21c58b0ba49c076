"""From rows of a file to a trace of requests: the part that all formats share.

Rows stand in any order, and are sorted by arrival; equal ones keep their places. Memory holds columns alone.
"""

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from emulator.workload.jobs import SECOND
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Row, Trace
from emulator.workload.readers.times import MAX_SECONDS, format_date, parse_number
from emulator.workload.readers.window import choice, window
from emulator.workload.requests.columns import MAX_TOKENS, Int64, RequestColumns
from emulator.workload.requests.cursor import runs
from emulator.workload.requests.trace import RequestTrace, trace_length_ns

#: Options of every format.
COMMON_OPTIONS: Mapping[str, str] = {
    "from": "seconds of the trace's clock, or a date where it has dates; time counts from there, else from the first request",
    "until": "the same; requests before it are kept",
    "rate": "how many times as fast as they were the requests come; default 1",
    "repeat": "how often the trace is played: a number, or `forever`; default 1",
    "affinity": "`prefix` (default): requests that share a prefix go to one pool; `none`: each goes where its own draw says",
    "bad_rows": "`error` (default): a malformed row ends the reading; `skip`: it is left out and counted",
}
#: The largest value of `rate` and `repeat`.
MAX_RATE, MAX_REPEATS = 1e6, 10**6
#: The largest number that a hash or a session of a file may have: repetitions are counted above it.
MAX_HASH = 2**40


class Asked(NamedTuple):
    """One request of a file."""

    arrival_ns: int
    prompt: int
    output: int
    hashes: list[int] | None = None  # of the blocks that the file names
    session: int = -1  # -1: none
    priority: int = 0


def tokens(row: Row, word: str) -> int:
    """How many tokens; a request without any is none."""
    return row.integer(word, 1, MAX_TOKENS)


@dataclass
class _Columns:
    arrival_ns: "array[int]" = field(default_factory=lambda: array("q"))
    prompt: "array[int]" = field(default_factory=lambda: array("q"))
    output: "array[int]" = field(default_factory=lambda: array("q"))
    session: "array[int]" = field(default_factory=lambda: array("q"))
    priority: "array[int]" = field(default_factory=lambda: array("q"))
    hash_count: "array[int]" = field(default_factory=lambda: array("q"))
    hashes: "array[int]" = field(default_factory=lambda: array("q"))

    def append(self, one: Asked) -> None:
        self.arrival_ns.append(one.arrival_ns)
        self.prompt.append(one.prompt)
        self.output.append(one.output)
        self.session.append(one.session)
        self.priority.append(one.priority)
        self.hash_count.append(len(one.hashes or ()))
        if one.hashes:
            self.hashes.extend(one.hashes)


def _number(values: "array[int]") -> Int64:
    return np.array(values, dtype=np.int64)


def read_requests(
    trace: Trace,
    rows: "Iterator[Asked | TraceError]",
    options: Mapping[str, str],
    *,
    dates: bool,
    block_tokens: int,
) -> RequestTrace:
    """The trace of parsed rows; the report of ``trace`` says what was kept. Raises TraceError."""
    limits = window(options, seconds=not dates, dates=dates)
    rate, repeats = _rate(options), _repeats(options)
    together = choice(options, "affinity", ("prefix", "none")) == "prefix"
    found, report = _Columns(), trace.report
    for one in rows:
        if isinstance(one, TraceError):
            if not trace.skip_bad_rows:
                raise one
            trace.drop("malformed")
        elif reason := limits.outside(one.arrival_ns):
            trace.drop(reason)
        else:
            found.append(one)
    report.kept = len(found.prompt)
    if not report.kept:
        left_out = ", ".join(f"{count}: {reason}" for reason, count in report.dropped.items())
        raise trace.error(f"no request is left ({left_out})" if left_out else "the file has no request", allowed="at least one")
    requests, zero_ns = _columns(trace, found, limits.from_ns, rate)
    report.zero_seconds = zero_ns / SECOND
    clock = format_date(zero_ns) if dates else f"{zero_ns / SECOND:g} s"
    report.notes.append(f"time counts from {clock}" + ("" if limits.from_ns is not None else ", when the first request kept arrived"))
    length_ns = trace_length_ns(requests.arrival_ns)
    return RequestTrace(requests, length_ns, repeats, together, block_tokens)


def _columns(trace: Trace, found: _Columns, from_ns: int | None, rate: float) -> tuple[RequestColumns, int]:
    """The requests in order, and what 0 is on the trace's own clock."""
    arrival_ns = _number(found.arrival_ns)
    back = int(np.count_nonzero(arrival_ns[1:] < arrival_ns[:-1]))
    if back:
        trace.report.notes.append(f"{back:,} rows are earlier than the row before: sorted by arrival")
    order = np.argsort(arrival_ns, kind="stable")
    arrival_ns = arrival_ns[order]
    zero_ns = int(arrival_ns[0]) if from_ns is None else from_ns
    arrival_ns = arrival_ns - zero_ns
    if rate != 1.0:
        arrival_ns = np.rint(arrival_ns / rate).astype(np.int64)
        if int(arrival_ns[-1]) > MAX_SECONDS * SECOND:
            raise trace.error(f"the trace would last longer than a century at rate={rate:g}", allowed="a larger rate, or until")
    counts = _number(found.hash_count)
    start = (np.cumsum(counts) - counts)[order]
    counts = counts[order]
    run, within = runs(counts)
    hashes = _number(found.hashes)[start[run] + within]
    hash_start = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))
    session = _number(found.session)[order]
    key = _own_numbers(session) if bool((session >= 0).any()) else prefix_keys(hash_start, hashes)
    prompt, output, priority = (_number(column)[order] for column in (found.prompt, found.output, found.priority))
    return RequestColumns(arrival_ns, prompt, output, hash_start, hashes, key, priority), zero_ns


def _own_numbers(session: Int64) -> Int64:
    """The session, and behind all sessions the place of a request that is in none."""
    return np.where(session >= 0, session, 1 + int(session.max()) + np.arange(len(session)))


#: A block that more requests than this part, and this many, have is common, as a system's prompt is: it keeps nothing together.
COMMON_RATIO, COMMON_COUNT = 0.02, 16


def prefix_keys(hash_start: Int64, hashes: Int64) -> Int64:
    """What keeps requests together that share a prefix: the first of a request's blocks that is not common, else its own place.

    In Mooncake's conversations the first block is that of all requests, and the second one that of a conversation.
    """
    requests = len(hash_start) - 1
    own = 1 + int(hashes.max(initial=-1)) + np.arange(requests, dtype=np.int64)
    if not len(hashes):
        return own
    _, which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    rare = counts[which] <= max(COMMON_COUNT, COMMON_RATIO * requests)
    places = np.append(np.flatnonzero(rare), len(hashes))
    first = places[np.searchsorted(places, hash_start[:-1])]
    return np.where(first < hash_start[1:], np.append(hashes, 0)[first], own)


def _rate(options: Mapping[str, str]) -> float:
    text = options.get("rate", "1")
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not 1.0 / MAX_RATE <= value <= MAX_RATE:
        raise TraceError(f"trace option rate={text[:40]}", allowed=f"a number from {1.0 / MAX_RATE:g} to {MAX_RATE:.0f}")
    return value


def _repeats(options: Mapping[str, str]) -> int:
    text = options.get("repeat", "1")
    if text == "forever":
        return 0
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= value <= MAX_REPEATS:
        raise TraceError(f"trace option repeat={text[:40]}", allowed=f"a whole number from 1 to {MAX_REPEATS}, or forever")
    return value


def block_option(options: Mapping[str, str], default: int) -> int:
    """The option ``block_tokens``. Raises TraceError."""
    text = options.get("block_tokens", str(default))
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if not 1 <= value <= 1 << 20:
        raise TraceError(f"trace option block_tokens={text[:40]}", allowed=f"a whole number from 1 to {1 << 20}")
    return value


def time_of(row: Row, word: str, unit_ns: int) -> int:
    """A number of units from 0 on, as nanoseconds."""
    text = row.fields[word]
    value = parse_number(text, unit_ns)
    if value is None or value < 0:
        wrong = "is not a time" if parse_number(text, 1) is None else "is out of range"
        raise row.error(word, f"{text[:40]!r} {wrong}", f"a number from 0 to {MAX_SECONDS * SECOND // unit_ns}")
    return value
