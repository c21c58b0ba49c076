"""Others' tables without a reader of their own: trace options that say which column is which."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.workload.jobs import SECOND
from emulator.workload.readers import TraceError, open_trace
from emulator.workload.readers.plain import GPU_UNITS
from emulator.workload.readers.times import UNITS
from tests.workload.traces import Write, column, read_all
from topology import catalog

ACME = "job_id,user,node_num,gpu_num,cpu_num,type,state,submit_time,start_time,end_time,duration,queue\n"
ACME_ROWS = (
    "dlc1,u1,1,8.0,64,Pretrain,COMPLETED,2023-05-01 10:00:00+08:00,2023-05-01 10:01:00+08:00,2023-05-01 11:01:00+08:00,3600,60\n"
    "dlc2,u2,0,0,4,Other,COMPLETED,2023-05-01 10:00:30+08:00,2023-05-01 10:01:00+08:00,2023-05-01 11:01:00+08:00,3600,30\n"
    "dlc3,u2,4,32,4,Eval,CANCELLED,2023-05-01 10:00:40+08:00,,,0,\n"
    "dlc4,u2,4,32,4,Eval,FAILED,2023-05-01 02:02:00+00:00,2023-05-01 10:03:00+08:00,2023-05-01 10:03:30+08:00,30,60\n"
)
ACME_MAP = {"id": "job_id", "submit": "submit_time", "gpus": "gpu_num", "duration": "duration", "start": "start_time", "tenant": "user"}


def test_acme(write: Write) -> None:
    batches, report = read_all(write(ACME + ACME_ROWS), "csv", ACME_MAP)
    assert batches[0].names == ("dlc1", "dlc4")
    assert column(batches, "gpus") == [8, 32]
    assert column(batches, "submit_ns") == [0, 120 * SECOND]
    assert column(batches, "duration_ns") == [3600 * SECOND, 30 * SECOND]
    assert batches[0].queues == ("default",), "a column that is called like ours is not read without being mapped: here it is a wait"
    assert batches[0].tenants == ("default", "u1", "u2")
    assert column(batches, "source_row") == [2, 5]
    assert report.dropped == {"no GPU": 1, "never started": 1}
    assert report.notes == [
        "columns not read: node_num, cpu_num, type, state, end_time, queue",
        "time counts from 2023-05-01T02:00:00, when the first job kept was submitted",
    ]


def test_duration_from_start_and_end(write: Write) -> None:
    options = ACME_MAP | {"end": "end_time"}
    del options["duration"]
    batches, _ = read_all(write(ACME + ACME_ROWS), "csv", options)
    assert column(batches, "duration_ns") == [3600 * SECOND, 30 * SECOND]


def test_pai(write: Write) -> None:
    """Alibaba's PAI: percent of a GPU for each of several instances, seconds of a clock of its own, no id needed."""
    text = (
        "job_name,task_name,inst_num,status,start_time,end_time,plan_cpu,plan_mem,plan_gpu,gpu_type\n"
        "a,worker,4,Terminated,1000,1600,600,29,50,V100\n"
        "b,tensorflow,1,Terminated,1100.5,1700.5,600,29,25.0,T4\n"
        "c,worker,3,Failed,1200,1300,600,29,50.0,MISC\n"
        "d,ps,1,Terminated,1250,1300,600,29,,\n"
        "e,worker,2,Running,1300,,600,29,100,T4\n"
    )
    options = {
        "submit": "start_time", "start": "start_time", "end": "end_time", "gpus": "plan_gpu", "gpu_unit": "percent",
        "instances": "inst_num", "name": "job_name", "gpu_type": "gpu_type",
    }  # fmt: skip
    types = [replace(catalog.host("hgx-h100"), name=name) for name in ("t4", "v100")]
    batches, report = open_trace(write(text), "csv", options, host_types=types)
    (batch,) = batches
    assert batch.names == ("a", "b", "c")
    assert batch.gpus.tolist() == [2, 1, 2]
    assert batch.milli_gpus.tolist() == [1000, 250, 1000]
    assert batch.submit_ns.tolist() == [0, 100_500_000_000, 200 * SECOND]
    assert batch.duration_ns.tolist() == [600 * SECOND, 600 * SECOND, 100 * SECOND]
    assert batch.host_type.tolist() == [1, 0, -1]
    assert report.dropped == {"no GPU": 1, "had not ended, so its running time is unknown": 1}
    assert report.noted["asked for fractions of several GPUs, which were rounded up to whole GPUs"] == 1


