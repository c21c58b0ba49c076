"""Traces from the command line to the files of a run: what was kept, what was left out, and which row a job was."""

import bz2
import json
import lzma
import re
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from emulator.workload.readers import COMMON_OPTIONS, FORMATS
from tests.cli.conftest import Run

DOCS = Path(__file__).resolve().parents[2] / "docs"
CSV = "id,submit_s,gpus,duration_s"
SWF = "{} {} 0 {} {} -1 -1 4 200 -1 1 3 1 -1 1 -1 -1 -1\n"


@pytest.fixture
def emulated(gigawatt: Run, tmp_path: Path) -> Any:
    """(Summary, rows of jobs.parquet) of a run of ``laptop`` with a trace."""

    def run(text: str | bytes, format: str, *options: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        trace = tmp_path / "trace.txt"
        trace.write_bytes(text.encode() if isinstance(text, str) else text)
        more = [word for option in options for word in ("--trace-option", option)]
        line = f"run laptop --actors inline -q --json --set faults.enabled=false --set clock.cycle=1s --format {format} --trace"
        code, out, err = gigawatt(line, trace, "-o", tmp_path / "out", *more)
        assert code == 0, err
        summary = json.loads(out)
        (source,) = summary["sources"]
        assert (source["path"], source["format"]) == (str(trace), format)
        assert source["read"] == source["kept"] + sum(source["dropped"].values())
        assert source["kept"] == summary["jobs"]["submitted"]
        return summary, parquet.read_table(tmp_path / "out" / "jobs.parquet").to_pylist()

    return run


def told(jobs: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(job[column] for column in columns) for job in jobs]


@pytest.mark.parametrize("clock", [0, 1_700_000_000])
def test_a_log_that_starts_late_is_the_same_run(emulated: Any, clock: int) -> None:
    text = "; UnixStartTime: 0\n" + SWF.format(7, clock, 60, 8) + SWF.format(8, clock + 20, 60, 8)
    summary, jobs = emulated(text, "swf")
    assert summary["emulated_seconds"] == 80
    assert summary["gpu_allocation_ratio"] == pytest.approx(2 * 60 * 8 / (80 * 256))
    assert summary["it_energy_joules"] < 1e7
    assert summary["sources"][0]["zero_seconds"] == clock
    assert len(summary["sources"][0]["notes"]) == (1 if clock else 0)
    assert told(jobs, "job_id", "name", "source_row", "submit_seconds", "end_seconds") == [(7, "7", 2, 0, 60), (8, "8", 3, 20, 80)]
    assert emulated(f"{CSV}\n7,{clock},8,60\n8,{clock + 20},8,60\n", "csv")[0]["digest"] == summary["digest"]


def test_an_unsorted_log_with_sort(emulated: Any, gigawatt: Run, tmp_path: Path) -> None:
    text = SWF.format(1, 0, 10, 4) + SWF.format(3, 9, 10, 4) + SWF.format(2, 5, 10, 4)
    _, jobs = emulated(text, "swf", "sort=yes")
    assert told(jobs, "job_id", "source_row", "submit_seconds") == [(1, 1, 0), (2, 3, 5), (3, 2, 9)]
    code, _, err = gigawatt("run laptop --actors inline --format swf --trace", tmp_path / "trace.txt")
    assert code == 2
    assert err.count("\n") == 1
    (named,) = re.findall(r"the option (\w+)=", err)
    assert named in {*COMMON_OPTIONS, *FORMATS["swf"].options}


def test_dropped_rows_are_in_the_summary_and_on_the_terminal(emulated: Any, gigawatt: Run, tmp_path: Path) -> None:
    text = "; a log\n" + SWF.format(1, 0, 10, 4) + SWF.format(2, 1, -1, 4) + SWF.format(3, 2, 0, 4) + SWF.format(4, 2, 0, 4)
    for packed in (text.encode(), bz2.compress(text.encode()), lzma.compress(text.encode())):
        summary, jobs = emulated(packed, "swf")
        (source,) = summary["sources"]
        assert (source["read"], source["kept"]) == (4, 1)
        assert source["dropped"] == {"unknown running time": 1, "zero duration": 2}
        assert told(jobs, "name", "source_row") == [("1", 2)], "lines count after unpacking"
    code, out, _ = gigawatt("run laptop --actors inline -q --format swf --trace", tmp_path / "trace.txt")
    assert code == 0
    for shown in ("trace.txt, format swf", "1 of 4 rows", "2: zero duration", "1: unknown running time"):
        assert shown in out
        assert shown in (tmp_path / "out" / "report.html").read_text()


def test_accounting_of_slurm(emulated: Any) -> None:
    text = (
        "State|JobID|Account|Partition|Submit|Start|End|Elapsed|Timelimit|AllocTRES\n"
        "COMPLETED|70|lab|gpu|2026-03-01T00:00:00|2026-03-01T00:09:00|2026-03-01T00:39:00|00:30:00|01:00:00|cpu=9,gres/gpu:h100=16\n"
        "COMPLETED|70.batch|lab||2026-03-01T00:09:00|2026-03-01T00:09:00|2026-03-01T00:39:00|00:30:00||cpu=9\n"
        "PENDING|71_[1-9]|lab|gpu|2026-03-01T00:00:00|Unknown|Unknown|00:00:00|01:00:00|\n"
        "TIMEOUT|72_4|ops|cpu|2026-03-01T00:01:00|2026-03-01T00:09:00|2026-03-01T00:10:00|00:01:00|UNLIMITED|gres/gpu=1\n"
    )
    summary, jobs = emulated(text, "sacct")
    assert summary["sources"][0]["dropped"] == {"step of a job": 1, "never started": 1}
    times = "submit_seconds", "start_seconds", "end_seconds", "estimate_seconds"
    assert told(jobs, "name", "source_row", "queue", "tenant", "gpus", "gpu_type", *times) == [
        ("70", 2, "gpu", "lab", 16, "H100-SXM5-80GB", 0, 0, 1800, 3600),
        ("72_4", 5, "cpu", "ops", 1, "H100-SXM5-80GB", 60, 60, 120, 365 * 86_400),
    ]
    assert jobs[0]["hosts"] == "r00000-h[00-01]"


def test_helios(emulated: Any) -> None:
    text = (
        "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue\n"
        "11,a,vcA,0,4,1,COMPLETED,2020-06-01 00:00:05,2020-06-01 00:00:06,2020-06-01 00:01:06,60,1\n"
        "12,b,vcA,16,64,2,CANCELLED,2020-06-01 00:00:07,2020-06-01 00:00:09,2020-06-01 00:01:39,90,2\n"
        "13,b,vcB,16,64,2,FAILED,2020-06-01 00:00:08,None,None,0,0\n"
    )
    summary, jobs = emulated(text, "helios")
    assert summary["sources"][0]["dropped"] == {"no GPU": 1, "never started": 1}
    assert told(jobs, "job_id", "name", "source_row", "tenant", "gpus", "end_seconds") == [(12, "12", 3, "vcA", 16, 90)]


def test_philly_as_published(emulated: Any) -> None:
    run = {"start_time": "2017-10-09 07:02:10", "end_time": "2017-10-09 07:04:10", "detail": [{"ip": "m", "gpus": ["0", "1", "2"]}]}
    job = {"status": "Pass", "vc": "v", "submitted_time": "2017-10-09 07:01:50", "user": "u"}
    text = json.dumps([
        job | {"jobid": "a", "attempts": []},
        job | {"jobid": "b", "attempts": [run]},
        job | {"jobid": "c", "attempts": [run | {"end_time": None}]},
    ])  # fmt: skip
    summary, jobs = emulated(text, "philly")
    assert summary["sources"][0]["dropped"] == {"never started": 1, "had not ended, so its running time is unknown": 1}
    assert told(jobs, "name", "source_row", "tenant", "gpus", "end_seconds") == [("b", 2, "v", 3, 120)]


def test_columns_that_are_not_ours_and_dates_with_zones(emulated: Any) -> None:
    summary, jobs = emulated(f"{CSV},user,colour\n1,5,8,100,u1,red\n", "csv")
    assert summary["sources"][0]["notes"][0] == "columns not read: user, colour"
    assert told(jobs, "gpus", "end_seconds") == [(8, 100)]
    text = "timestamp,duration,num_gpus,gpu_time,cluster\n2017-10-03T09:00:00Z,100,1,100,v\n2017-10-03T11:00:05+02:00,50,8,400,v\n"
    _, jobs = emulated(text, "philly", "from=2017-10-03T10:59:50+02:00")
    assert told(jobs, "source_row", "submit_seconds") == [(2, 10), (3, 15)]


@pytest.mark.parametrize("options", [("ids=renumber", "sort=yes"), ("sort=yes",)])
def test_text_ids_lead_back_to_the_trace(emulated: Any, options: tuple[str, ...]) -> None:
    _, jobs = emulated(f"{CSV}\nlate,30,8,100\nearly,10,4,100\n", "csv", *options)
    assert told(jobs, "job_id", "name", "source_row", "gpus", "submit_seconds") == [(0, "early", 3, 4, 0), (1, "late", 2, 8, 20)]


def test_any_table_with_a_map(emulated: Any) -> None:
    text = "when;n;took;who\n2023-05-01 10:00:00+08:00;8.0;90;u1\n2023-05-01 10:00:10+08:00;0;90;u1\n"
    text += "2023-05-01 10:00:20+08:00;0.5;1-00:00:00;u2\n"
    summary, jobs = emulated(text, "csv", "submit=when", "gpus=n", "duration=took", "tenant=who")
    assert summary["sources"][0]["dropped"] == {"no GPU": 1}
    assert told(jobs, "name", "source_row", "tenant", "gpus", "submit_seconds", "end_seconds") == [
        ("", 2, "u1", 8, 0, 90),
        ("", 4, "u2", 1, 20, 86_420),
    ]
    assert jobs[1]["gpu_seconds"] == pytest.approx(43_200)


@pytest.mark.parametrize(
    ("text", "format", "options", "shown"),
    [
        (f"{CSV}\n1,0,8,9\n1,5,8,9\n", "csv", [], [":3: id: 1 is there already, in line 2"]),
        (b"\xfd7zXZ\x00 and no more", "swf", [], ["damaged xz", "a whole file"]),
        (b"BZh9 and no more", "sacct", [], ["damaged bzip2"]),
        (b"\x28\xb5\x2f\xfd and no more", "helios", [], ["damaged zstd"]),
        ("JobID|State\n", "sacct", [], [":1: Submit: the header lacks"]),
        ("10.batch|COMPLETED\n", "sacct", [], [":1: JobID", "--parsable2"]),
        ("[{]", "philly", [], [":1: object 1 is not JSON"]),
        (f"{CSV}\n", "csv", ["gpus=num_gpu"], [":1: num_gpu: the header lacks this column", "given: id,submit_s"]),
        (f"{CSV}\n", "csv", ["colour=red"], ["no trace option 'colour'", "gpu_unit"]),
        ("job_id\n", "helios", ["from=noon"], ["from=noon", "2017-10-01T12:00:00+01:00"]),
    ],
)
def test_a_bad_trace_is_exit_2_and_one_line(
    gigawatt: Run, tmp_path: Path, text: str | bytes, format: str, options: list[str], shown: list[str]
) -> None:
    trace = tmp_path / "t"
    trace.write_bytes(text.encode() if isinstance(text, str) else text)
    more = [word for option in options for word in ("--trace-option", option)]
    code, out, err = gigawatt(f"run laptop --actors inline -q --format {format} --trace", trace, *more)
    assert (code, out) == (2, "")
    assert err.startswith("gigawatt: error: ")
    assert err.count("\n") == 1
    assert "fault of gigawatt" not in err
    assert [text for text in shown if text not in err] == []


def test_the_page_has_every_format_and_option() -> None:
    """As the readers say it themselves, so that the page cannot fall behind."""
    text = (DOCS / "traces.md").read_text(encoding="utf-8")
    for name, options in {**{name: one.options for name, one in FORMATS.items()}, "": COMMON_OPTIONS}.items():
        section = text.split(f"### `{name}`\n", 1)[1].split("\n##", 1)[0] if name else text
        for option, meaning in options.items():
            assert f"| `{option}` | {meaning} |" in section, (name, option)
