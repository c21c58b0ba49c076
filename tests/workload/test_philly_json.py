"""The JSON that Microsoft published of Philly: jobs with attempts."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.workload.jobs import SECOND
from emulator.workload.readers import TraceError, TraceLimits
from tests.workload.traces import Write, column, read_all


def attempt(
    start: str | None = "2017-10-09 07:02:10", end: str | None = "2017-10-09 07:05:10", gpus: tuple[int, ...] = (2,)
) -> dict[str, object]:
    detail = [{"ip": f"m{machine}", "gpus": [f"gpu{gpu}" for gpu in range(count)]} for machine, count in enumerate(gpus)]
    return {"start_time": start, "end_time": end, "detail": detail}


def job(number: int = 1, submitted: object = "2017-10-09 07:01:50", attempts: object = None, vc: str = "v1") -> dict[str, object]:
    return {
        "status": "Pass", "vc": vc, "jobid": f"application_{number}", "user": "u1",
        "attempts": [attempt()] if attempts is None else attempts, "submitted_time": submitted,
    }  # fmt: skip


JOBS = [
    job(1, "2017-10-09 07:03:00", [attempt(gpus=(8, 4))]),
    job(2),
    job(3, attempts=[]),
    job(4, attempts=[attempt(end=None)]),
    job(5, attempts=[attempt(start="None")]),
    job(6, "None"),
    job(7, attempts=[attempt(gpus=())]),
    job(8, attempts=[attempt(), attempt("2017-10-09 08:00:00", "2017-10-09 08:00:30", (4,))], vc="v2"),
    job(9, attempts=[attempt(), attempt("2017-10-09 08:00:00", None)]),
]


@pytest.mark.parametrize("layout", ["compact", "indented", "lines", "list of lines"])
def test_attempts_are_one_job_that_runs_for_their_sum(write: Write, layout: str) -> None:
    text = {
        "compact": json.dumps(JOBS),
        "indented": json.dumps(JOBS, indent=4),
        "lines": "\n".join(map(json.dumps, JOBS)),
        "list of lines": "[\n" + ",\n".join(map(json.dumps, JOBS)) + "\n]\n",
    }[layout]
    batches, report = read_all(write(text), "philly")
    (batch,) = batches
    assert batch.names == ("application_2", "application_8", "application_1")
    assert batch.gpus.tolist() == [2, 2, 12]
    assert batch.duration_ns.tolist() == [180 * SECOND, 210 * SECOND, 180 * SECOND]
    assert batch.submit_ns.tolist() == [0, 0, 70 * SECOND]
    assert batch.source_row.tolist() == [2, 8, 1], "the number of the object, whatever the lines"
    assert [batch.tenants[number] for number in batch.tenant] == ["v1", "v2", "v1"]
    assert report.dropped == {"never started": 1, "had not ended, so its running time is unknown": 3, "no submission time": 1, "no GPU": 1}


def test_options_are_those_of_the_csv(write: Write) -> None:
    path = write(json.dumps(JOBS))
    batches, report = read_all(path, "philly", {"virtual_cluster": "v2", "from": "2017-10-09T07:00:00Z"})
    assert column(batches, "submit_ns") == [110 * SECOND]
    assert report.dropped == {"other virtual cluster": 8}
    with pytest.raises(TraceError, match=r"no virtual cluster 'v3' \(allowed: v1, v2\)"):
        read_all(path, "philly", {"virtual_cluster": "v3"})


def test_objects_are_read_one_by_one(write: Write) -> None:
    """Over the borders of the pieces that the file is read in; and what never ends is refused, not held."""
    many = [job(number, attempts=[attempt(gpus=(8,) * 40)]) for number in range(700)]
    batches, report = read_all(write("[" + ",\n".join(map(json.dumps, many)) + "]"), "philly")
    assert report.kept == 700
    assert column(batches, "gpus") == [320] * 700
    endless = '[{"vc": "' + "x" * 10_000_000
    with pytest.raises(TraceError, match="trace:1: object 1 is not JSON: Unterminated string"):
        read_all(write(endless), "philly", limits=TraceLimits(object_characters=1 << 16))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", ":1: the list ends after 0 objects"),
        ("[]", ": no job in it"),
        ("[1]", ":1: not a list of objects: '1]"),
        ('[{"vc": 1}]', ":1: vc: '1' is not a name"),
        ('[{"vc": "v", "jobid": "j\\ud800"}]', ":1: jobid: .* is not a name"),
        ('[{"vc": "v", "jobid": "j", "attempts": 5}]', ":1: attempts: '5' is not a list"),
        ('[{"vc": "v", "jobid": "j", "attempts": [5]}]', ":1: attempts: '5' is no attempt"),
        ('[{"vc": "v", "jobid": "j", "attempts": [{"detail": [3]}]}]', ":1: gpus: '3' is not a list"),
        (json.dumps([job(1), job(2, "soon")]), ":1: submitted_time: 'soon' is not a date"),
        ("[\n" + json.dumps(job(1)) + ",\n" + json.dumps(job(1)) + "]", ":3: jobid: 'application_1' is there already, in line 2"),
        (json.dumps([job(attempts=[attempt("2017-10-09", "2017-10-08")])]), ":1: end_time: '2017-10-08' is before start_time"),
        ('[\n{"vc": "v",\n oops}]', ":3: object 1 is not JSON"),
        (json.dumps([job()])[:-1] + "}", ":1: not a list of objects: '}'"),
        (json.dumps([job()]) + "[", ":1: not a list of objects"),
        ('[{"vc":' + "[" * 100_000, ":1: object 1 is not JSON"),
        ('[{"vc": ' + "9" * 5_000 + "}]", ":1: object 1 is not JSON"),
    ],
)
def test_what_is_no_such_list_is_said_with_its_place(write: Write, text: str, complaint: str) -> None:
    with pytest.raises(TraceError, match=f"trace{complaint}") as error:
        read_all(write(text), "philly")
    assert "\n" not in str(error.value)


def test_a_bad_object_can_be_left_out(write: Write) -> None:
    batches, report = read_all(write(json.dumps([job(1), job(2, 17), job(3)])), "philly", {"bad_rows": "skip"})
    assert (report.kept, report.dropped) == (2, {"malformed": 1})
    assert column(batches, "source_row") == [1, 3]


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["None", "2017-10-09 07:02:10", "v1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start_time", "end_time", "detail", "gpus"]), inner),
    max_leaves=8,
)
OBJECT = st.dictionaries(st.sampled_from(["jobid", "vc", "submitted_time", "attempts"]), VALUE)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(OBJECT, max_size=4), st.booleans(), st.integers(0, 40))
def test_any_json_is_read_or_refused(tmp_path: Path, objects: list[dict[str, object]], skip: bool, cut: int) -> None:
    """Next to a good job: it stays, or the file is refused in one line; also where the end of the file is missing."""
    text = json.dumps([job(), *objects])
    path = tmp_path / "trace"
    path.write_text(text[: len(text) - cut])
    try:
        batches, report = read_all(path, "philly", {"bad_rows": "skip" if skip else "error"})
    except TraceError:
        assert cut or not skip
    else:
        assert not cut
        assert report.kept + sum(report.dropped.values()) == len(objects) + 1
        assert min(column(batches, "gpus")) > 0
        assert min(column(batches, "duration_ns")) > 0
