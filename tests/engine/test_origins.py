"""Where requests enter, and at which site they are served."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.engine.origins import assigned, mixes
from emulator.racks.serving_messages import Tally
from emulator.racks.ways import Ways
from emulator.report.outcome import Outcome
from tests.engine.test_services import CHAT, run, tallies

SITES = 5
#: 4,000 km of glass at 5 us a kilometre there and back, and two switches at either end.
ROUND_TRIP_NS = 40_001_400


def whole(parts: dict[int, int]) -> dict[int, Fraction]:
    return {site: Fraction(part, sum(parts.values())) for site, part in parts.items()}


PARTS = st.dictionaries(st.integers(0, SITES - 1), st.integers(1, 9), min_size=1).map(whole)


@st.composite
def round_trips(draw: st.DrawFn) -> np.ndarray:
    one = np.array(draw(st.lists(st.integers(0, 3), min_size=SITES * SITES, max_size=SITES * SITES))).reshape(SITES, SITES)
    return np.triu(one, 1) + np.triu(one, 1).T


@given(PARTS, PARTS, round_trips())
def test_each_serves_its_own_first_and_then_the_nearest(entering: dict[int, Fraction], able: dict[int, Fraction], far: np.ndarray) -> None:
    """Sums are as given; and where a pair has less than it could, what the one has left or the other can goes to pairs that come before."""
    found = assigned(entering, able, far)
    for site in range(SITES):
        assert sum(part for (entry, _), part in found.items() if entry == site) == entering.get(site, 0)
        assert sum(part for (_, at), part in found.items() if at == site) == able.get(site, 0)
        assert found.get((site, site), 0) == min(entering.get(site, 0), able.get(site, 0))

    def order(entry: int, site: int) -> tuple[bool, int, int, int]:
        return entry != site, int(far[entry, site]), entry, site

    for entry, enters in entering.items():
        for site, serves in able.items():
            up_to = {pair: part for pair, part in found.items() if order(*pair) <= order(entry, site)}
            of_entry = sum(part for pair, part in up_to.items() if pair[0] == entry)
            of_site = sum(part for pair, part in up_to.items() if pair[1] == site)
            assert of_entry == enters or of_site == serves


@given(
    PARTS,
    st.lists(st.tuples(st.integers(0, SITES - 1), st.integers(0, 5), st.booleans()), min_size=1, max_size=12),
    round_trips(),
)
def test_pools_have_in_sum_what_enters_and_what_their_sites_serve(
    entering: dict[int, Fraction], pools: list[tuple[int, int, bool]], far: np.ndarray
) -> None:
    """Also where one pool comes for others, whatever sites they are at."""
    sites, sizes = [site for site, _, _ in pools], [size for _, size, _ in pools]
    if not sum(sizes):
        sizes[-1] = 1
    edges = [float(sum(sizes[:place])) / sum(sizes) for place in range(len(sizes))] + [1.0]
    leaders: list[int] = []
    for place, (_, _, leads) in enumerate(pools):
        leaders.append(place if leads or not place else leaders[-1])
    told = mixes(entering, Ways(far), sites, edges, leaders)
    assert told.keys() == {leader for leader, size in zip(leaders, sizes, strict=True) if size}
    enters, serves = np.zeros(SITES), np.zeros(SITES)
    for leader, mix in told.items():
        assert mix[-1][1] == 1.0
        led = sum(size for size, of in zip(sizes, leaders, strict=True) if of == leader) / sum(sizes)
        below = 0.0
        for way, high in mix:
            assert high >= below  # the last digits of a float apart
            enters[way // SITES] += led * (high - below)
            serves[way % SITES] += led * (high - below)
            below = high
    assert enters == pytest.approx([float(entering.get(site, 0)) for site in range(SITES)], abs=1e-12)
    of_site = [sum(size for at, size in zip(sites, sizes, strict=True) if at == site) / sum(sizes) for site in range(SITES)]
    assert serves == pytest.approx(of_site, abs=1e-12)


def coasts(folder: Path, *, west: int = 8, east: str = "hgx-h200", **service: Any) -> tuple[Outcome, dict[Tally, int], Any]:
    """Two sites; replicas need an H100."""
    part = {"hosts_per_rack": 4, "switch": "sn5600", "array_hosts": 4}
    parts = [
        {"name": "west", "site": "west", "host": "hgx-h100", "hosts": west, **part},
        {"name": "east", "site": "east", "host": east, "hosts": 8, **part},
    ]
    cluster = {"parts": parts, "wan": {"gateway_bandwidth": "3.2Tbps", "distance_km": 4000}}
    outcome, engine = run(folder, CHAT | {"gpu": "H100-SXM5-80GB"} | service, cluster=cluster)
    return outcome, tallies(engine), engine


def test_the_first_token_of_those_who_enter_elsewhere_is_later_by_the_round_trip(tmp_path: Path) -> None:
    """All replicas are in the west, and half of the clients in the east. Nothing else is another, request by request."""
    near, before, _ = coasts(tmp_path)
    far, counted, _ = coasts(tmp_path, origins={"west": 1, "east": 1})
    assert near.requests_table is not None
    assert far.requests_table is not None
    one, other = near.requests_table(), far.requests_table()
    same = [name for name in one.column_names if name not in {"origin", "client_delay_seconds"}]
    assert other.select(same).equals(one.select(same))
    east = np.array(other.column("origin")) == "east"
    assert east.mean() == pytest.approx(0.5, abs=0.02)
    later = np.array(other.column("client_delay_seconds")) - np.array(one.column("client_delay_seconds"))
    assert later == pytest.approx(np.where(east, ROUND_TRIP_NS / 1e9, 0.0), abs=1e-12)
    assert set(one.column("origin").to_pylist()) == {None}
    assert counted[Tally.REMOTE_REQUESTS] == pytest.approx(east.mean() * counted[Tally.ARRIVED], rel=0.01)
    assert before[Tally.REMOTE_REQUESTS] == 0
    assert near.inference is not None
    assert far.inference is not None
    for latency, longer in (("ttft_seconds", True), ("tpot_seconds", False), ("e2e_seconds", True)):
        assert (far.inference[latency]["p90"] > near.inference[latency]["p90"]) is longer
    assert far.inference["remote_requests"] == far.inference["services"]["chat"]["remote_requests"] == counted[Tally.REMOTE_REQUESTS]
    assert far.digest != near.digest


def test_what_a_site_cannot_serve_goes_to_the_other(tmp_path: Path) -> None:
    """A third of the replicas is in the east, where seven in ten enter."""
    outcome, counted, engine = coasts(tmp_path, west=16, east="hgx-h100", replicas=48, origins={"west": 30, "east": 70})
    sites = [engine.services.replicas.site_of_unit[pool] for pool in engine.services.replicas.services[0].up.values()]
    assert sites.count(1) == 16
    assert counted[Tally.REMOTE_REQUESTS] == pytest.approx((0.7 - 1 / 3) * counted[Tally.ARRIVED], rel=0.03)
    assert outcome.requests_table is not None
    table = outcome.requests_table()
    delay = np.array(table.column("client_delay_seconds"))
    crossed = delay > delay.min()
    assert set(np.array(table.column("origin"))[crossed]) == {"east"}


def test_one_pool_that_is_run_for_several_counts_what_crosses_for_all(tmp_path: Path) -> None:
    """Four pools of leaves in the west and two in the east, of which each two or all six are run as one."""
    service = {"replicas": 48, "origins": {"west": 0.3, "east": 0.7}, "requests": {"per_second": 60}}
    ratios = []
    for one_in in (1, 2, 6):
        _, counted, _ = coasts(tmp_path, west=16, east="hgx-h100", run_one_in=one_in, **service)
        ratios.append(counted[Tally.REMOTE_REQUESTS] / counted[Tally.ARRIVED])
    assert ratios == pytest.approx([0.7 - 1 / 3] * 3, rel=0.03)


def test_where_nobody_is_up_all_wait_at_one_site(tmp_path: Path) -> None:
    """There are no replicas, and so no site that answers; nothing fails."""
    _, counted, _ = coasts(tmp_path, replicas=0, origins={"east": 1}, requests={"per_second": 2})
    assert counted[Tally.FINISHED] == 0
    assert counted[Tally.REMOTE_REQUESTS] == counted[Tally.ARRIVED] > 0
