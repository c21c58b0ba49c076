"""Trace readers: small files made here, and the published traces where they are."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.workload.jobs import COLUMN_NAMES, SECOND
from emulator.workload.readers import FORMATS, TraceError, TraceLimits, open_pods, open_trace
from tests.workload.traces import CSV, HEADERS, HELIOS, OPENB, PHILLY, SACCT, SWF, Write, column, published, read_all, swf
from topology import catalog

AFTER_FAULTS = "id,submit_s,gpus,duration_s,checkpoint_s,recovery\n"
SIZED = "id,submit_s,gpus,duration_s,min_gpus,gpu_milli\n"
SLICED = "id,submit_s,gpus,duration_s,gpu_milli,slice_gpus,slice_level\n"


@pytest.mark.parametrize("format", ["csv", "swf", "openb", "helios", "sacct"])
def test_ids_are_unique_in_any_order(write: Write, format: str) -> None:
    """Falling ids are nothing special; the same one twice is refused where it stands, or a name only with ids=renumber."""
    head = {"csv": CSV, "swf": SWF, "openb": OPENB, "helios": HELIOS, "sacct": SACCT}[format]

    def text(*ids: int) -> str:
        rows = {
            "csv": lambda number, at: f"{number},{at},1,9\n",
            "swf": lambda number, at: swf(number=number, submit=at),
            "openb": lambda number, at: f"{number},1,1,1,1000,,LS,Running,{at},99,{at}\n",
            "helios": lambda number, at: f"{number},u,v,1,8,1,DONE,2020-04-01T00:00:0{at},2020-04-01,2020-04-02,60,1\n",
            "sacct": lambda number, at: f"{number}|a|p|2026-03-01T00:00:0{at}|2026-03-01|2026-03-02|60|gres/gpu=1|COMPLETED\n",
        }
        return head + "".join(rows[format](number, at) for at, number in enumerate(ids))

    batches, _ = read_all(write(text(9, 4, 7)), format)
    assert [name for batch in batches for name in batch.names or ()] == ["9", "4", "7"]
    if format in ("csv", "swf", "helios"):
        assert column(batches, "job_id") == [9, 4, 7]
    path = write(text(9, 4, 9))
    with pytest.raises(TraceError, match=r"trace:4: \w+: '?9'? is there already, in line 2 \(allowed: .*ids=renumber\)"):
        read_all(path, format)
    batches, _ = read_all(path, format, {"ids": "renumber"})
    assert column(batches, "job_id") == [0, 1, 2]
    assert batches[0].names == ("9", "4", "9")
    batches, report = read_all(path, format, {"bad_rows": "skip"})
    assert (report.kept, report.dropped) == (2, {"malformed": 1})


@pytest.mark.parametrize("format", ["csv", "swf", "openb"])
def test_sort_works_in_every_format_that_streams(write: Write, format: str) -> None:
    """And is the advice where rows go back in time; source rows stay with their jobs."""
    text = {
        "csv": CSV + "1,5,1,9\n3,40,2,9\n2,20,4,9\n",
        "swf": SWF + swf(number=1, submit=5, allocated=1) + swf(number=3, submit=40, allocated=2) + swf(number=2, submit=20, allocated=4),
        "openb": OPENB + "a,1,1,1,1000,,LS,R,5,99,50\nc,1,1,2,1000,,LS,R,40,99,50\nb,1,1,4,1000,,LS,R,20,99,50\n",
    }[format]
    path = write(text)
    with pytest.raises(TraceError, match=r"trace:4: submission: earlier .*sort=yes") as error:
        read_all(path, format)
    assert "renumber" not in str(error.value)
    batches, report = read_all(path, format, {"sort": "yes"})
    assert column(batches, "gpus") == [1, 4, 2]
    assert column(batches, "submit_ns") == [0, 15 * SECOND, 35 * SECOND]
    assert column(batches, "source_row") == [2, 4, 3]
    assert report.zero_seconds == 5


def test_text_ids_are_names(write: Write) -> None:
    path = write(CSV + "job-b,10,8,100\njob-a,0,4,100\n")
    batches, _ = read_all(path, "csv", {"sort": "yes"})
    assert batches[0].names == ("job-a", "job-b")
    assert column(batches, "job_id") == [0, 1]
    assert column(batches, "gpus") == [4, 8]
    with pytest.raises(TraceError, match="trace:3: id: 'job-a' is there already, in line 2"):
        read_all(write(CSV + "job-a,0,8,100\njob-a,5,8,100\n"), "csv")
    with pytest.raises(TraceError, match=r"trace:3: id: 'job-a' is not a number .*ids=renumber"):
        read_all(write(CSV + "1,0,8,100\njob-a,5,8,100\n"), "csv")
    batches, _ = read_all(write(CSV + "123456789012,0,8,100\n5,5,8,100\n"), "csv")
    assert batches[0].names == ("123456789012", "5"), "more than a job's id may be"


def test_time_counts_from_the_first_job_kept(write: Write) -> None:
    """Of whatever clock; a job that is dropped does not count, nor does one that is left for later."""
    late = 1_767_225_600
    batches, report = read_all(
        write(SWF + swf(number=1, submit=late - 50, run=0) + swf(number=2, submit=late) + swf(number=3, submit=late + 10)), "swf"
    )
    assert column(batches, "submit_ns") == [0, 10 * SECOND]
    assert report.zero_seconds == late
    assert report.notes == ["time counts from 1767225600 s of the trace's clock, when the first job kept was submitted"]
    batches, report = read_all(write(CSV + f"1,{late},1,9\n2,{late}.5,1,9\n"), "csv")
    assert column(batches, "submit_ns") == [0, SECOND // 2]
    batches, report = read_all(write(CSV + f"1,{late},1,9\n2,{late + 7},1,9\n"), "csv", {"from": str(late - 5)})
    assert column(batches, "submit_ns") == [5 * SECOND, 12 * SECOND]
    assert report.notes == ["time counts from 1767225595 s of the trace's clock, the option from"]
    _, report = read_all(write(PHILLY + "2017-10-03 09:00:00,100,1,100,a\n"), "philly")
    assert report.notes == ["time counts from 2017-10-03T09:00:00, when the first job kept was submitted"]


def test_dates_with_a_zone_are_dates(write: Write) -> None:
    text = PHILLY + "2017-10-03T09:00:00Z,100,1,100,a\n2017-10-03T11:00:05+02:00,50,8,400,a\n2017-10-03 08:59:50,50,4,400,a\n"
    batches, _ = read_all(write(text), "philly")
    assert column(batches, "gpus") == [4, 1, 8]
    assert column(batches, "submit_ns") == [0, 10 * SECOND, 15 * SECOND]
    batches, report = read_all(write(text), "philly", {"from": "2017-10-03T10:00:00+01:00", "until": "2017-10-03T09:00:05Z"})
    assert column(batches, "gpus") == [1]
    assert report.zero_seconds == 1_507_021_200


def test_unknown_columns_pass_with_one_note(write: Write) -> None:
    for format, text in {
        "csv": "id,submit_s,gpus,duration_s,user,estimate,\n1,0,8,100,u1,5,\n",
        "philly": "timestamp,duration,num_gpus,gpu_time,cluster,user\n2017-10-01,1.0,1,1.0,a,u\n",
        "openb": OPENB.rstrip() + ",user\np0,1,1,1,460,,LS,Running,10,100,30,u\n",
        "helios": HELIOS.rstrip() + ",node\n1,u,v,8,64,1,COMPLETED,2020-04-01,2020-04-01,2020-04-02,60,2,n\n",
    }.items():
        _, report = read_all(write(text), format)
        (note,) = (note for note in report.notes if "columns" in note)
        assert note.startswith("columns not read: "), format
        if format == "csv":
            assert note == "columns not read: user, estimate (did you mean estimate_s?), (empty)"


def test_streaming_holds_one_batch(write: Write) -> None:
    """Rows are read as they are asked for: a bad last row is not seen until its batch is."""
    path = write(CSV + "".join(f"{n},{n},1,9\n" for n in range(1000)) + "x,0,0,0\n")
    batches, report = open_trace(path, "csv", limits=TraceLimits(chunk_rows=100))
    sizes = [len(next(batches)) for _ in range(10)]
    assert sizes == [100] * 10
    assert report.kept == 1000
    with pytest.raises(TraceError, match="trace:1002: id: 'x' is not a number"):
        next(batches)


@pytest.mark.parametrize("format", ["csv", "philly", "openb", "swf"])
def test_batch_size_changes_nothing(write: Write, format: str) -> None:
    text = {
        "csv": CSV + "".join(f"{n},{n // 3},{n % 8 + 1},9\n" for n in range(50)),
        "philly": PHILLY + "".join(f"2017-10-{n % 7 + 1:02d} 00:00:{n:02d},{n + 1}.0,1,0,vc{n % 3}\n" for n in range(50)),
        "openb": OPENB + "".join(f"p{n},1,1,1,{n + 1},,{'LS' if n % 2 else 'BE'},Running,{n},{n + 9},{n + 1}\n" for n in range(50)),
        "swf": SWF + "".join(swf(number=n, submit=n, user=n % 4) for n in range(50)),
    }[format]
    path = write(text)
    whole, report = read_all(path, format)
    parts, other = read_all(path, format, limits=TraceLimits(chunk_rows=7))
    assert len(whole) == 1
    assert len(parts) == 8
    assert report == other
    for name in COLUMN_NAMES:
        assert column(whole, name) == column(parts, name), name
    for part in parts:
        assert part.tenants == whole[0].tenants[: len(part.tenants)], "numbers keep their meaning"


def test_gzip_and_plain_and_a_byte_order_mark_read_alike(write: Write) -> None:
    text = "\ufeff" + CSV + "1,0,1,9\r\n\r\n2,1,1,9"
    plain, _ = read_all(write(text, "a.csv"), "csv")
    packed, _ = read_all(write(gzip.compress(text.encode()), "b"), "csv")
    assert column(plain, "job_id") == column(packed, "job_id") == [1, 2]


def test_philly(write: Write) -> None:
    text = PHILLY + (
        "2017-10-02 00:00:05,10.0,2,20.0,b\n2017-10-01 00:00:07,20.0,16,320.0,a\n2017-10-01 00:00:00,30.0,1,30.0,b\n"
        "2017-09-30 23:59:59,1.0,1,1.0,b\n2017-12-01 00:00:00,1.0,1,1.0,b\n"
        "2017-10-03 00:00:00,0.0,1,0.0,b\n2017-10-03 00:00:00,5.0,0,0.0,b\n"
    )
    path = write(text)
    batches, report = read_all(path, "philly", {"virtual_cluster": "b", "from": "2017-10-01", "until": "2017-12-01"})
    assert column(batches, "submit_ns") == [0, 86_405 * SECOND]
    assert column(batches, "duration_ns") == [30 * SECOND, 10 * SECOND]
    assert column(batches, "job_id") == [0, 1]
    assert batches[0].tenants == ("b",)
    assert report.kept == 2
    assert report.dropped == {"other virtual cluster": 1, "before from": 1, "at or after until": 1, "zero duration": 1, "no GPU": 1}
    everything, _ = read_all(path, "philly")
    assert column(everything, "submit_ns")[0] == 0, "counted from the first job kept"
    assert column(everything, "gpus") == [1, 1, 16, 2, 1]


def test_openb_decisions(write: Write) -> None:
    text = OPENB + (
        "p0,1,1,1,460,,LS,Running,10,100,30\n"
        "p1,1,1,1,460,,LS,Running,10,100,30\n"
        "p2,1,1,0,0,,BE,Running,10,100,30\n"
        "p3,1,1,1,1000,,BE,Pending,10,100,\n"
        "p4,1,1,8,1000,V100M16|V100M32,BE,Succeeded,20,50,50\n"
        "p5,1,1,8,1000,V100M16|V100M32,BE,Failed,20,60,50\n"
    )
    path = write(text)
    (batch,), report = read_all(path, "openb")
    assert batch.names == ("p0", "p1", "p5"), "twins are two pods"
    assert batch.milli_gpus.tolist() == [460, 460, 1000]
    assert batch.gpus.tolist() == [1, 1, 8]
    assert batch.submit_ns.tolist() == [0, 0, 10 * SECOND], "counted from the first"
    assert batch.source_row.tolist() == [2, 3, 7]
    assert batch.duration_ns.tolist() == [70 * SECOND, 70 * SECOND, 10 * SECOND]
    assert batch.preemptible.tolist() == [False, False, True]
    assert report.dropped == {"no GPU": 1, "never scheduled, so its running time is unknown": 1, "zero duration": 1}
    assert batch.host_type.tolist() == [-1, -1, -1]
    assert list(report.noted.values()) == [1]
    types = [replace(catalog.host("hgx-h100"), name=name) for name in ("t4", "v100m32")]
    batches, report = open_trace(path, "openb", host_types=types)
    assert [batch.host_type.tolist() for batch in batches] == [[-1, -1, 1]]
    assert report.noted == {}
    _, report = read_all(path, "openb", {"gpu_spec": "drop"})
    assert report.dropped["asks for a GPU model"] == 2
    pods = open_pods(path)
    assert (len(pods.cpu_milli), len(pods.memory_mib)) == (6, 6)
    assert pods.gpus.tolist() == [1, 1, 0, 1, 8, 8]
    assert pods.milli_gpus.tolist() == [460, 460, 0, 1000, 1000, 1000]
    assert pods.gpu_spec[4] == "V100M16|V100M32"


def test_swf_decisions(write: Write) -> None:
    text = SWF + "".join(
        (
            swf(number=1, submit=0),
            swf(number=2, submit=1, allocated=-1, requested=3, time=-1),
            swf(number=3, submit=1, allocated=2, requested=5, run=500),
            swf(number=4, submit=2, run=-1),
            swf(number=5, submit=2, run=0),
            swf(number=6, submit=2, allocated=-1, requested=-1),
            swf(number=3, submit=3, status=2),
            swf(number=7, submit=3, status=0, user=-1, run="358.00"),
        )
    )
    path = write(text)
    (batch,), report = read_all(path, "swf")
    assert batch.job_id.tolist() == [1, 2, 3, 7]
    assert batch.gpus.tolist() == [4, 3, 2, 4]
    assert batch.duration_ns.tolist() == [60 * SECOND, 60 * SECOND, 500 * SECOND, 358 * SECOND]
    assert batch.estimate_ns.tolist() == [100 * SECOND, 60 * SECOND, 100 * SECOND, 100 * SECOND]
    assert [batch.tenants[number] for number in batch.tenant] == ["user-7", "user-7", "user-7", "default"]
    assert report.dropped == {"unknown running time": 1, "zero duration": 1, "no processors": 1, "part of a job that was listed before": 1}
    (batch,), report = read_all(path, "swf", {"processors": "requested", "processors_per_gpu": "2", "status": "1"})
    assert batch.gpus.tolist() == [2, 2, 3]
    assert report.dropped["status 0"] == 1


CSV_ROWS = [
    ("1,0,0,9", "gpus: '0' is out of range"), ("1,0,-1,9", "gpus"), ("1,0,1.5,9", "gpus"), ("1,0,1_0,9", "gpus"), ("1,-1,1,9", "submit_s"),
    ("1,nan,1,9", "submit_s"), ("1,0,1,inf", "duration_s"), ("1,0,1,1e300", "duration_s"), ("1,0,1,-5", "duration_s"),
    ("1,0,99999999999999999999999999,9", "gpus"), ("1,0,1", "3 fields"), ("1,0,1,9,9", "5 fields"), ("1,,1,9", "submit_s"),
    ("x,0,1,9", "id: 'x' is not a number"), ("-1,0,1,9", "id"), ('1,0,1,"9', "not a CSV row"), ("1,0,1,0x10", "duration_s"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "complaint"), CSV_ROWS)
def test_malformed_rows(write: Write, row: str, complaint: str) -> None:
    path = write(CSV + f"0,0,1,9\n{row}\n")
    with pytest.raises(TraceError, match=rf"trace:3: {complaint}.*allowed: ") as error:
        read_all(path, "csv")
    assert error.value.line == 3
    assert "\n" not in str(error.value)
    batches, report = read_all(path, "csv", {"bad_rows": "skip"})
    assert (report.kept, report.dropped) == (1, {"malformed": 1})
    assert column(batches, "job_id") == [0]


def test_a_bad_row_leaves_no_trace_when_skipped(write: Write) -> None:
    """Neither its id nor its time counts for the rows after it."""
    path = write(CSV + "0,0,1,9\n9,100,0,9\n1,1,1,9\n")
    batches, _ = read_all(path, "csv", {"bad_rows": "skip"})
    assert column(batches, "job_id") == [0, 1]


@pytest.mark.parametrize(
    ("format", "text", "complaint"),
    [
        ("philly", PHILLY + "yesterday,1.0,1,1.0,a\n", "2: timestamp: 'yesterday' is not a date"),
        ("philly", PHILLY + "2017-10-01 00:00:00+99:00,1.0,1,1.0,a\n", "2: timestamp"),
        ("philly", "timestamp,duration\n", "1: num_gpus: the header lacks this column"),
        ("openb", OPENB + "p0,1,1,2,500,,LS,Running,0,9,0\n", "2: gpu_milli: 500 of each of 2"),
        ("openb", OPENB + "p0,1,1,1,0,,LS,Running,0,9,0\n", "2: gpu_milli"),
        ("openb", OPENB + "p0,1,1,1,1000,,LS,Running,0,9,10\n", "2: deletion_time: '9' is out of range"),
        ("openb", OPENB + ",1,1,1,1000,,LS,Running,0,9,1\n", "2: name"),
        ("openb", "name,num_gpu,gpu_milli\np0,1,500\n", "1: creation_time"),
        ("swf", SWF + "1 2 3\n", "2: 3 fields"),
        ("swf", SWF + swf(run="x"), "2: run_time: 'x' is not a number"),
        ("swf", SWF + swf(run=-2), "2: run_time"),
        ("swf", SWF + swf(submit=-1), "2: submission"),
        ("swf", SWF + swf(status=9), "2: status"),
        ("swf", SWF + swf(number=2) + swf(number=2), "3: id: 2 is there already, in line 2"),
        ("swf", SWF, " the file has no job"),
        ("csv", "", " the file is empty"),
        ("csv", "\n\n", " the file is empty"),
        ("csv", CSV, " no job in it"),
        ("csv", CSV + "1,0,1,0\n", " no job in it: dropped 1 zero duration"),
        ("csv", CSV + "1,0,1,9\n2,2017-10-01,1,9\n", "3: submit_s: '2017-10-01' is not a number"),
        ("csv", CSV + "1,2017-10-01,1,9\n2,5,1,9\n", "3: submit_s: '5' is not a date .*as in the rows before"),
        ("csv", CSV + "1,1767225600000,1,9\n", "2: submit_s: '1767225600000' is out of range .*time_unit"),
        ("csv", "id,id,submit_s,gpus,duration_s\n", "1: id: the column appears twice"),
        ("csv", "id,submit_s,gpus,duration_s,gpu_milli\n1,0,2,9,500\n", "2: gpus: 2 GPUs with gpu_milli 500"),
        ("csv", SLICED + "1,0,8,9,1000,3,rack\n", "2: slice_gpus: 8 GPUs cannot be cut into slices of 3"),
        ("csv", SIZED + "1,0,8,9,9,1000\n", "2: min_gpus: 9 is more than the 8 GPUs of the job"),
        ("csv", SIZED + "1,0,8,9,-1,1000\n", "2: min_gpus: '-1'"),
        ("csv", AFTER_FAULTS + "1,0,8,9,often,\n", "2: checkpoint_s: 'often'"),
        ("csv", AFTER_FAULTS + "1,0,8,9,-5,\n", "2: checkpoint_s: '-5'"),
        ("csv", AFTER_FAULTS + "1,0,8,9,,hope\n", "2: recovery: 'hope' is no way to go on after a fault .allowed: requeue, in-place"),
        ("csv", SIZED + "1,0,1,9,1,500\n", "2: min_gpus: 1 of a shared GPU"),
        ("csv", SLICED + "1,0,8,9,1000,4,row\n", "2: slice_level: 'row' is not a level"),
        ("csv", SLICED + "1,0,8,9,1000,4,\n", "2: slice_level: '' is not a level"),
        ("csv", SLICED + "1,0,8,9,1000,,rack\n", "2: slice_gpus: no slices, with the slice_level 'rack'"),
        ("csv", SLICED + "1,0,1,9,500,1,rack\n", "2: slice_gpus: slices of a shared GPU"),
        ("csv", SLICED + "1,0,8,9,1000,-4,rack\n", "2: slice_gpus: '-4' is out of range"),
        ("csv", CSV.encode() + b"1,0,1,\xff\n", "2: not text"),
        ("csv", bytes(range(256)) * 20, "1: not text"),
        ("csv", CSV.encode() + b"\0" * 100, "2: not text"),
        ("csv", CSV + "1" * 100_000, "2: the line is too long"),
        ("csv", gzip.compress((CSV + "1,0,1,9\n" * 1000).encode())[:-20], " damaged gzip"),
        ("csv", b"\x1f\x8bnot gzip at all", " damaged gzip"),
    ],
)
def test_bad_files(write: Write, format: str, text: str | bytes, complaint: str) -> None:
    path = write(text)
    with pytest.raises(TraceError, match=f"trace:{complaint}") as error:
        read_all(path, format)
    assert error.value.file == str(path)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="nowhere: cannot be read: No such file"):
        open_trace(tmp_path / "nowhere", "csv")
    with pytest.raises(TraceError, match="cannot be read: it is a directory"):
        open_trace(tmp_path, "csv")


@pytest.mark.parametrize(
    ("format", "options", "complaint"),
    [
        ("parquet", {}, r"no trace format 'parquet' \(allowed: csv, philly"),
        ("csv", {"virtual_cluster": "x"}, "csv has no trace option 'virtual_cluster'"),
        ("csv", {"from": "yesterday"}, "option from=yesterday"),
        ("csv", {"from": "nan"}, "option from=nan"),
        ("csv", {"from": "5", "until": "5"}, "until is not later than from"),
        ("csv", {"bad_rows": "maybe"}, r"bad_rows=maybe \(allowed: error or skip"),
        ("philly", {"from": "2017-13-01"}, "from=2017-13-01"),
        ("philly", {"virtual_cluster": "nope"}, "no virtual cluster 'nope'"),
        ("swf", {"processors_per_gpu": "0"}, "processors_per_gpu=0"),
        ("swf", {"status": "done"}, "status=done"),
        ("openb", {"gpu_spec": "V100"}, "gpu_spec=V100"),
    ],
)
def test_bad_options(write: Write, format: str, options: dict[str, str], complaint: str) -> None:
    path = write(PHILLY + "2017-10-01 00:00:00,1.0,1,1.0,a\n")
    with pytest.raises(TraceError, match=complaint):
        read_all(path, format, options)


FIELD = st.one_of(
    st.sampled_from(["", "0", "1", "-1", "1e9", "nan", "inf", "-inf", "1e999", "2017-10-01 00:00:00", "9" * 30, "0.5", '"', "x", "Ⅷ", "٣"]),
    st.integers(-5, 10**12).map(str),
    st.floats().map(str),
    st.text(max_size=6),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMATS)), st.lists(st.lists(FIELD, min_size=3, max_size=18), max_size=6), st.booleans(), st.booleans())
def test_any_text_is_read_or_refused(tmp_path: Path, format: str, rows: list[list[str]], with_header: bool, skip: bool) -> None:
    """Whatever is in the file, jobs come out that keep the contract, or a TraceError."""
    header = HEADERS[format] if with_header else ""
    separator = {"swf": " ", "sacct": "|"}.get(format, ",")
    path = tmp_path / "trace"
    path.write_text(header + "\n".join(separator.join(row) for row in rows), encoding="utf-8", errors="replace", newline="")
    try:
        batches, report = read_all(path, format, {"bad_rows": "skip" if skip else "error"})
    except TraceError:
        return
    assert report.kept == sum(len(batch) for batch in batches) > 0
    assert (np.diff(column(batches, "submit_ns")) >= 0).all()
    assert min(column(batches, "duration_ns")) > 0
    assert min(column(batches, "estimate_ns")) > 0
    assert min(column(batches, "gpus")) > 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FORMATS)), st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path: Path, format: str, junk: bytes, compressed: bool) -> None:
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(junk) if compressed else junk)
    with pytest.raises(TraceError):
        read_all(path, format)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 10**15), st.integers(1, 10**6), st.integers(1, 10**15)), min_size=1, max_size=30), st.integers(1, 9)
)
def test_what_was_written_is_read(tmp_path: Path, jobs: list[tuple[int, int, int]], chunk: int) -> None:
    """Microseconds survive exactly, whatever the batches."""
    jobs = sorted(jobs, key=lambda job: job[0])
    path = tmp_path / "trace"
    path.write_text(
        CSV + "".join(f"{n},{s // 10**6}.{s % 10**6:06d},{g},{d // 10**6}.{d % 10**6:06d}\n" for n, (s, g, d) in enumerate(jobs))
    )
    batches, _ = read_all(path, "csv", limits=TraceLimits(chunk_rows=chunk))
    assert column(batches, "submit_ns") == [(job[0] - jobs[0][0]) * 1000 for job in jobs]
    assert column(batches, "gpus") == [job[1] for job in jobs]
    assert column(batches, "duration_ns") == [job[2] * 1000 for job in jobs]


@pytest.mark.traces
@pytest.mark.parametrize(("cluster", "jobs", "gpus"), [("2869ce", 315, 128), ("103959", 1450, 64)])
def test_philly_keeps_the_jobs_of_the_reference_schedule(cluster: str, jobs: int, gpus: int) -> None:
    """(submit, duration, GPUs) as a multiset is that of the schedule computed by others."""
    options = {"virtual_cluster": cluster, "from": "2017-10-01", "until": "2017-12-01"}
    batches, report = read_all(published("philly/philly.csv.gz"), "philly", options)
    assert report.kept == jobs
    assert report.kept + sum(report.dropped.values()) == 63_210
    with gzip.open(published(f"philly/schedule_{cluster}_fifo_{gpus}gpus.csv.gz"), "rt") as file:
        next(file)
        reference = sorted(tuple(map(int, line.split(",")[:3])) for line in file)
    seconds = [[value // SECOND for value in column(batches, name)] for name in ("submit_ns", "duration_ns")]
    assert sorted(zip(*seconds, column(batches, "gpus"), strict=True)) == reference


@pytest.mark.traces
def test_openb_counts() -> None:
    batches, report = read_all(published("openb/pod_list_default.csv.gz"), "openb")
    assert report.dropped == {"no GPU": 1_052, "never scheduled, so its running time is unknown": 897}
    assert report.kept == 8_152 - 1_052 - 897
    assert min(column(batches, "milli_gpus")) >= 1
    pods = open_pods(published("openb/pod_list_multigpu50.csv.gz"))
    assert len(pods.gpus) == len(pods.milli_gpus) == len(pods.gpu_spec)
    assert len(open_pods(published("openb/pod_list_default.csv.gz")).gpus) == 8_152


@pytest.mark.traces
def test_gaia_counts() -> None:
    batches, report = read_all(published("swf/UniLu-Gaia-2014-2.swf.gz"), "swf")
    assert report.kept + sum(report.dropped.values()) == 51_987
    assert report.dropped == {"unknown running time": 28, "zero duration": 100}
    assert max(column(batches, "gpus")) == 516
