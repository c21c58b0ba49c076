"""A real Prometheus reads what we serve, by the configuration, rules and dashboard that we ship."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from emulator.telemetry import MetricsServer, Page, RackLabels, head_text, metrics_groups, shard_text
from emulator.telemetry.table import TABLE
from emulator.telemetry.vllm_text import VllmText
from tests.prometheus import Prometheus, dashboard_expressions, needs_prometheus, rule_names, run_prometheus
from tests.telemetry.plausible import POOLS, RACKS, layout, plane_readings, rack_readings, serving_readings, snapshot

pytestmark = needs_prometheus


class Moving(Page):
    """Every scrape sees the next tick. The first is far from 0, where rate() would not look before a counter's start."""

    def __init__(self, text: Callable[[int], bytes]) -> None:
        super().__init__()
        self._text, self._tick = text, 1000

    def read(self, *, zipped: bool = False) -> bytes:
        self._tick += 1
        tick = self._tick
        self.publish(lambda: self._text(tick))
        return super().read(zipped=zipped)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    cluster = layout()
    addresses: list[str] = []

    def shard(first: int, end: int, plane: int) -> Callable[[int], bytes]:
        labels, replicas = RackLabels(cluster, first, end), VllmText(cluster, POOLS, "rack")
        pools = {plane: (2 * plane, 2 * plane + 1), plane + RACKS: (10 + plane,)}

        def text(tick: int) -> bytes:
            racks = shard_text([(labels, rack_readings(first, end - first, tick))], [plane_readings(plane, tick)])
            return racks + replicas([serving_readings(pools, tick)])

        return text

    with ExitStack() as stack:
        head = MetricsServer(Moving(lambda tick: head_text(snapshot(tick))), targets=lambda: metrics_groups(addresses, "laptop"))
        shards = [MetricsServer(Moving(shard(*split))) for split in ((0, 2, 0), (2, RACKS, 1))]
        addresses += [stack.enter_context(server).address for server in (head, *shards)]
        running = stack.enter_context(run_prometheus(tmp_path_factory.mktemp("scrape"), f"{head.url}/sd"))
        running.wait_for_targets(3)
        yield running


def test_every_expression_of_the_dashboard_has_data(prometheus: Prometheus) -> None:
    expressions = dashboard_expressions()
    assert len(expressions) > 50
    assert prometheus.without_data(expressions) == []


def test_every_query_of_vllms_own_dashboard_has_data(prometheus: Prometheus) -> None:
    queries = json.loads((Path(__file__).parent / "vllm_grafana.json").read_text())
    assert len(queries) == 32
    assert prometheus.without_data(queries) == []


def test_every_recording_rule_has_data(prometheus: Prometheus) -> None:
    assert prometheus.without_data(rule_names()) == []


def test_targets_carry_their_role_and_cluster(prometheus: Prometheus) -> None:
    labels = [target["labels"] for target in prometheus.targets()]
    assert sorted((label["role"], label["cluster"], label["job"]) for label in labels) == [
        ("head", "laptop", "gigawatt"), ("shard", "laptop", "gigawatt"), ("shard", "laptop", "gigawatt"),
    ]  # fmt: skip
    assert not [target["lastError"] for target in prometheus.targets() if target["lastError"]]


def test_prometheus_knows_every_metric_by_type_and_help(prometheus: Prometheus) -> None:
    metadata = prometheus.metadata()
    for metric in TABLE:
        (found,) = metadata[metric.name]
        assert (found["type"], found["help"]) == (metric.kind, metric.help)


def test_values_arrive_whole(prometheus: Prometheus) -> None:
    assert prometheus.value("count(gigawatt_rack_power_watts)") == RACKS
    assert prometheus.value('gigawatt_rack_power_watts{rack="r00002", pod="p001", site="memphis"}') == 52000.123
    assert prometheus.value('gigawatt_gpus{state="down"}') == 8
    assert prometheus.value('gigawatt_clock_speed_ratio{kind="asked"}') == 600
    assert not prometheus.query('{__name__=~"gigawatt_.*", __name__!~".*:.*", exported_cluster!=""}')


def test_rates_by_emulated_time_take_the_speed_out(prometheus: Prometheus) -> None:
    """Two jobs are submitted every 600 emulated seconds, however often Prometheus looks: 12 an hour."""
    rate = "cluster:gigawatt_jobs_submitted:per_emulated_second1m"
    assert prometheus.without_data([rate]) == []
    assert math.isclose(prometheus.value(rate) * 3600, 12.0, rel_tol=1e-6)


def test_a_wrong_expression_is_an_error_not_an_empty_answer(prometheus: Prometheus) -> None:
    with pytest.raises(ValueError, match="parse error"):
        prometheus.query("sum(")
    assert prometheus.without_data(["gigawatt_nonsense"], seconds=0) == ["gigawatt_nonsense"]
