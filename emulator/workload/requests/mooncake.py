"""Mooncake's traces: JSON lines with ``timestamp`` (ms), ``input_length``, ``output_length`` and ``hash_ids`` (blocks of 512 tokens).

Qin et al., "Mooncake: Trading More Storage for Less Computation", FAST'25; github.com/kvcache-ai/Mooncake, Apache-2.0; the files
conversation, toolagent and synthetic, and others of that form. A block's id stands for the block and all before it. The last id is that
of a block that the prompt fills in part only; it is left out, since caches hold whole blocks.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.objects import json_rows
from emulator.workload.readers.rows import Row, Trace
from emulator.workload.requests.reading import MAX_HASH, Asked, block_option, read_requests, time_of, tokens
from emulator.workload.requests.trace import RequestTrace

BLOCK_TOKENS = 512
OPTIONS: Mapping[str, str] = {"block_tokens": f"tokens of a block of hash_ids; default {BLOCK_TOKENS}"}
FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")


def read(trace: Trace, options: Mapping[str, str]) -> RequestTrace:
    """The requests of the trace. Raises TraceError."""
    block_tokens = block_option(options, BLOCK_TOKENS)
    return read_requests(trace, _requests(trace, block_tokens), options, dates=False, block_tokens=block_tokens)


def _requests(trace: Trace, block_tokens: int) -> Iterator[Asked | TraceError]:
    for row in json_rows(trace):
        try:
            if isinstance(row, TraceError):
                raise row
            yield _request(trace, row, block_tokens)
        except TraceError as error:
            yield error


def _request(trace: Trace, found: Row, block_tokens: int) -> Asked:
    fields = found.fields
    if not isinstance(fields, dict):
        raise trace.error(f"{str(fields)[:40]!r} is not a request", found.line, allowed=f"an object with {', '.join(FIELDS)}")
    for name in FIELDS:
        if name not in fields:
            raise trace.error("the request lacks this field", found.line, name, f"{', '.join(FIELDS)}")
    row = Row(trace, found.line, {name: _text(found, name, fields[name]) for name in FIELDS[:3]}, source_row=found.source_row)
    prompt = tokens(row, "input_length")
    hashes = _hashes(found, fields["hash_ids"])
    whole = prompt // block_tokens
    if len(hashes) > -(-prompt // block_tokens):
        allowed = f"at most {-(-prompt // block_tokens)}, blocks of {block_tokens} tokens; or the option block_tokens"
        raise found.error("hash_ids", f"{len(hashes)} blocks for a prompt of {prompt} tokens", allowed)
    if len(hashes) < whole:
        trace.note("hash_ids for a part of the prompt only; the rest counts as shared with nothing")
    return Asked(time_of(row, "timestamp", 10**6), prompt, tokens(row, "output_length"), hashes[:whole])


def _text(row: Row, name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise row.error(name, f"{str(value)[:40]!r} is not a number", "a number")
    if isinstance(value, float):
        return repr(value)
    return str(value) if abs(value) < 10**40 else repr(math.inf)  # Python refuses to write out integers of thousands of digits


def _hashes(row: Row, value: Any) -> list[int]:
    if not isinstance(value, list):
        raise row.error("hash_ids", f"{str(value)[:40]!r} is not a list", "a list of whole numbers")
    for one in value:
        if type(one) is not int or not 0 <= one <= MAX_HASH:
            shown = str(one)[:40] if not isinstance(one, int) or abs(one) < 10**40 else "a number of more than 40 digits"
            raise row.error("hash_ids", f"{shown} is not a block", f"whole numbers from 0 to {MAX_HASH}")
    return value
