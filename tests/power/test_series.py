"""Values over time against a plain look-up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.power.series import NEVER, Series, constant, hourly

HOUR = 3600 * 10**9


@given(steps=st.lists(st.integers(1, 50), min_size=1, max_size=6), more=st.integers(0, 20), repeats=st.booleans(), at=st.integers(0, 500))
def test_a_series_is_its_steps(steps: list[int], more: int, repeats: bool, at: int) -> None:
    times = [0]
    for step in steps:
        times.append(times[-1] + step)
    period = times[-1] + 1 + more if repeats else 0
    made = Series(tuple(times), tuple(range(len(times))), period)

    def plain(time: int) -> int:
        within = time % period if period else time
        return max(place for place, begin in enumerate(times) if begin <= within)

    assert made.at(at) == plain(at)
    following = made.next_ns(at)
    if following == NEVER:
        assert not period
        assert plain(at) == len(times) - 1
    else:
        assert following > at
        assert all(plain(time) == plain(at) for time in range(at, following))
        assert plain(following) != plain(at)


def test_short_forms() -> None:
    assert (constant(3).at(10**18), constant(3).next_ns(5)) == (3, NEVER)
    day = hourly([1.0, 2.0])
    assert [day.at(hour * HOUR) for hour in range(4)] == [1.0, 2.0, 1.0, 2.0]
    assert day.next_ns(0) == HOUR


@pytest.mark.parametrize(("times", "period"), [((), 0), ((1,), 0), ((0, 5, 5), 0), ((0, 5), 5)])
def test_what_is_no_series(times: tuple[int, ...], period: int) -> None:
    with pytest.raises(ValueError, match=r"series"):
        Series(times, tuple(range(len(times))), period)
