"""Max-min rates against SimGrid's solver, an implementation by others."""

from pathlib import Path

import numpy as np
import pytest

from emulator.fabric.maxmin import max_min_rates
from tests.benchmarks import simgrid
from tests.benchmarks.fat_tree import fat_tree

CAPACITY = 50e9


@pytest.mark.parametrize("flows", [1_024, 10_000])
def test_agrees_with_simgrid_on_a_fat_tree_of_1024_hosts(tmp_path: Path, flows: int) -> None:
    """Random permutations over D-mod-K paths; max-min rates are unique, so all of them agree (SimGrid's own precision is 1e-5)."""
    theirs_of = simgrid.built(tmp_path)
    traffic = fat_tree((8, 8, 16), flows, seed=1)
    ours = max_min_rates(
        *(np.arange(flows), traffic.start, traffic.link, np.ones(len(traffic.link))),
        cap=np.full(flows, np.inf),
        capacity=np.full(traffic.links, CAPACITY),
    )
    assert len(np.unique(ours.round())) > 2
    np.testing.assert_allclose(ours, theirs_of(traffic, CAPACITY).rates, rtol=1e-3)


def test_the_fat_tree_is_one() -> None:
    """Paths of 2, 4 or 6 links; every flow leaves its own host and enters another; D-mod-K: one host's flows down use one core path."""
    traffic = fat_tree((4, 4, 4), 64, seed=2)
    hops = np.diff(traffic.start)
    first, last = traffic.link[traffic.start[:-1]], traffic.link[traffic.start[1:] - 1]
    assert set(hops.tolist()) <= {2, 4, 6}
    assert sorted(first.tolist()) == list(range(64))
    assert sorted(last.tolist()) == list(range(5 * 64, 6 * 64))
    assert (first != last - 5 * 64).all()
    many = fat_tree((4, 4, 4), 6400, seed=2)
    down: dict[int, set[tuple[int, ...]]] = {}
    for i in np.flatnonzero(np.diff(many.start) == 6).tolist():
        path = many.link[many.start[i] : many.start[i + 1]].tolist()
        down.setdefault(path[-1], set()).add(tuple(path[3:5]))
    assert all(len(paths) == 1 for paths in down.values()), "D-mod-K: the way down depends on the destination alone"
    assert len({path for paths in down.values() for path in paths}) == 64
