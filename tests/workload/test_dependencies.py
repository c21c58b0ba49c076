"""Jobs of a trace that wait for others of it."""

import pytest

from emulator.workload.jobs import JobColumns
from emulator.workload.readers import TraceError, TraceLimits
from tests.workload.traces import Write, read_all

AFTER = "id,submit_s,gpus,duration_s,after\n"


def test_csv_with_dependencies(write: Write) -> None:
    batches, report = read_all(write(AFTER + "7,0,1,9,\n8,1,1,9,07\n9,2,1,9,7; 8;7\n"), "csv")
    assert depends_on(batches) == {7: (), 8: (7,), 9: (7, 8)}
    assert (report.kept, report.dropped) == (3, {})
    named, _ = read_all(write(AFTER + "a,0,1,9,\nb,1,1,9,a\n"), "csv")
    assert depends_on(named) == {0: (), 1: (0,)}


def test_a_dependency_on_nobody_before_it_drops_the_job_and_who_depends_on_it(write: Write) -> None:
    """Unknown, itself, a later one (so no circle can be), one that was dropped; sorted, what counts is the order of submission."""
    text = "1,0,1,9,\n2,1,1,0,\n3,2,1,9,99\n4,3,1,9,4\n5,4,1,9,6\n6,5,1,9,5\n7,6,1,9,2\n8,7,1,9,1\n"
    for chunk in (1, 3, 100):
        batches, report = read_all(write(AFTER + text), "csv", limits=TraceLimits(chunk_rows=chunk))
        assert depends_on(batches) == {1: (), 8: (1,)}
        assert report.dropped == {"zero duration": 1, "depends on a job that is not before it among those kept": 5}
    sorted_, _ = read_all(write(AFTER + "b,5,1,9,a\na,0,1,9,\n"), "csv", {"sort": "yes"})
    assert depends_on(sorted_) == {0: (), 1: (0,)}
    with pytest.raises(TraceError, match="no job in it: dropped 1 depends on a job"):
        read_all(write(AFTER + "1,0,1,9,1\n"), "csv")


def depends_on(batches: list[JobColumns]) -> dict[int, tuple[int, ...]]:
    """By job id: the ids of the jobs that must finish before."""
    return {
        job_id: tuple(other for other, any_end in batch.afters[entry] if not any_end) if entry >= 0 else ()
        for batch in batches
        for job_id, entry in zip(batch.job_id.tolist(), batch.after.tolist(), strict=True)
    }
