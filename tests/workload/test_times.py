"""Dates and durations as traces write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.workload.jobs import SECOND
from emulator.workload.readers.times import format_date, parse_clock, parse_date, parse_duration, parse_number

NINE = 1_507_021_200 * SECOND  # 2017-10-03 09:00 UTC


@pytest.mark.parametrize(
    "text",
    [
        "2017-10-03 09:00:00", "2017-10-03T09:00:00", "2017-10-03T09:00", "2017-10-03T09:00:00Z", "2017-10-03T09:00:00z",
        "2017-10-03T09:00:00+00:00", "2017-10-03T10:00:00+01:00", "2017-10-03T04:30:00-0430", "2017-10-03 09:00:00.000000",
        "2017-10-03 09:00:00 UTC", "2017-10-03 09:00:00 GMT", "2017-10-03 17:00:00 +0800", "2017-10-03 17:00:00 +08:00",
        "2017-10-03T17:00:00+08",
    ],
)  # fmt: skip
def test_dates(text: str) -> None:
    assert parse_date(text) == NINE


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2017-13-01", "1969-12-31", "1970-01-01T00:00:00+01:00", "2200-01-01", "0001-01-01T00:00:00+14:00", "5", "09:00"],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


@given(st.integers(0, 7 * 10**9 * 10**6))
def test_dates_there_and_back(microseconds: int) -> None:
    assert parse_date(format_date(microseconds * 1000)) == microseconds * 1000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4-00:00:00", 345_600), ("01:00:00", 3_600), ("00:00:00", 0), ("30:00", 1_800), ("1-12", 129_600), ("1-00:30", 88_200),
        ("100:00:00", 360_000), ("01:30.5", 90.5), ("0 days 00:00:01.25", 1.25),
    ],
)  # fmt: skip
def test_clocks(text: str, seconds: float) -> None:
    assert parse_clock(text) == parse_duration(text) == seconds * SECOND


@pytest.mark.parametrize(
    "text", ["", "5", "-1:00", "1:2:3:4", "1-", "a-00:00:00", "1-12.5", "1-12:30.5", "7.5", "99999999-00:00:00", "٣:00"]
)
def test_what_is_no_clock(text: str) -> None:
    assert parse_clock(text) is None


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_none(text: str) -> None:
    for value in (parse_date(text), parse_clock(text), parse_duration(text)):
        assert value is None or value >= 0


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1_0", "", "9" * 100, "0x1", "-4e9", "1e-999999999"])
def test_what_is_no_number_of_seconds(text: str) -> None:
    assert not parse_number(text)
