"""Readers of request traces: published ones, those of their kind, and what is hostile."""

import bz2
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.workload.jobs import SourceReport
from emulator.workload.readers.errors import TraceError
from emulator.workload.requests import Arrivals, RequestTrace, join, open_request_trace
from emulator.workload.requests.statistics import gap_variation
from tests.workload.requests.helpers import SECOND, same, taken
from tests.workload.traces import Write, published

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
PLAIN = "arrival_seconds,prompt_tokens,output_tokens,session\n"


def line(**change: object) -> str:
    row: dict[str, object] = {"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]} | change
    return json.dumps(row) + "\n"


def read(path: Path, format: str, **options: str) -> tuple[RequestTrace, SourceReport]:
    return open_request_trace(path, format, {name.rstrip("_"): value for name, value in options.items()})


def test_azure_conversation() -> None:
    trace, report = read(published("azure/AzureLLMInferenceTrace_conv.csv.gz"), "azure")
    requests = trace.requests
    assert (len(trace), report.kept, report.dropped) == (19_366, 19_366, {})
    assert (int(requests.prompt.sum()), int(requests.output.sum())) == (22_361_870, 4_088_665)
    assert requests.arrival_ns[1] == 4_314_579_000  # 18:15:50.9951690 less 18:15:46.6805900
    assert gap_variation(requests.arrival_ns) == pytest.approx(1.0942, abs=1e-4)
    assert not len(requests.hashes)
    assert len(set(requests.key.tolist())) == 19_366


def test_mooncake_conversation_hits_of_an_unlimited_cache() -> None:
    """All blocks ever seen are kept. A prompt hits the blocks from its start that have been seen, but computes a token at least."""
    trace, report = read(published("mooncake/conversation_trace.jsonl.gz"), "mooncake")
    assert (len(trace), report.kept, trace.block_tokens) == (12_031, 12_031, 512)

    def rate(shares: list[tuple[float, float]]) -> float:
        hit = total = 0
        for pool, share in enumerate(shares):
            seen: set[int] = set()
            requests = taken(trace, [1000 * SECOND, 4000 * SECOND], pool=pool, share=share)
            for row in range(len(requests)):
                hashes = requests.hashes[requests.hash_start[row] : requests.hash_start[row + 1]].tolist()
                found = next((place for place, block in enumerate(hashes) if block not in seen), len(hashes))
                seen.update(hashes)
                hit += min(512 * found, int(requests.prompt[row]) - 1)
                total += int(requests.prompt[row])
        assert total == 144_793_823
        return hit / total

    assert rate([(0.0, 1.0)]) == pytest.approx(0.374, abs=0.005)
    eight = [(pool / 8, (pool + 1) / 8) for pool in range(8)]
    assert rate(eight) == pytest.approx(0.374, abs=0.005), "conversations stay together"


def test_mooncake_without_affinity_spreads_conversations() -> None:
    path = published("mooncake/conversation_trace.jsonl.gz")
    together, apart = read(path, "mooncake")[0], read(path, "mooncake", affinity="none")[0]
    keys = [
        [set(taken(trace, [4000 * SECOND], share=share).key.tolist()) for share in ((0.0, 0.5), (0.5, 1.0))] for trace in (together, apart)
    ]
    assert not keys[0][0] & keys[0][1]
    assert len(keys[1][0] & keys[1][1]) > 500


def test_newer_azure_files(write: Write) -> None:
    """A byte order mark, Windows' ends of lines, a zone, a whole second without a fraction, and the day's change in another zone."""
    text = (
        "\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2024-05-10 00:00:00.009930+00:00,2162,5\r\n"
        "2024-05-10 00:00:01+00:00,2399,6\r\n"
        "2024-05-10 02:00:01.5+02:00,76,15\r\n"
    )
    trace, report = read(write(text.encode()), "azure")
    assert trace.requests.arrival_ns.tolist() == [0, 990_070_000, 1_490_070_000]
    assert report.notes == ["time counts from 2024-05-10T00:00:00.009930, when the first request kept arrived"]


@pytest.mark.parametrize(
    "stamp", ["", "2023-11-16 18:15:46.12345678901", "16.11.2023", "nan", "12.5", "2023-11-16 18:15:46.5.5", "1969-01-01", "9" * 400]
)
def test_stamps_that_are_none(write: Write, stamp: str) -> None:
    with pytest.raises(TraceError, match=r"trace:2: TIMESTAMP: .*is not a time .allowed: a date such as 2023-11-16 18:15:46.6805900"):
        read(write(f"{AZURE}{stamp},1,1\n"), "azure")


@pytest.mark.parametrize("count", ["0", "", "-5", "1.5", "nan", "inf", "1e99", "9" * 5000, "1_0", "seven", "16777217"])
@pytest.mark.parametrize("field", ["ContextTokens", "GeneratedTokens"])
def test_a_row_without_tokens_is_refused_with_its_number(write: Write, count: str, field: str) -> None:
    row = f"{count},3" if field == "ContextTokens" else f"3,{count}"
    path = write(f"{AZURE}2024-05-10 00:00:00,1,1\n2024-05-10 00:00:01,{row}\n2024-05-10 00:00:02,1,1\n")
    with pytest.raises(TraceError) as error:
        read(path, "azure")
    assert f"trace:3: {field}: {count[:40]!r}" in str(error.value)
    assert "allowed: a whole number from 1 to 16777216" in str(error.value)
    trace, report = read(path, "azure", bad_rows="skip")
    assert (len(trace), report.dropped) == (2, {"malformed": 1})


def test_rows_out_of_order_are_sorted_and_noted(write: Write) -> None:
    trace, report = read(write(PLAIN + "5,50,1,\n1,10,1,a\n5,51,1,\n1,11,1,\n"), "requests")
    assert trace.requests.prompt.tolist() == [10, 11, 50, 51]
    assert trace.requests.arrival_ns.tolist() == [0, 0, 4 * SECOND, 4 * SECOND]
    assert "2 rows are earlier than the row before: sorted by arrival" in report.notes


def test_sessions_of_the_plain_format_share_their_beginning(write: Write) -> None:
    trace, _ = read(write(PLAIN + "0,100,1,a\n1,40,1,b\n2,200,1,a\n3,90,1,\n"), "requests", block_tokens="32")
    requests = trace.requests
    hashes = [requests.hashes[a:b].tolist() for a, b in zip(requests.hash_start, requests.hash_start[1:], strict=False)]
    assert [len(one) for one in hashes] == [3, 1, 6, 0]
    assert hashes[2][:3] == hashes[0]
    assert not set(hashes[1]) & set(hashes[2])
    assert requests.key[0] == requests.key[2]
    assert len(set(requests.key.tolist())) == 3


def test_the_session_column_may_be_missing(write: Write) -> None:
    assert len(read(write("arrival_seconds;prompt_tokens;output_tokens\n0.5;1;2\n"), "requests")[0]) == 1


def test_priorities_of_the_plain_format(write: Write) -> None:
    """An empty one is 0; they stay with their rows when these are sorted, and with a row of each repetition."""
    text = "arrival_seconds,prompt_tokens,output_tokens,priority,session\n3,10,1,,a\n2,11,1,-5,\n1,12,1,2147483647,b\n"
    trace, _ = read(write(text), "requests", repeat="2")
    assert trace.requests.priority.tolist() == [2**31 - 1, -5, 0]
    assert taken(trace, [60 * SECOND]).priority.tolist() == [2**31 - 1, -5, 0] * 2
    for wrong in ("2147483648", "1.5", "high"):
        with pytest.raises(TraceError, match=f"trace:5: priority: '{wrong}'"):
            read(write(text + f"4,1,1,{wrong},\n"), "requests")


def test_hashes_of_whole_blocks_are_kept(write: Write) -> None:
    """1100 tokens are two blocks of 512 and a part; 1024 are two; a file may name fewer."""
    text = line() + line(timestamp=5.5, input_length=1024.0, hash_ids=[0, 7]) + line(timestamp="9", hash_ids=[0])
    trace, report = read(write(text), "mooncake")
    assert trace.requests.hashes.tolist() == [0, 1, 0, 7, 0]
    assert trace.requests.arrival_ns.tolist() == [0, 5_500_000, 9_000_000]
    assert report.noted == {"hash_ids for a part of the prompt only; the rest counts as shared with nothing": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hash_ids": [0, 1, 2, 3]}, "hash_ids: 4 blocks for a prompt of 1100 tokens .allowed: at most 3"),
        ({"hash_ids": "0,1"}, "hash_ids: '0,1' is not a list"),
        ({"hash_ids": [0, -1]}, "hash_ids: -1 is not a block"),
        ({"hash_ids": [True]}, "hash_ids: True is not a block"),
        ({"hash_ids": [2**70]}, "hash_ids: 1180591620717411303424 is not a block"),
        ({"hash_ids": [10**60]}, "hash_ids: a number of more than 40 digits"),
        ({"hash_ids": [[1]]}, "hash_ids: .1. is not a block"),
        ({"input_length": 0, "hash_ids": []}, "input_length: '0' is out of range .allowed: a whole number from 1"),
        ({"output_length": 0}, "output_length: '0' is out of range"),
        ({"output_length": -3}, "output_length: '-3' is out of range"),
        ({"output_length": None}, "output_length: 'None' is not a number"),
        ({"output_length": True}, "output_length: 'True' is not a number"),
        ({"input_length": 10**100}, "input_length: 'inf' is out of range"),
        ({"input_length": float("nan")}, "input_length: 'nan' is out of range"),
        ({"timestamp": -1}, "timestamp: '-1' is out of range"),
        ({"timestamp": float("inf")}, "timestamp: 'inf'"),
        ({"timestamp": [1]}, "timestamp: '.1.' is not a number"),
    ],
)
def test_objects_that_are_no_requests(write: Write, change: dict[str, object], said: str) -> None:
    with pytest.raises(TraceError, match=rf"trace:2: {said}"):
        read(write(line() + line(**change)), "mooncake")


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "7\n",
        '{"timestamp": 1}\n',
        line()[:-9],
        line() + "]",
        "[" + line(),
        '{"a":' * 100_000,
        "",
        "\n\n",
        '{"timestamp": ' + "9" * 5000 + "}",
    ],
)
def test_files_that_are_no_lines_of_json(write: Write, text: str) -> None:
    with pytest.raises(TraceError, match="allowed"):
        read(write(text), "mooncake")


