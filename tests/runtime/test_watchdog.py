"""A policy of others that does not come back is stopped where it is."""

import threading
import traceback

import pytest

from emulator.runtime.watchdog import TookTooLong, Watchdog


def loops() -> None:
    number = 0
    while True:
        number += 1


def test_a_loop_is_stopped_where_it_is() -> None:
    with pytest.raises(TookTooLong) as caught:
        Watchdog(0.05).watch(loops)()
    assert str(caught.value) == "it did not come back in time"
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "loops"


def test_who_comes_back_is_left_alone_and_may_be_called_again() -> None:
    plan = Watchdog(0.05).watch(lambda number: number + 1)
    done = threading.Event()
    for number in range(3):
        assert plan(number) == number + 1
        done.wait(0.1)  # nothing that was noted during the call comes later


def test_it_stops_the_thread_that_is_inside_and_no_other() -> None:
    dog, caught = Watchdog(0.05), []

    def run() -> None:
        try:
            dog.watch(loops)()
        except TookTooLong as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert len(caught) == 1


def test_its_thread_ends_when_nobody_is_inside_any_more_and_the_next_one_is_watched_again() -> None:
    dog = Watchdog(0.05)
    dog.watch(lambda: None)()
    (thread,) = [one for one in threading.enumerate() if one.name == "policy-watchdog" and one is dog._thread]
    thread.join(timeout=20)
    assert not thread.is_alive()
    with pytest.raises(TookTooLong):
        dog.watch(loops)()
