"""Our own CSV of requests: ``arrival_seconds,prompt_tokens,output_tokens``, and optionally ``session`` and ``priority``.

The prompts of one session extend one another: each is the conversation so far, so that two of them are equal as far as the shorter goes.
An empty session is none. Higher priority goes first; an empty one is 0.
"""

from collections.abc import Iterator, Mapping

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Columns, Interned, Row, Trace, csv_rows
from emulator.workload.requests.priorities import MOST_PRIORITY
from emulator.workload.requests.reading import MAX_HASH, Asked, block_option, read_requests, time_of, tokens
from emulator.workload.requests.trace import RequestTrace

COLUMNS = Columns(
    {"arrival": "arrival_seconds", "prompt": "prompt_tokens", "output": "output_tokens"}, {"session": "session", "priority": "priority"}
)
BLOCK_TOKENS = 512
OPTIONS: Mapping[str, str] = {"block_tokens": f"tokens of the blocks in which prompts of a session are compared; default {BLOCK_TOKENS}"}
#: Block b of session s is number s * 2**20 + b.
_MOST_BLOCKS = 1 << 20


def read(trace: Trace, options: Mapping[str, str]) -> RequestTrace:
    """The requests of the CSV. Raises TraceError."""
    block_tokens = block_option(options, BLOCK_TOKENS)
    return read_requests(trace, _requests(trace, block_tokens), options, dates=False, block_tokens=block_tokens)


def _requests(trace: Trace, block_tokens: int) -> Iterator[Asked | TraceError]:
    sessions = Interned()
    for row in csv_rows(trace, COLUMNS, separators=",;\t"):
        try:
            if isinstance(row, TraceError):
                raise row
            yield _request(row, sessions, block_tokens)
        except TraceError as error:
            yield error


def _request(row: Row, sessions: Interned, block_tokens: int) -> Asked:
    arrival_ns, prompt, output = time_of(row, "arrival", 10**9), tokens(row, "prompt"), tokens(row, "output")
    name, priority = row.fields.get("session", ""), 0
    if row.fields.get("priority"):
        priority = row.integer("priority", -MOST_PRIORITY, MOST_PRIORITY)
    if not name:
        return Asked(arrival_ns, prompt, output, priority=priority)
    session = sessions[name]
    first, blocks = session * _MOST_BLOCKS, prompt // block_tokens
    if first + blocks > MAX_HASH or blocks > _MOST_BLOCKS:
        raise row.error("session", "too many blocks of prompts", f"a larger block_tokens than {block_tokens}, or fewer sessions")
    return Asked(arrival_ns, prompt, output, list(range(first, first + blocks)), session, priority)
