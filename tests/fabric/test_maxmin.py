import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emulator.fabric import maxmin
from emulator.fabric.maxmin import max_min_rates


def solve(
    rows: list[list[tuple[int, float]]],
    caps: list[float],
    capacity: NDArray[np.float64] | list[float],
    ids: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Rows are lists of (link, weight)."""
    start = np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64)
    link = np.array([link for row in rows for link, _ in row], dtype=np.int64)
    weight = np.array([weight for row in rows for _, weight in row], dtype=np.float64)
    ids = np.arange(len(rows)) if ids is None else np.array(ids)
    return max_min_rates(ids, start, link, weight, cap=np.array(caps, dtype=np.float64), capacity=np.array(capacity, dtype=np.float64))


def slow(rows: list[list[tuple[int, float]]], caps: list[float], capacity: list[float]) -> NDArray[np.float64]:
    """Progressive filling one bottleneck at a time, straight from the textbook."""
    rates, free = dict[int, float](), list(capacity)
    while len(rates) < len(rows):
        open_rows = [i for i in range(len(rows)) if i not in rates]
        level, frozen = min((caps[i], [i]) for i in open_rows)
        for link in range(len(capacity)):
            on_link = [i for i in open_rows if any(at == link for at, _ in rows[i])]
            weight = sum(w for i in on_link for at, w in rows[i] if at == link)
            if on_link and free[link] / weight < level:
                level, frozen = free[link] / weight, on_link
        for i in frozen:
            rates[i] = level
            for link, weight in rows[i]:
                free[link] = max(0.0, free[link] - weight * level)
    return np.array([rates[i] for i in range(len(rows))])


@st.composite
def networks(draw: st.DrawFn, flows: int = 12, links: int = 8) -> tuple[list[list[tuple[int, float]]], list[float], list[float]]:
    count, size = draw(st.integers(1, flows)), draw(st.integers(1, links))
    number = st.integers(1, 40).map(lambda n: n / 4)
    capacity = draw(st.lists(number | st.just(0.0), min_size=size, max_size=size))
    rows = draw(
        st.lists(
            st.dictionaries(st.integers(0, size - 1), number, max_size=4).map(lambda row: sorted(row.items())),
            min_size=count,
            max_size=count,
        )
    )
    caps = draw(st.lists(number, min_size=count, max_size=count))
    return rows, caps, capacity


def test_the_textbook_example() -> None:
    """Links of 1 and 2: A crosses both, B the first, C the second. A and B get 1/2 of the first; C the 2 - 1/2 = 3/2 that A leaves."""
    assert solve([[(0, 1), (1, 1)], [(0, 1)], [(1, 1)]], [9, 9, 9], [1, 2]).tolist() == [0.5, 0.5, 1.5]


def test_a_weight_is_lanes_that_share_one_rate() -> None:
    """Eight lanes of one job and two of another on a link of 100: each lane gets 100 / (8 + 2) = 10."""
    assert solve([[(0, 8)], [(0, 2)]], [99, 99], [100]).tolist() == [10.0, 10.0]


def test_what_a_capped_flow_leaves_goes_to_the_others() -> None:
    """A link of 10 between caps 1, 9 and 9: 1, then (10 - 1) / 2 = 4.5 each."""
    assert solve([[(0, 1)]] * 3, [1, 9, 9], [10]).tolist() == [1.0, 4.5, 4.5]


def test_a_dead_link_stalls_only_its_flows() -> None:
    assert solve([[(0, 1), (1, 1)], [(1, 1)]], [5, 5], [0, 8]).tolist() == [0.0, 5.0]


def test_flows_without_links_run_at_their_cap() -> None:
    assert solve([[], [(0, 1)], []], [3, np.inf, np.inf], [7]).tolist() == [3.0, 7.0, np.inf]


def test_no_flows() -> None:
    assert solve([], [], [1.0]).tolist() == []


@given(networks())
@settings(max_examples=100, deadline=None)
def test_agrees_with_one_bottleneck_at_a_time(network: tuple[list[list[tuple[int, float]]], list[float], list[float]]) -> None:
    np.testing.assert_allclose(solve(*network), slow(*network), rtol=1e-9, atol=1e-12)


@given(networks(flows=30, links=10))
@settings(max_examples=100, deadline=None)
def test_feasible_and_every_flow_has_a_bottleneck(network: tuple[list[list[tuple[int, float]]], list[float], list[float]]) -> None:
    rows, caps, capacity = network
    rates = solve(rows, caps, capacity)
    load = [sum(weight * rates[i] for i, row in enumerate(rows) for at, weight in row if at == link) for link in range(len(capacity))]
    assert all(used <= most * (1 + 1e-9) for used, most in zip(load, capacity, strict=True))
    for i, row in enumerate(rows):
        full = [link for link, _ in row if load[link] >= capacity[link] * (1 - 1e-9)]
        highest = [max(rates[j] for j, other in enumerate(rows) if any(at == link for at, _ in other)) for link in full]
        assert rates[i] == caps[i] or any(rates[i] >= most * (1 - 1e-9) for most in highest)


def random_network(rng: np.random.Generator, flows: int, links: int) -> tuple[list[list[tuple[int, float]]], list[float], list[float]]:
    rows = [
        [(int(link), float(rng.uniform(0.1, 8))) for link in rng.choice(links, rng.integers(1, 5), replace=False)] for _ in range(flows)
    ]
    return rows, rng.uniform(0.5, 4, flows).tolist(), rng.uniform(1, 30, links).tolist()


@pytest.fixture(params=["python", "compiled"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maxmin, "SMALL_ENTRIES", 0 if request.param == "compiled" else 1_000_000)


def test_compiled_and_plain_python_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(30):
        network = random_network(np.random.default_rng(seed), 200, 40)
        monkeypatch.setattr(maxmin, "SMALL_ENTRIES", 1_000_000)
        plain = solve(*network)
        monkeypatch.setattr(maxmin, "SMALL_ENTRIES", 0)
        assert solve(*network).tobytes() == plain.tobytes()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("seed", range(20))
def test_bits_do_not_depend_on_the_order_of_rows_or_on_other_components(seed: int) -> None:
    """Two unconnected networks, apart and together with their rows shuffled: the same bits."""
    rng = np.random.default_rng(seed)
    rows, caps, capacity = random_network(rng, 60, 15)
    others, other_caps, other_capacity = random_network(rng, 40, 12)
    moved = [[(link + 15, weight) for link, weight in row] for row in others]
    ids = rng.permutation(1000)[:100]
    order = rng.permutation(100)
    both, both_caps = rows + moved, caps + other_caps
    together = solve([both[i] for i in order], [both_caps[i] for i in order], capacity + other_capacity, ids[order])
    back = np.empty(100)
    back[order] = together
    assert back[:60].tobytes() == solve(rows, caps, capacity, ids[:60]).tobytes()
    assert back[60:].tobytes() == solve(others, other_caps, other_capacity, ids[60:]).tobytes()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("seed", range(20))
def test_ties_are_broken_alike_alone_and_in_company(seed: int) -> None:
    """Components of a narrow link and four wide ones, alike but for the flows that they share. Once the narrow one has frozen its flow,
    the wide ones have risen to one level; whichever is filled first, what it leaves the others is that level but for rounding."""
    rng = np.random.default_rng(seed)
    count, parts = 40, []
    for _ in range(count):
        weights = rng.choice([0.1, 0.3, 0.7], 3)
        shared = [[(link, float(weights[0])) for link in pair] for pair in rng.permutation([(1, 2), (3, 4), (2, 3), (1, 4)]).tolist()]
        own = [[(link, float(weights[1]))] for link in rng.permutation([1, 2, 3, 4]).tolist()]
        narrow = [[(link, float(weights[2])) for link in range(5)]]
        parts.append([*shared, *own, *narrow])
    places = np.sort(rng.permutation(5 * count).reshape(count, 5), axis=1)
    capacity = np.ones(5 * count)
    capacity[places[:, 0]] = 0.05
    rows = [[(int(places[part, link]), weight) for link, weight in row] for part, some in enumerate(parts) for row in some]
    order = rng.permutation(len(rows))
    together = np.empty(len(rows))
    together[order] = solve([rows[i] for i in order], [np.inf] * len(rows), capacity, order)
    for part, some in enumerate(parts):
        alone = solve(some, [np.inf] * len(some), [0.05, 1, 1, 1, 1])
        assert together[9 * part : 9 * part + 9].tobytes() == alone.tobytes()


def test_a_small_problem_does_not_load_the_compiler() -> None:
    program = """
import sys, numpy as np
from emulator.fabric.maxmin import max_min_rates
one = np.array([1.0])
assert max_min_rates(np.array([0]), np.array([0, 1]), np.array([0]), one, cap=2 * one, capacity=one).tolist() == [1.0]
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_a_damaged_cache_is_no_reason_to_stop(tmp_path: Path) -> None:
    """Twice: the second process finds what the first has kept, cut off."""
    program = "from emulator.fabric.maxmin import compiled_fill; compiled_fill()"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        )
        kept = list(tmp_path.rglob("*.nbc"))
        assert kept
        for file in kept:
            file.write_bytes(file.read_bytes()[:100])


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("power", [-30, 7])
def test_powers_of_two_scale_exactly(power: int) -> None:
    """Other units of rate scale the rates, heavier weights scale them down, without another bit changing."""
    rows, caps, capacity = random_network(np.random.default_rng(power + 100), 80, 20)
    rates, factor = solve(rows, caps, capacity), 2.0**power
    scaled = solve(rows, [cap * factor for cap in caps], [most * factor for most in capacity])
    assert scaled.tobytes() == (rates * factor).tobytes()
    heavier = [[(link, weight * factor) for link, weight in row] for row in rows]
    assert solve(heavier, [cap / factor for cap in caps], capacity).tobytes() == (rates / factor).tobytes()


def test_a_light_flow_beside_heavy_ones_keeps_its_digits() -> None:
    """Weights of 0.1, 0.2 and 0.3 leave an error of 1e-17 behind when they are subtracted; the last flow weighs 1e-12: what is left of
    the link is 10 - 0.6 = 9.4 and its rate 9.4e12."""
    rates = solve([[(0, 0.1)], [(0, 0.2)], [(0, 0.3)], [(0, 1e-12)]], [1, 1, 1, np.inf], [10])
    np.testing.assert_allclose(rates, [1, 1, 1, 9.4e12], rtol=1e-14)


def test_entries_that_do_not_fit_are_refused() -> None:
    one = np.array([1.0])
    with pytest.raises(ValueError, match="1 links up to 3 and 1 weights; expected 1 under 1"):
        max_min_rates(np.array([0]), np.array([0, 1]), np.array([3]), one, cap=one, capacity=one)
    with pytest.raises(ValueError, match="expected 2 under 1"):
        max_min_rates(np.array([0]), np.array([0, 2]), np.array([0]), one, cap=one, capacity=one)