@pytest.mark.parametrize("format", ["azure", "mooncake", "requests"])
def test_hostile_files(write: Write, format: str) -> None:
    whole = {"azure": AZURE + "2024-05-10 00:00:00,1,1\n", "mooncake": line(), "requests": PLAIN + "1,1,1,\n"}[format] * 1
    packed = gzip.compress(whole.encode() * 1)
    hostile = {
        "cut off": packed[:-9],
        "garbage in gzip": packed[:12] + b"\xff" * 20 + packed[32:],
        "other text": whole.encode("utf-16"),
        "Latin-1": whole.encode() + b"\xe9\xff\n",
        "NUL": whole.encode() + b"\0\n",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        "empty": b"",
        "header only": whole.splitlines(keepends=True)[0].encode() if format != "mooncake" else b"\n",
        "another table": b"a,b,c\n1,2,3\n",
        "long line": b"x" * 70_000,
    }
    for name, data in hostile.items():
        with pytest.raises(TraceError):
            read(write(data, name.replace(" ", "-")), format)
    assert len(read(write(bz2.compress(whole.encode()), "whole"), format)[0]) == 1
    with pytest.raises(TraceError):
        read(Path("/nowhere/at/all"), format)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(format=st.sampled_from(["azure", "mooncake", "requests"]), data=st.data())
