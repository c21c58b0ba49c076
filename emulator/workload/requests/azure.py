"""Azure's traces of LLM inference: ``TIMESTAMP,ContextTokens,GeneratedTokens``.

Patel et al., "Splitwise", ISCA'24 (2023: conversation, code); Stojkovic et al., "DynamoLLM", HPCA'25 (2024, a week);
github.com/Azure/AzurePublicDataset, CC-BY-4.0. The first have ``2023-11-16 18:15:46.6805900`` in UTC, the later ones
``2024-05-10 00:00:00.009930+00:00``, without a fraction where it is 0. Nothing is known of what prompts share.
"""

import re
from collections.abc import Iterator, Mapping

from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import Columns, Row, Trace, csv_rows
from emulator.workload.readers.times import parse_date
from emulator.workload.requests.reading import Asked, read_requests, tokens
from emulator.workload.requests.trace import RequestTrace

COLUMNS = Columns({"time": "TIMESTAMP", "prompt": "ContextTokens", "output": "GeneratedTokens"}, any_case=True)
OPTIONS: Mapping[str, str] = {}

_ALLOWED = "a date such as 2023-11-16 18:15:46.6805900 or 2024-05-10 00:00:00.009930+00:00"
#: The fraction of a second, of which ``parse_date`` would read six digits.
_FRACTION = re.compile(r"[.](\d{1,9})(?=$|[+\-Zz ])", re.ASCII)


def read(trace: Trace, options: Mapping[str, str]) -> RequestTrace:
    """The requests of the trace. Raises TraceError."""
    trace.dates = True
    return read_requests(trace, _requests(trace), options, dates=True, block_tokens=1)


def _requests(trace: Trace) -> Iterator[Asked | TraceError]:
    for row in csv_rows(trace, COLUMNS):
        try:
            if isinstance(row, TraceError):
                raise row
            yield Asked(_time(row), tokens(row, "prompt"), tokens(row, "output"))
        except TraceError as error:
            yield error


def _time(row: Row) -> int:
    text = row.fields["time"]
    fraction = _FRACTION.search(text)
    whole = text if fraction is None else text[: fraction.start()] + text[fraction.end() :]
    when = parse_date(whole) if "." not in whole else None
    if when is None:
        raise row.error("time", f"{text[:40]!r} is not a time", _ALLOWED)
    return when + (0 if fraction is None else int(fraction[1].ljust(9, "0")))
