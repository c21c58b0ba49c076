"""The lock that is handed on in order."""

import threading

from emulator.runtime.turns import Turns


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    turns, order, threads = Turns(), [], []
    turns.take()

    def ask(number: int) -> None:
        with turns:
            order.append(number)

    for number in range(8):
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        while len(turns._waiting) <= number:
            pass
    turns.give()
    turns.take()  # behind the others, though it was let go only now
    assert order == list(range(8))
    turns.give()
    for thread in threads:
        thread.join()


def test_who_does_not_wait_long_enough_leaves_no_gap() -> None:
    turns = Turns()
    assert turns.take()
    assert not turns.take(0.001)
    turns.give()
    assert turns.take(0.001)
    turns.give()


def test_an_error_in_its_turn_gives_it_back() -> None:
    turns = Turns()
    try:
        with turns:
            raise KeyError
    except KeyError:
        pass
    assert turns.take(0.001)
