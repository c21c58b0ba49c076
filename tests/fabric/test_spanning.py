"""Flows over several planes: the same bits wherever the links are."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emulator.fabric.messages import FabricReport, FlowOrder, FlowRows, Order, pack_orders
from emulator.fabric.plane import FabricPlane
from emulator.fabric.settings import FabricSettings
from emulator.fabric.spanning import solve_open
from topology.cluster import Cluster

SETTINGS = FabricSettings()
#: ("add", flow, cap, links, weights), ("remove", flow) or ("scale", link, factor).
Change = tuple[Any, ...]


@pytest.fixture(scope="session")
def fabric(clos: Callable[..., Cluster]) -> Cluster:
    """48 trunks of one lane, 47.5 GB/s of payload each way; hosts can outrun every one of them."""
    return clos(hosts=24, leaf_oversubscription=63.0)


class Planes:
    """A head over planes: it splits flows into pieces, asks, and solves what is open."""

    def __init__(self, cluster: Cluster, plane_of_link: NDArray[np.float64] | NDArray[np.int64]) -> None:
        self.links = replace(cluster.links, plane=plane_of_link.astype(np.int32))
        cluster = replace(cluster, links=self.links)
        self.planes = {int(plane): FabricPlane(cluster, int(plane), SETTINGS) for plane in np.unique(plane_of_link)}
        self.pieces: dict[int, list[int]] = {}
        self.rates: dict[int, float] = {}
        self.asked = 0

    def advance(self, orders: dict[int, list[Order]]) -> dict[int, FabricReport]:
        reports = {plane: self.planes[plane].advance(0, pack_orders(rows)) for plane, rows in sorted(orders.items())}
        for report in reports.values():
            self.rates |= dict(zip(report.flow.tolist(), report.rate.tolist(), strict=True))
        return reports

    def change(self, changes: list[Change]) -> None:
        orders: dict[int, list[Order]] = {}
        for kind, number, *rest in changes:
            if kind == "scale":
                orders.setdefault(int(self.links.plane[number]), []).append(Order(0, FlowOrder.SCALE_LINK, number, rest[0]))
                continue
            if kind == "remove":
                for plane in self.pieces.pop(number):
                    orders.setdefault(plane, []).append(Order(0, FlowOrder.REMOVE, number))
                del self.rates[number]
                continue
            cap, links, weights = rest
            where = self.links.plane[links >> 1]
            for plane in self.pieces.get(number, []):
                if plane not in where:
                    orders.setdefault(plane, []).append(Order(0, FlowOrder.REMOVE, number))
            self.pieces[number], self.rates[number] = np.unique(where).tolist(), cap
            for plane in self.pieces[number]:
                here = where == plane
                order = Order(0, FlowOrder.ADD, number, cap, 1, links[here], weights[here], len(self.pieces[number]) > 1)
                orders.setdefault(plane, []).append(order)
        opened = {plane: report.open for plane, report in self.advance(orders).items() if len(report.open)}
        if opened:
            flows, rates = solve_open(opened, self.pieces.__getitem__, self.tell)
            self.rates |= (told := dict(zip(flows.tolist(), rates.tolist(), strict=True)))
            after: dict[int, list[Order]] = {}
            for flow, rate in told.items():
                for plane in self.pieces[flow]:
                    after.setdefault(plane, []).append(Order(0, FlowOrder.SET_RATE, flow, rate))
            self.advance(after)

    def tell(self, missing: Mapping[int, list[int]]) -> dict[int, FlowRows]:
        self.asked += 1
        orders = {plane: [Order(0, FlowOrder.TELL, flow) for flow in flows] for plane, flows in missing.items()}
        return {plane: report.open for plane, report in self.advance(orders).items()}

    def loads(self) -> NDArray[np.float64]:
        readings = [plane.read_links(0) for plane in self.planes.values()]
        order = np.argsort(np.concatenate([reading.link for reading in readings]))
        return np.concatenate([reading.load_bytes_per_second for reading in readings])[order]


def random_changes(cluster: Cluster, rng: np.random.Generator, count: int) -> list[Change]:
    trunks, present = np.flatnonzero(cluster.links.tier == 1), set[int]()
    changes: list[Change] = []
    for _ in range(count):
        kind = rng.choice(["add", "add", "add", "remove", "scale"])
        if kind == "scale":
            changes.append(("scale", int(rng.choice(trunks)), float(rng.choice([0.0, 0.1, 0.6, 1.0]))))
        elif kind == "remove" and present:
            flow = int(rng.choice(sorted(present)))
            present.discard(flow)
            changes.append(("remove", flow))
        else:
            flow = int(rng.integers(0, 25))
            present.add(flow)
            links = np.unique(2 * rng.choice(trunks, rng.integers(1, 6)) + rng.integers(0, 2)).astype(np.int32)
            changes.append(("add", flow, 47.5e9 * float(rng.choice([0.1, 0.5, 1.0])), links, rng.choice([0.5, 1.0, 3.0], len(links))))
    return changes


@given(seed=st.integers(0, 10**6), count=st.integers(2, 6), at_once=st.sampled_from([1, 3, 30]))
@settings(max_examples=60, deadline=None)
def test_any_assignment_of_links_to_planes_gives_the_same_bits(fabric: Cluster, seed: int, count: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    changes = random_changes(fabric, rng, 30)
    one = Planes(fabric, np.zeros(len(fabric.links)))
    several = Planes(fabric, rng.integers(0, count, len(fabric.links)))
    for change in changes:
        one.change([change])
    for first in range(0, len(changes), at_once):
        several.change(changes[first : first + at_once])
    assert one.rates == several.rates
    assert one.loads().tobytes() == several.loads().tobytes()
    assert one.asked == 0


def test_a_flow_over_two_planes_frees_in_one_what_the_other_keeps_from_it(fabric: Cluster) -> None:
    """Trunks a and b carry 47.5 GB/s, a in plane 0 and b in plane 1. Flow 1 crosses both, flow 2 a and flow 3 b, weight 1: on each trunk
    two flows, 23.75 each. With b at a fifth, 9.5 GB/s, flows 1 and 3 have 4.75 each and flow 2 has the rest of a: 42.75."""
    a, b = np.flatnonzero(fabric.links.tier == 1)[:2].tolist()
    planes = Planes(fabric, (np.arange(len(fabric.links)) == b).astype(int))
    rows = {1: [2 * a, 2 * b], 2: [2 * a], 3: [2 * b]}
    planes.change([("add", flow, 47.5e9, np.array(links, dtype=np.int32), np.ones(len(links))) for flow, links in rows.items()])
    assert planes.rates == {1: 23.75e9, 2: 23.75e9, 3: 23.75e9}
    planes.change([("scale", b, 0.2)])
    assert planes.rates == pytest.approx({1: 4.75e9, 2: 42.75e9, 3: 4.75e9})
    assert planes.asked == 1  # plane 0, for the component of flow 1; the first time both told by themselves
    planes.change([("remove", 1)])
    assert planes.rates == pytest.approx({2: 47.5e9, 3: 9.5e9})


def test_what_spans_nothing_is_solved_in_the_plane(fabric: Cluster) -> None:
    a = int(np.flatnonzero(fabric.links.tier == 1)[0])
    plane = FabricPlane(fabric, 0, SETTINGS)
    rows = [Order(0, FlowOrder.ADD, flow, 47.5e9, 1, np.array([2 * a], dtype=np.int32), np.ones(1)) for flow in (1, 2)]
    report = plane.advance(0, pack_orders(rows))
    assert (report.flow.tolist(), len(report.open)) == ([1, 2], 0)
    report = plane.advance(0, pack_orders([rows[1]._replace(spans=True)]))
    assert (report.flow.tolist(), report.open.flow.tolist()) == ([], [1, 2])
