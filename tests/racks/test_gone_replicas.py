"""What the replicas of a pool have counted stays with it when they go: a counter that falls would be taken for one that began anew."""

from dataclasses import replace

import numpy as np
import pytest

from emulator.racks.served import Patience
from emulator.racks.serving import Serving
from emulator.racks.serving_messages import ServingOrder, ServingReadings, Tally, serving_orders
from emulator.racks.serving_pool import GONE
from tests.racks.test_serving import END, SERVICES, UNITS, opened, share

COUNTERS = ("input_tokens", "output_tokens", "cached_tokens", "preemptions", "steps", "finished", "counts", "sums")


def totals(read: ServingReadings) -> dict[str, np.ndarray]:
    return {name: getattr(read, name).sum(axis=0) for name in COUNTERS}


@pytest.mark.parametrize("how", [ServingOrder.LOSE, ServingOrder.DRAIN])
def test_what_a_pool_has_counted_never_falls(how: ServingOrder) -> None:
    made = Serving((replace(SERVICES[0], patience=Patience()),), UNITS, 7)
    reports = [made.advance(END, serving_orders([opened(0, 1), opened(0, 2), share(0, 0.0, 1.0)]))]
    before = made.read(END)
    assert before.replica.tolist() == [GONE, 1, 2]
    assert not any(getattr(before, name)[0].any() for name in COUNTERS)
    reports.append(made.advance(2 * END, serving_orders([(END, how, 0, 1, 0, 0, 0.0, 0.0)])))
    after = made.read(2 * END)
    assert after.replica.tolist() == [GONE, 2]
    assert (after.running[0], after.waiting[0], after.kv_blocks[0]) == (0, 0, 0)
    for name in COUNTERS:
        assert (getattr(after, name)[0] >= getattr(before, name)[1]).all(), name
        assert (totals(after)[name] >= totals(before)[name]).all(), name
    assert int(after.finished.sum()) == sum(int(report.tallies[0, Tally.FINISHED]) for report in reports)
    again = Serving((replace(SERVICES[0], patience=Patience()),), UNITS, 7)
    again.restore(made.snapshot())
    assert all((getattr(again.read(2 * END), name) == getattr(after, name)).all() for name in COUNTERS)


def test_the_phases_of_requests_add_up() -> None:
    """Queue and prefill are the time to the first token, but for the front end; with decode they are the whole."""
    served = replace(SERVICES[0], patience=Patience())
    made = Serving((served,), UNITS, 7)
    made.advance(20 * END, serving_orders([opened(0, 1), opened(0, 2), share(0, 0.0, 1.0)]))
    first, _, _, whole, queue, prefill, decode, _, _ = made.read(20 * END).sums.sum(axis=0).tolist()
    fronts = int(made.read(20 * END).finished.sum()) * served.front_end_ps
    assert queue + prefill == first - fronts
    assert queue + prefill + decode == whole - fronts
    assert min(queue, prefill, decode) > 0
