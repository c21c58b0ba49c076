"""Slurm's accounting: whose columns come in any order, and whose rows are not all jobs."""

from dataclasses import replace

import pytest

from emulator.workload.jobs import SECOND
from emulator.workload.readers import TraceError, open_trace
from tests.workload.traces import Write, column, read_all
from topology import catalog

DAY = "2026-05-04T"
HEADER = "JobID|User|Account|Partition|QOS|Submit|Start|End|Elapsed|ElapsedRaw|Timelimit|NNodes|AllocTRES|ReqTRES|State"


def row(
    job: str = "10", *, submit: str = DAY + "00:00:00", start: str = DAY + "00:00:10", end: str = DAY + "01:00:10",
    elapsed: str = "01:00:00", raw: str = "3600", limit: str = "04:00:00", alloc: str = "cpu=64,gres/gpu=16,node=2", req: str = "",
    state: str = "COMPLETED",
) -> str:  # fmt: skip
    return f"{job}|ann|lab|a100|high|{submit}|{start}|{end}|{elapsed}|{raw}|{limit}|2|{alloc}|{req}|{state}"


def table(*rows: str, header: str = HEADER) -> str:
    return "\n".join((header, *rows)) + "\n"


def test_jobs_are_kept_and_the_rest_is_counted(write: Write) -> None:
    text = table(
        row("10", alloc="billing=64,gres/gpu:h100=16,gres/gpu=16,mem=1000G"),
        row("10.batch", alloc="cpu=32,node=1", limit=""),
        row("10.0", alloc="cpu=64,gres/gpu=16"),
        row("11_[3-7%2]", start="Unknown", end="Unknown", elapsed="00:00:00", raw="0", alloc="", req="gres/gpu=1", state="PENDING"),
        row("12", submit=DAY + "00:02:00", elapsed="00:01:30", raw="90", limit="UNLIMITED", alloc="gres/gpu=1", state="CANCELLED by 7"),
        row("13", start="None", elapsed="00:00:00", raw="0", alloc="", state="CANCELLED by 5"),
        row("14", end="Unknown", state="RUNNING"),
        row("15", alloc="cpu=4,mem=8G", req="cpu=4"),
        row("16", raw="0", state="FAILED"),
        row("17", state="REQUEUED"),
    )
    batches, report = read_all(write(text), "sacct")
    (batch,) = batches
    assert batch.names == ("10", "12")
    assert batch.gpus.tolist() == [16, 1]
    assert batch.submit_ns.tolist() == [0, 120 * SECOND]
    assert batch.duration_ns.tolist() == [3600 * SECOND, 90 * SECOND]
    assert batch.estimate_ns.tolist() == [14_400 * SECOND, 365 * 86_400 * SECOND]
    assert batch.source_row.tolist() == [2, 6]
    assert [batch.queues[number] for number in batch.queue] == ["a100", "a100"]
    assert [batch.tenants[number] for number in batch.tenant] == ["lab", "lab"]
    assert report.dropped == {
        "step of a job": 2,
        "never started": 2,
        "had not ended, so its running time is unknown": 1,
        "no GPU": 1,
        "zero duration": 1,
        "run of a job that was requeued": 1,
    }


@pytest.mark.parametrize(
    ("column_name", "value", "gpus"),
    [
        ("AllocTRES", "billing=8,cpu=8,gres/gpu=4,node=1", 4),
        ("AllocTRES", "cpu=8,gres/gpu:a100=4,gres/gpu:h100=2", 6),
        ("AllocTRES", "gres/gpu:a100=4,gres/gpu=4,gres/gpumem=80G,gres/gpuutil=0", 4),
        ("ReqTRES", "billing=8,cpu=8,gres/gpu=4,node=1", 4),
        ("AllocGRES", "gpu:4", 4),
        ("AllocGRES", "gpu:v100:8", 8),
        ("AllocGRES", "gpu:v100:8(S:0-1,3),mps:100", 8),
        ("ReqGRES", "gres:gpu:2", 2),
        ("ReqGRES", "gres/gpu:a100:2", 2),
        ("ngpus", "12", 12),
        ("NGPUs", "12", 12),
    ],
)
def test_gpus_by_any_column(write: Write, column_name: str, value: str, gpus: int) -> None:
    header = f"State|{column_name}|jobid|submit|ELAPSED"
    batches, _ = read_all(write(table(f"COMPLETED|{value}|7|{DAY}00:00:00|00:01:00", header=header)), "sacct")
    assert column(batches, "gpus") == [gpus]
    assert column(batches, "duration_ns") == [60 * SECOND]


def test_what_was_allocated_goes_before_what_was_asked_for(write: Write) -> None:
    rows = (row("1", alloc="gres/gpu=2", req="gres/gpu=8"), row("2", alloc="", req="gres/gpu=8"), row("3", alloc="cpu=1", req="gres/gpu=8"))
    batches, report = read_all(write(table(*rows)), "sacct")
    assert column(batches, "gpus") == [2, 8]
    assert report.dropped == {"no GPU": 1}


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        ("04:00:00", 14_400), ("4-00:00:00", 345_600), ("1-12:30:00", 131_400), ("30:00", 1_800), ("1-12", 129_600), ("90", 5_400),
        ("UNLIMITED", 365 * 86_400), ("Partition_Limit", 3_600), ("", 3_600), ("INVALID", 3_600),
    ],
)  # fmt: skip
def test_limits(write: Write, limit: str, seconds: float) -> None:
    """A bare number is minutes, as everywhere in Slurm; without a limit the running time is the estimate."""
    batches, _ = read_all(write(table(row(limit=limit))), "sacct")
    assert column(batches, "estimate_ns") == [seconds * SECOND]


