import numpy as np

from emulator.fabric.contend import Demand


def test_a_channel_is_contended_when_its_flows_would_send_more_than_there_is() -> None:
    """Channel 1 of 100 B/s at an efficiency of 0.9: 90 B/s in each direction. Two flows of 30 and one of 30 fill it; one byte more does not
    fit, nor do they when it keeps a half."""
    demand = Demand(np.array([50.0, 100.0]), 0.9)
    both = np.array([2, 3])
    demand.add(both, np.array([1.0, 0.5]), 60.0)
    demand.add(both, np.array([1.0, 0.5]), 30.0)
    assert demand.bytes_per_second.tolist() == [0, 0, 90, 45]
    assert demand.contended(both).tolist() == [False, False]
    demand.add(np.array([2]), np.array([1.0]), 1.0)
    assert demand.contended(both).tolist() == [True, False]
    demand.remove(np.array([2]), np.array([1.0]), 1.0)
    demand.rescale(1, 0.5)
    assert (demand.contended(both).tolist(), demand.capacity.tolist()) == ([True, False], [45.0, 45.0, 45.0, 45.0])
    demand.remove(both, np.array([1.0, 0.5]), 60.0)
    assert not demand.contended(slice(None)).any()