def test_nothing_ends_in_a_traceback(write: Write, format: str, data: st.DataObject) -> None:
    """A good file with bytes replaced: it is read, or refused as a trace."""
    good = {
        "azure": (AZURE + "2024-05-10 00:00:00.5,12,13\n2024-05-10 00:00:01,1,1\n").encode(),
        "mooncake": (line() + line(timestamp=7)).encode(),
        "requests": (PLAIN + "1,12,13,a\n2,1400,1,a\n").encode(),
    }[format]
    changed = bytearray(good)
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(good) - 1), st.one_of(st.sampled_from(b'-.,"\n0e[{}]9'), st.integers(0, 255))), max_size=6)
    ):
        changed[place] = value
    try:
        trace, _ = read(write(bytes(changed)), format)
    except TraceError:
        return
    requests = taken(trace, [100 * SECOND])
    assert not len(requests) or min(requests.prompt.min(), requests.output.min()) >= 1


def test_a_window_counts_what_it_leaves_out(write: Write) -> None:
    trace, report = read(write(PLAIN + "".join(f"{t},1{t},1,\n" for t in range(6))), "requests", from_="2", until="4")
    assert trace.requests.prompt.tolist() == [12, 13]
    assert report.dropped == {"before from": 2, "at or after until": 2}
    with pytest.raises(TraceError, match=r"no request is left .6: before from"):
        read(write(PLAIN + "".join(f"{t},1{t},1,\n" for t in range(6))), "requests", from_="20")