@pytest.mark.parametrize(
    ("elapsed", "raw", "seconds"),
    [("01:00:00", "", 3_600), ("2-01:00:00", "", 176_400), ("00:00:07", "8", 8), ("", "", 3_590), ("01:30.5", "", 90.5)],
)
def test_running_time(write: Write, elapsed: str, raw: str, seconds: float) -> None:
    batches, _ = read_all(write(table(row(start=DAY + "00:00:20", elapsed=elapsed, raw=raw))), "sacct")
    assert column(batches, "duration_ns") == [seconds * SECOND]


def test_arrays_and_heterogeneous_jobs(write: Write) -> None:
    """Every record is a job of its own."""
    text = table(row("20_1"), row("20_2"), row("30+0"), row("30+1", alloc="gres/gpu=4"), row("30+0.0"), row("30+2", alloc="cpu=9"))
    batches, report = read_all(write(text), "sacct")
    assert batches[0].names == ("20_1", "20_2", "30+0", "30+1")
    assert report.noted == {"component of a heterogeneous job, kept as a separate job": 2}
    assert report.dropped == {"step of a job": 1, "no GPU": 1}


def test_the_raw_id_is_the_number_and_the_other_the_name(write: Write) -> None:
    text = table("900|" + row("20_1"), "901|" + row("20_2"), "900.0|" + row("20_1.0"), header="JobIDRaw|" + HEADER)
    batches, _ = read_all(write(text), "sacct")
    assert (column(batches, "job_id"), batches[0].names) == ([900, 901], ("20_1", "20_2"))
    batches, _ = read_all(write(text), "sacct", {"ids": "renumber"})
    assert column(batches, "job_id") == [0, 1]


def test_queue_and_tenant_are_the_columns_asked_for(write: Write) -> None:
    batches, _ = read_all(write(table(row())), "sacct", {"queue": "QOS", "tenant": "user"})
    assert (batches[0].queues[1], batches[0].tenants[1]) == ("high", "ann")
    batches, report = read_all(write(table(row("1"), row("2").replace("a100", "debug"))), "sacct", {"partition": "a100"})
    assert (report.kept, report.dropped) == (1, {"other partition": 1})


def test_a_gpu_type_binds_where_the_cluster_has_it(write: Write) -> None:
    path = write(table(row("1", alloc="gres/gpu:v100=8"), row("2", alloc="gres/gpu:h100=8"), row("3")))
    types = [replace(catalog.host("hgx-h100"), name=name) for name in ("a", "h100")]
    batches, report = open_trace(path, "sacct", host_types=types)
    assert [batch.host_type.tolist() for batch in batches] == [[-1, 1, -1]]
    assert list(report.noted.values()) == [1]


def test_out_of_order_unix_seconds_and_a_separator_at_the_end(write: Write) -> None:
    text = "JobIDRaw|JobID|Submit|Start|End|ElapsedRaw|AllocTRES|State|\n"
    text += "2|2|1772323210|1772323220|1772323230|10|gres/gpu=2|COMPLETED|\n1|1|1772323200|1772323220|1772323230|10|gres/gpu=1|TIMEOUT|\n"
    batches, report = read_all(write(text), "sacct")
    assert column(batches, "gpus") == [1, 2]
    assert column(batches, "submit_ns") == [0, 10 * SECOND]
    assert report.notes == ["time counts from 2026-03-01T00:00:00, when the first job kept was submitted"]


def test_unknown_columns_are_named_and_usual_ones_are_not(write: Write) -> None:
    _, report = read_all(write(table(row() + "|x|3", header=HEADER + "|SiteFactor|ReqCPUS")), "sacct")
    assert "columns not read: SiteFactor" in report.notes


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        ("JobID|Start\n", {}, "1: Submit: the header lacks this column .*sacct --parsable2"),
        ("10|ann|lab\n", {}, "1: JobID: the header lacks this column"),
        (table(row("10"), row("10")), {}, "3: JobID: '10' is there already, in line 2"),
        (table(row(submit="yesterday")), {}, "2: Submit: 'yesterday' is not a date"),
        (table(row(raw="-5")), {}, "2: ElapsedRaw: '-5' is out of range"),
        (table(row(limit="soon")), {}, "2: Timelimit: 'soon' is not a duration"),
        (table(row() + "|x"), {}, "2: 16 fields .*15 fields"),
        (table(row(elapsed="", raw="", end=DAY + "00:00:05")), {}, "2: End: .* is before Start"),
        (table(row("")), {}, "2: JobID: is empty"),
        (table(row(alloc="gres/gpu=999999999")), {}, "2: AllocTRES: 999999999 GPUs"),
        (table(row()), {"tenant": "Colour"}, "option tenant=Colour .*Account"),
        (table(row()), {"tenant": "WCKey"}, "1: WCKey: the header lacks this column"),
        (table(row()), {"partition": "none"}, "no job in it: dropped 1 other partition"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Write, text: str, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(TraceError, match=complaint):
        read_all(write(text), "sacct", options)
