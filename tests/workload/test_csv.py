"""Our own CSV: what each column of it is read as."""

import pytest

from emulator.workload.jobs import DALY, LEVEL_NAMES, SECOND, YOUNG, Locality, Recovery
from emulator.workload.readers import TraceError
from tests.workload.traces import CSV, Write, column, read_all


def test_csv(write: Write) -> None:
    batches, report = read_all(write(CSV + "3,0,8,60\n5,1.5,1,0.25\n6,1.5,2,0\n"), "csv")
    assert column(batches, "job_id") == [3, 5]
    assert column(batches, "submit_ns") == [0, 1_500_000_000]
    assert column(batches, "gpus") == [8, 1]
    assert column(batches, "duration_ns") == [60 * SECOND, SECOND // 4]
    assert column(batches, "estimate_ns") == column(batches, "duration_ns")
    assert (report.kept, report.dropped, report.notes) == (2, {"zero duration": 1}, [])


def test_csv_with_every_column(write: Write) -> None:
    text = "gpu_milli,name,id,submit_s,gpus,duration_s,priority,queue,tenant,estimate_s\n"
    text += '500,"a, b",1,0,1,60,-2,q1,t1,90\n,,2,0,4,60,,,,\n'
    (batch,), _ = read_all(write(text), "csv")
    assert batch.names == ("a, b", "2"), "the id where there is no other name"
    assert batch.milli_gpus.tolist() == [500, 1000]
    assert batch.priority.tolist() == [-2, 0]
    assert [batch.queues[number] for number in batch.queue] == ["q1", "default"]
    assert [batch.tenants[number] for number in batch.tenant] == ["t1", "default"]
    assert batch.estimate_ns.tolist() == [90 * SECOND, 60 * SECOND]


def test_csv_with_sizes(write: Write) -> None:
    text = "id,submit_s,gpus,duration_s,min_gpus\n1,0,64,60,16\n2,0,8,60,\n3,0,8,60,0\n4,0,8,60,8\n"
    (batch,), _ = read_all(write(text), "csv")
    assert batch.min_gpus.tolist() == [16, 0, 0, 0]


def test_csv_with_what_becomes_of_a_job_after_a_fault(write: Write) -> None:
    text = "id,submit_s,gpus,duration_s,checkpoint_s,recovery\n"
    text += "1,0,8,60,young,spares\n2,0,8,60,30,\n3,0,8,60,,in-place\n4,0,8,60,daly,elastic\n"
    (batch,), _ = read_all(write(text), "csv")
    assert batch.checkpoint_ns.tolist() == [YOUNG, 30 * SECOND, 0, DALY]
    assert batch.recovery.tolist() == [Recovery.SPARES, Recovery.DEFAULT, Recovery.IN_PLACE, Recovery.ELASTIC]


def test_csv_with_slices(write: Write) -> None:
    text = "id,submit_s,gpus,duration_s,slice_gpus,slice_level\n1,0,64,60,16,rack\n2,0,8,60,,\n3,0,8,60,0,\n"
    (batch,), _ = read_all(write(text), "csv")
    assert batch.slice_gpus.tolist() == [16, 0, 0]
    assert batch.slice_level.tolist() == [LEVEL_NAMES.index("rack"), -1, -1]


def test_csv_with_sites_and_datasets(write: Write) -> None:
    text = "id,submit_s,gpus,duration_s,site,prefer_site,dataset\n1,0,8,60,west,,\n2,0,8,60,,,\n3,0,8,60,,east,web\n4,0,8,60,west,,\n"
    (batch,), _ = read_all(write(text), "csv")
    assert batch.localities == (Locality("west"), Locality("", "east", "web"))
    assert batch.locality.tolist() == [0, -1, 1, 0]


def test_csv_window_counts_from_its_beginning(write: Write) -> None:
    path = write(CSV + "1,0,1,9\n2,10,1,9\n3,19,1,9\n4,20,1,9\n")
    batches, report = read_all(path, "csv", {"from": "10", "until": "20"})
    assert column(batches, "job_id") == [2, 3]
    assert column(batches, "submit_ns") == [0, 9 * SECOND]
    assert report.dropped == {"before from": 1, "at or after until": 1}


def test_csv_out_of_order_is_an_error_or_sorted(write: Write) -> None:
    path = write(CSV + "1,5,1,9\n2,3,1,9\n3,5,1,9\n")
    with pytest.raises(TraceError, match=r"trace:3: submission: earlier .*sort=yes"):
        read_all(path, "csv")
    batches, _ = read_all(path, "csv", {"sort": "yes"})
    assert column(batches, "job_id") == [2, 1, 3], "stable: 1 before 3"


def test_csv_with_deadlines(write: Write) -> None:
    """A time after the submission, in the unit of durations; an empty one is none."""
    text = "id,submit_s,gpus,duration_s,deadline_s\n"
    batches, _ = read_all(write(text + "1,5,1,9,\n2,6,1,9,90.5\n"), "csv")
    assert [deadline for batch in batches for deadline in batch.deadline_ns.tolist()] == [0, 90 * SECOND + SECOND // 2]
    theirs = "who,submit_s,g,took,due\na,0,1,2,3\nb,0,1,2,None\n"
    batches, _ = read_all(write(theirs), "csv", {"gpus": "g", "duration": "took", "deadline": "due", "duration_unit": "min"})
    assert [deadline for batch in batches for deadline in batch.deadline_ns.tolist()] == [180 * SECOND, 0]
    for wrong in ("0", "-1", "nan h", "1e12"):
        with pytest.raises(TraceError, match="deadline_s"):
            read_all(write(text + f"1,5,1,9,{wrong}\n"), "csv")
