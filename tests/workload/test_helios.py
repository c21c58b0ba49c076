"""Helios' cluster_log.csv."""

import pytest

from emulator.workload.jobs import SECOND
from emulator.workload.readers import TraceError
from tests.workload.traces import HELIOS, Write, column, read_all

ROWS = (
    "1,uA,vc1,0,4,1,COMPLETED,2020-04-01 00:00:05,2020-04-01 00:00:06,2020-04-01 00:01:06,60,1\n"
    "4,uB,vc2,16,64,2,FAILED,2020-04-01 00:00:30,2020-04-01 00:00:31,2020-04-01 00:00:41,10,1\n"
    "2,uB,vc1,8,64,1,CANCELLED,2020-04-01 00:00:07,2020-04-01 00:00:09,2020-04-01 00:02:09,120,2\n"
    "3,uB,vc1,16,64,2,FAILED,2020-04-01 00:00:08,None,None,0,0\n"
    "5,uB,vc1,16,64,2,COMPLETED,2020-04-01 00:00:40,2020-04-01 00:00:40,2020-04-01 00:00:40,0,0\n"
)


def test_helios(write: Write) -> None:
    path = write(HELIOS + ROWS)
    batches, report = read_all(path, "helios")
    assert column(batches, "job_id") == [2, 4]
    assert batches[0].names == ("2", "4")
    assert column(batches, "source_row") == [4, 3]
    assert column(batches, "gpus") == [8, 16]
    assert column(batches, "submit_ns") == [0, 23 * SECOND], "counted from the first that is kept"
    assert column(batches, "duration_ns") == [120 * SECOND, 10 * SECOND]
    assert batches[0].tenants == ("vc1", "vc2")
    assert batches[0].queues == ("default",), "the column queue is a wait"
    assert report.dropped == {"no GPU": 1, "never started": 1, "zero duration": 1}
    _, report = read_all(path, "helios", {"virtual_cluster": "vc2", "from": "2020-04-01"})
    assert (report.kept, report.zero_seconds) == (1, 1_585_699_200)


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        (HELIOS + ROWS, {"virtual_cluster": "vc9"}, "no virtual cluster 'vc9' .allowed: vc1, vc2"),
        (HELIOS + "1,u,v,x,1,1,D,2020-04-01,2020-04-01,2020-04-01,9,1\n", {}, "2: gpu_num: 'x' is not a number"),
        (HELIOS + "1,u,v,1,1,1,D,noon,2020-04-01,2020-04-01,9,1\n", {}, "2: submit_time: 'noon' is not a date"),
        ("job_id,vc\n", {}, "1: gpu_num: the header lacks this column"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(write: Write, text: str, options: dict[str, str], complaint: str) -> None:
    with pytest.raises(TraceError, match=complaint):
        read_all(write(text), "helios", options)