def test_rate_and_repeat(write: Write) -> None:
    """Twice as fast; the next repetition begins a mean gap behind the last request, shares nothing with the one before, and all end."""
    path = write(PLAIN + "0,600,1,a\n2,601,1,\n8,602,1,a\n")
    trace, _ = read(path, "requests", rate="2", repeat="3")
    found = taken(trace, [SECOND, 100 * SECOND])
    assert trace.length_ns == 6 * SECOND
    assert (found.arrival_ns // SECOND).tolist() == [0, 1, 4, 6, 7, 10, 12, 13, 16]
    assert found.prompt.tolist() == [600, 601, 602] * 3
    assert len(set(found.hashes.tolist())) == 3
    assert len(set(found.key.tolist())) == 6
    late = Arrivals(read(path, "requests", repeat="forever")[0], 1, 0, 0, start_ns=12 * 10**15).take(12 * 10**15 + 12 * SECOND, 0.0, 1.0)
    assert late.prompt.tolist() == [600, 601, 602]


def test_a_repetition_far_away_costs_no_more(write: Write) -> None:
    """A hundred years on, without the years between: and in pieces as in one."""
    trace, _ = read(write(PLAIN + "0,600,1,a\n"), "requests", repeat="forever")
    start = 100 * 365 * 86_400 * SECOND
    pieces = Arrivals(trace, 1, 0, 0, start_ns=start)
    whole = Arrivals(trace, 1, 0, 0, start_ns=start).take(start + 60 * SECOND, 0.0, 1.0)
    assert len(whole) == 60
    assert same(
        join([pieces.take(start + k * 7 * SECOND, 0.0, 1.0) for k in range(1, 9)] + [pieces.take(start + 60 * SECOND, 0.0, 1.0)]), whole
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": "0"}, "rate=0 .allowed: a number from 1e-06 to 1000000"),
        ({"rate": "nan"}, "rate=nan"),
        ({"repeat": "0"}, "repeat=0 .allowed: a whole number from 1 to 1000000, or forever"),
        ({"repeat": "9" * 100}, "repeat=9999"),
        ({"affinity": "some"}, "affinity=some .allowed: prefix or none"),
        ({"block_tokens": "x"}, "block_tokens=x"),
        ({"from": "5", "until": "5"}, "until is not later than from"),
        ({"form": "5"}, "format requests has no trace option 'form'"),
    ],
)
def test_options_that_cannot_be(write: Write, options: dict[str, str], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        open_request_trace(write(PLAIN + "1,1,1,\n"), "requests", options)


def test_a_format_that_is_none(write: Write) -> None:
    with pytest.raises(TraceError, match=r"no format of request traces 'burst' .allowed: azure, mooncake, requests"):
        open_request_trace(write(""), "burst")


def test_the_tables_are_fitted_to_the_traces() -> None:
    """What the script finds is what the module holds."""
    from emulator.experiments.validation import fit_requests
    from emulator.workload.requests.fitted import FITTED

    folder = published("azure").parent
    assert {name: fit_requests.fit(folder, name) for name in fit_requests.TRACES} == FITTED


def test_quantiles_of_whole_numbers() -> None:
    """Of 1 to 1000, once each, the quantile at p is 1000 p + 1 (n counts as n to n + 1); of a constant it lies within that one."""
    from emulator.workload.requests.statistics import length_quantiles
    from emulator.workload.requests.tables import CELLS, POINTS

    assert length_quantiles(np.arange(1, 1001)) == pytest.approx(1000 * np.array(POINTS) / CELLS + 1, abs=0.51)
    assert length_quantiles(np.full(1000, 7)) == pytest.approx(7 + np.array(POINTS) / CELLS, abs=1e-3)
