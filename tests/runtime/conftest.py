"""A small cluster with several racks and planes, and a script of windows that every runtime must answer alike."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from emulator.engine.shards import Readings, Window
from emulator.fabric.messages import FlowOrder, Order, pack_orders
from emulator.racks.faults import INJECTED, Scope
from emulator.racks.messages import RackOrder, RackOrders
from emulator.runtime.inline import InlineShards
from emulator.runtime.ray_shards import RayShards
from topology import catalog
from topology.clos import ClosPlan, build
from topology.cluster import Cluster
from topology.compile import compile_cluster

SECOND = 1_000_000_000


def make_cluster() -> Cluster:
    """160 hosts in 40 racks; eight planes, for the rails do not meet."""
    plan = ClosPlan(
        name="test", host=catalog.host("hgx-h100"), switch=catalog.switch("qm9700"), hosts=160, hosts_per_rack=4, rails_meet=False
    )
    return compile_cluster(build(plan))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return make_cluster()


class Script:
    """Random jobs, flows and injected faults, cut into windows; a shard is named only when it has orders or an event is due."""

    def __init__(self, cluster: Cluster, windows: int = 40) -> None:
        random = np.random.default_rng(1)
        self.untils = [(i + 1) * 30 * SECOND for i in range(windows)]
        self.rows: list[list[tuple[int, ...]]] = []
        self.flows: list[list[tuple[int, Order]]] = []
        trunks = np.flatnonzero(cluster.links.tier > 0)
        for start in [0, *self.untils[:-1]]:
            rows: list[tuple[int, ...]] = []
            flows = []
            for _ in range(int(random.integers(0, 4))):
                block = int(random.integers(len(cluster.block)))
                size = int(np.diff(cluster.block.first_host)[block])
                hosts = int(random.integers(1, 1 << min(size, 62)))
                kind = [RackOrder.OCCUPY, RackOrder.RELEASE, RackOrder.BREAK_HOST, RackOrder.MEND_HOST][int(random.integers(4))]
                late = int(random.integers(0, start + 1)) if kind <= RackOrder.RELEASE else start
                rows.append((late, kind, block, hosts, 255, 700_000, 0, INJECTED, Scope.HOST))
                link = trunks[random.integers(len(trunks), size=3)]
                link = np.unique(link[cluster.links.plane[link] == cluster.links.plane[link[0]]]).astype(np.int32)
                flow = Order(start, FlowOrder.ADD, int(random.integers(20)), 5e10, 8, (2 * link).astype(np.int32), np.full(len(link), 3.0))
                flows.append((int(cluster.links.plane[link[0]]), flow))
            self.rows.append(rows)
            self.flows.append(flows)

    def run(
        self, cluster: Cluster, shards: InlineShards | RayShards, between: Callable[[int], object] = lambda window: None
    ) -> list[Sequence[object]]:
        """Everything that the shards answered, in an order and form that does not depend on how the racks were cut."""
        promises = [0] * len(shards.ranges)
        seen: list[Sequence[object]] = []
        for number, until in enumerate(self.untils):
            racks, planes = {}, {}
            for shard, span in enumerate(shards.ranges):
                mine = [row for row in self.rows[number] if span.first_host <= cluster.block.first_host[row[2]] < span.end_host]
                if mine or promises[shard] <= until:
                    dtypes = (np.int64, np.int8, np.int32, np.uint64, np.uint64, np.int64, np.int64, np.int16, np.int8)
                    racks[shard] = RackOrders(*(np.array([row[i] for row in mine], dtype) for i, dtype in enumerate(dtypes)))
            for plane in sorted({plane for plane, _ in self.flows[number]}):
                planes[plane] = pack_orders(flow for mine, flow in self.flows[number] if mine == plane)
            answers = shards.advance(Window(until, racks, planes))
            assert sorted(answers.racks) == sorted(racks)
            assert sorted(answers.planes) == sorted(planes)
            for shard, report in answers.racks.items():
                promises[shard] = report.next_event_ns
            columns = [[getattr(report, name) for report in answers.racks.values()] for name in ("time_ns", "event", "host", "cause")]
            seen.append(sorted(zip(*(np.concatenate(column).tolist() for column in columns), strict=True)) if racks else [])
            seen.append([(plane, r.flow.tolist(), r.rate.tolist(), r.open.flow.tolist()) for plane, r in sorted(answers.planes.items())])
            if number % 7 == 6:
                seen.append(self.readings(shards.publish(until)))
            between(number)
        seen.append(self.readings(shards.read(self.untils[-1])))
        return seen

    @staticmethod
    def readings(readings: Readings) -> tuple[list[bytes], list[tuple[int, bytes, bytes]]]:
        names = ("power_milliwatts", "energy_joules", "gpus_busy", "hosts_down", "faults")
        racks = [np.concatenate([getattr(reading, name) for reading in readings.racks]).tobytes() for name in names]
        assert [reading.plane for reading in readings.planes] == list(range(len(readings.planes)))
        return racks, [(plane.flows, plane.load_bytes_per_second.tobytes(), plane.peak_utilization.tobytes()) for plane in readings.planes]


@pytest.fixture(scope="session")
def script(cluster: Cluster) -> Script:
    return Script(cluster)
