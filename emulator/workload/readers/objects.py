"""Streams the objects of a JSON file: those of a list, or one object after the other as in JSON lines."""

import json
from collections.abc import Iterator

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Row, Trace
from emulator.workload.readers.streams import blocks

_BETWEEN = " \t\r\n,"
_ALLOWED = "a list of objects, [{...}, {...}], or one object after the other"


def json_rows(trace: Trace) -> Iterator[Row | TraceError]:
    """A row per object. Raises TraceError where the text is not JSON, since the next object could not be found behind it."""
    decoder = json.JSONDecoder()
    pieces = blocks(trace.path, trace.limits)
    text, at, line, number, depth, done = "", 0, 1, 0, 0, False
    while True:
        start = at
        while at < len(text) and text[at] in _BETWEEN:
            at += 1
        if not number and not depth and at < len(text) and text[at] == "[":
            depth, at = 1, at + 1
            line += text.count("\n", start, at)
            continue
        line += text.count("\n", start, at)
        if at == len(text):
            text, at = next(pieces, ""), 0
            if not text:
                break
            continue
        if done or text[at] not in ("{" if not depth else "{]"):
            raise trace.error(f"not a list of objects: {text[at : at + 20]!r}", line, allowed=_ALLOWED)
        if text[at] == "]":
            at, done = at + 1, True
            continue
        value, end = None, at
        while True:
            try:
                value, end = decoder.raw_decode(text, at)
                break
            except (ValueError, RecursionError) as error:
                more = next(pieces, "") if len(text) - at <= trace.limits.object_characters else ""
                if not more:
                    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    place = line + (text.count("\n", at, error.pos) if isinstance(error, json.JSONDecodeError) else 0)
                    raise trace.error(f"object {number + 1} is not JSON: {reason}", place, allowed=_ALLOWED) from None
                text, at = text[at:] + more, 0
        number += 1
        yield Row(trace, line, value, source_row=number)
        line += text.count("\n", at, end)
        at = end
    if depth and not done:
        raise trace.error(f"the list ends after {number} objects without a ]", line, allowed=_ALLOWED)