@pytest.mark.parametrize(
    ("unit", "text", "nanoseconds"),
    [
        ("s", "90", 90 * SECOND), ("s", "1.5", 1_500_000_000), ("ms", "1500", 1_500_000_000), ("us", "7", 7_000), ("ns", "7", 7),
        ("min", "1.5", 90 * SECOND), ("h", "2", 7_200 * SECOND), ("d", "0.5", 43_200 * SECOND), ("s", "1-00:00:01", 86_401 * SECOND),
        ("ms", "01:00:00", 3_600 * SECOND), ("s", "0 days 00:01:30.250000", 90_250_000_000), ("s", "1 day, 0:00:01", 86_401 * SECOND),
        ("s", "2:30", 150 * SECOND), ("s", "9e1", 90 * SECOND),
    ],
)  # fmt: skip
def test_units_and_clocks_of_durations(write: Write, unit: str, text: str, nanoseconds: int) -> None:
    path = write(f't;g;d\n5;1;"{text}"\n')
    batches, _ = read_all(path, "csv", {"submit": "t", "gpus": "g", "duration": "d", "duration_unit": unit})
    assert column(batches, "duration_ns") == [nanoseconds]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_milliseconds_of_unix_time_and_any_separator(write: Write, separator: str) -> None:
    text = "when,num_gpus,took\n1767225600000,8,60\n1767225600250,4,60\n".replace(",", separator)
    options = {"submit": "when", "gpus": "num_gpus", "duration": "took", "time_unit": "ms"}
    batches, report = read_all(write(text), "csv", options)
    assert column(batches, "submit_ns") == [0, SECOND // 4]
    assert batches[0].names is None
    assert report.zero_seconds == 1_767_225_600
    batches, _ = read_all(write(text), "csv", options | {"from": "2026-01-01"})
    assert column(batches, "submit_ns") == [0, SECOND // 4], "a date is one of a clock of Unix seconds too"


def test_an_id_keeps_its_name_without_being_mapped(write: Write) -> None:
    text = "id,submit_s,num_gpu,duration_s\n7,0,8,100\n3,5,4,100\n"
    batches, report = read_all(write(text), "csv", {"gpus": "num_gpu"})
    assert column(batches, "job_id") == [7, 3]
    assert (batches[0].names, report.notes) == (("7", "3"), [])
    with pytest.raises(TraceError, match="trace:3: id: 7 is there already, in line 2"):
        read_all(write(text.replace("\n3,", "\n7,")), "csv", {"gpus": "num_gpu"})


def test_names_that_are_mapped_may_repeat(write: Write) -> None:
    text = "who,submit_s,gpus,took\nann,0,8,100\nann,5,4,100\n"
    batches, _ = read_all(write(text), "csv", {"duration": "took", "name": "who"})
    assert batches[0].names == ("ann", "ann")


def test_philly_with_another_header(write: Write) -> None:
    text = "submit_time,run_s,gpu_count,vc\n2017-10-03 09:00:00,100,1,a\n2017-10-02 09:00:00,50,8,b\n"
    options = {"submit": "submit_time", "duration": "run_s", "gpus": "gpu_count", "queue": "vc", "sort": "yes"}
    batches, report = read_all(write(text), "csv", options)
    assert column(batches, "gpus") == [8, 1]
    assert column(batches, "submit_ns") == [0, 86_400 * SECOND]
    assert column(batches, "source_row") == [3, 2]
    assert batches[0].queues == ("default", "a", "b")
    assert report.notes[:-1] == []


def test_a_map_of_what_is_optional_leaves_the_rest_ours(write: Write) -> None:
    text = "id,submit_s,gpus,duration_s,user,partition,priority\n1,0,8,100,u1,gpu,3\n"
    batches, report = read_all(write(text), "csv", {"tenant": "user", "queue": "partition"})
    assert (batches[0].tenants[1], batches[0].queues[1], batches[0].priority.tolist()) == ("u1", "gpu", [3])
    assert report.notes == []
    with pytest.raises(TraceError, match="2: gpus: '0' is out of range"):
        read_all(write(text.replace("0,8,", "0,0,")), "csv", {"tenant": "user"})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"gpus": "num_gpu"}, "1: num_gpu: the header lacks this column .*given: t,g,d"),
        ({"gpus": ""}, "option gpus= .allowed: the name of a column"),
        ({"gpus": "g", "submit": "t"}, "1: duration_s: the header lacks this column .*gpus=COLUMN"),
        ({"gpus": "g", "submit": "t", "end": "d"}, "end has no start"),
        ({"gpus": "g", "submit": "t", "duration": "d", "gpu_unit": "dozen"}, "gpu_unit=dozen .allowed: gpu or percent or milli"),
        ({"gpus": "g", "submit": "t", "duration": "d", "time_unit": "y"}, "time_unit=y .allowed: s or ms"),
        ({"gpus": "t", "submit": "g", "duration": "d"}, "2: t: 'x' is not a number of GPUs"),
        ({"gpus": "d", "submit": "g", "duration": "t"}, "2: t: 'x' is not a duration"),
    ],
)
def test_a_wrong_map_is_said(write: Write, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(TraceError, match=complaint):
        read_all(write("t,g,d\nx,1,9\n"), "csv", options)


CELL = st.sampled_from(
    ["", "0", "1", "8.0", "0.5", "-1", "nan", "None", "1e9", "1e999", "9" * 30, "2023-05-01 10:00:00+08:00", "x", "1:2:3", '"']
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELL, min_size=6, max_size=6), max_size=5),
    st.sampled_from(sorted(GPU_UNITS)),
    st.sampled_from(sorted(UNITS)),
    st.booleans(),
)
def test_any_table_is_read_or_refused(tmp_path: Path, rows: list[list[str]], gpu_unit: str, time_unit: str, skip: bool) -> None:
    path = tmp_path / "trace"
    path.write_text("a,b,c,d,e,f\n" + "\n".join(",".join(row) for row in rows))
    options = {"submit": "a", "start": "b", "end": "c", "gpus": "d", "instances": "e", "estimate": "f", "sort": "yes"}
    options |= {"gpu_unit": gpu_unit, "time_unit": time_unit, "bad_rows": "skip" if skip else "error"}
    try:
        batches, report = read_all(path, "csv", options)
    except TraceError:
        return
    assert report.kept == sum(len(batch) for batch in batches) > 0
    for name in ("duration_ns", "estimate_ns", "gpus", "milli_gpus"):
        assert min(column(batches, name)) > 0
    assert max(column(batches, "milli_gpus")) <= 1000
