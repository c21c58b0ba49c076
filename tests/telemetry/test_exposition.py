"""What is served is read back by the stock parser with exactly the numbers that went in."""

import math
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from emulator.engine.job_control import JobState
from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import CAUSES
from emulator.racks.messages import RackReadings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load
from emulator.telemetry.exposition import DETAIL, RackLabels, digits, escape, head_text, number, shard_text
from emulator.telemetry.metric import Kind, Scope
from emulator.telemetry.serving_table import OUTCOMES, REPLICA_STATES
from emulator.telemetry.table import GPU_STATES, HEAD, PLANE, RACK, TABLE
from emulator.telemetry.vllm_table import VLLM
from emulator.workload.jobs import SECOND
from tests.service.plausible_services import services
from tests.telemetry.plausible import RACKS, layout, plane_readings, rack_readings, snapshot
from topology.cluster import TIERS

#: Not our names.
OTHERS = ("kueue_", "inference_pool_", "vllm:")
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: bytes) -> Series:
    series: Series = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in series, f"twice: {key}"
            series[key] = sample.value
    return series


def key(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def shard(tick: int = 0, *, split: int = 3) -> bytes:
    cluster = layout()
    parts = [(0, split), (split, RACKS)]
    racks = [(RackLabels(cluster, first, end), rack_readings(first, end - first, tick)) for first, end in parts]
    return shard_text(racks, [plane_readings(0, tick), plane_readings(1, tick)])


def test_the_table_keeps_its_own_rules() -> None:
    names = [metric.name for metric in TABLE]
    assert len(set(names)) == len(names)
    for metric in TABLE:
        assert metric.name.startswith(("gigawatt_", "kueue_", "inference_pool_", "vllm:"))
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        stem = metric.name.removesuffix("_total")
        if metric.unit in ("seconds", "watts", "joules", "ratio", "bytes_per_second") and not metric.name.startswith(OTHERS):
            assert stem.endswith("_" + metric.unit), metric.name
        assert metric.help.endswith("."), metric.name
        # Prometheus puts these on every series itself; ours would come out as exported_*.
        assert not set(metric.labels) & {"job", "instance", "role", "cluster", "le", "job_id"}, metric.name
    assert {metric.scope for metric in (*RACK, *PLANE, *VLLM)} == {Scope.SHARD}
    assert {metric.scope for metric in HEAD} == {Scope.HEAD}


def test_the_head_serves_the_whole_table() -> None:
    tick = 17
    given_snapshot = snapshot(tick)
    families = {family.name: family for family in text_string_to_metric_families(head_text(given_snapshot).decode())}
    for metric in HEAD:
        # The parser calls a counter's family by the name without _total.
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        assert family.samples
    series = parse(head_text(given_snapshot))
    assert series[key("gigawatt_jobs", state="running")] == 10
    assert series[key("gigawatt_jobs_submitted_total")] == 94
    assert series[key("gigawatt_jobs_ended_total", state="finished")] == 57
    assert series[key("gigawatt_queue_gpus", queue="research", state="pending")] == 128
    quota = {"cohort": "lab", "cluster_queue": "research", "flavor": "*", "resource": "nvidia.com/gpu"}
    for name, value in (("nominal_quota", 128), ("resource_usage", 150), ("borrowing_limit", 64), ("lending_limit", math.inf)):
        assert series[key(f"kueue_cluster_queue_{name}", **quota)] == value
    held = series[key("kueue_pending_workloads", cluster_queue="research", status="inadmissible")]
    active = series[key("kueue_pending_workloads", cluster_queue="research", status="active")]
    assert (held, held + active) == (2, series[key("gigawatt_queue_jobs", queue="research", state="pending")])
    assert series[key("gigawatt_site_demand_ratio", site="west")] == 1.25
    assert series[key("gigawatt_site_dispatched_jobs_total", site="west")] == 107
    assert series[key("gigawatt_switches", tier="leaf")] == 8
    assert series[key("gigawatt_clock_speed_ratio", kind="achieved")] == 598.5
    assert series[key("gigawatt_pue_ratio")] == pytest.approx(1.1)
    for component, watts in (("hosts", 300e3), ("switches", 10e3)):
        assert series[key("gigawatt_it_power_watts", component=component)] == watts
        assert series[key("gigawatt_it_energy_joules_total", component=component)] == watts * 600.0 * tick
    assert series[key("gigawatt_clock_paused")] == 0


def test_services_are_served_as_they_are() -> None:
    tick = 17
    series, (chat, _) = parse(head_text(snapshot(tick))), services(tick)
    states = {"up": 9, "starting": 2, "pending": 1, "leaving": 1}
    assert {state: series[key("gigawatt_service_replicas", service="chat", state=state)] for state in REPLICA_STATES} == states
    assert series[key("gigawatt_service_gpus", service="chat")] == (9 + 2 + 1) * 4
    for outcome in OUTCOMES:
        assert series[key("gigawatt_service_requests_total", service="chat", outcome=outcome)] == chat.requests[outcome]
    ended = sum(series[key("gigawatt_service_requests_total", service="chat", outcome=outcome)] for outcome in OUTCOMES)
    assert ended + 5 * tick == sum(chat.requests[name] for name in (*OUTCOMES, "retried"))
    assert series[key("gigawatt_service_tokens_total", service="chat", kind="wasted")] == 500.5 * tick
    assert series[key("gigawatt_service_ttft_seconds", service="chat", percentile="99")] == 1.25
    assert series[key("gigawatt_service_joules_per_token", service="chat")] == chat.energy_joules / chat.requests["output_tokens"]
    assert series[key("gigawatt_service_run_ratio", service="batch")] == 0.1
    assert series[key("inference_pool_average_queue_size", name="chat")] == (12 + tick % 5) / 9
    assert series[key("inference_pool_average_kv_cache_utilization", name="chat")] == 0.625
    assert series[key("inference_pool_ready_pods", name="chat")] == 9


def test_of_a_service_that_nobody_asked_there_are_zeros_and_what_is_no_number() -> None:
    series = parse(head_text(snapshot(3)))
    assert all(series[key("gigawatt_service_requests_total", service="batch", outcome=outcome)] == 0 for outcome in OUTCOMES)
    assert series[key("inference_pool_average_queue_size", name="batch")] == 0
    for name in ("slo_attainment_ratio", "joules_per_token", "joules_per_request"):
        assert math.isnan(series[key(f"gigawatt_service_{name}", service="batch")])
    assert math.isnan(series[key("gigawatt_service_ttft_seconds", service="batch", percentile="50")])


def test_zeros_are_always_there() -> None:
    series = parse(head_text(snapshot()))
    for state in JobState:
        assert key("gigawatt_jobs", state=state.value) in series
    for gpu_state in GPU_STATES:
        assert key("gigawatt_gpus", state=gpu_state, gpu_model="H100") in series
    for cause in CAUSES:
        assert key("gigawatt_faults_total", cause=cause.name) in series
    for tier in TIERS:
        assert series[key("gigawatt_link_peak_ratio", tier=tier)] == {"host_leaf": 0.8, "leaf_spine": 0.97}.get(tier, 0.0)


def test_the_histogram_is_cumulative() -> None:
    series = parse(head_text(snapshot(2)))
    buckets = {bound: series[key("gigawatt_queue_wait_seconds_bucket", le=bound)] for bound in ("1.0", "60.0", "3600.0", "+Inf")}
    assert buckets == {"1.0": 22, "60.0": 44, "3600.0": 54, "+Inf": 54}
    assert series[key("gigawatt_queue_wait_seconds_count")] == 54
    assert series[key("gigawatt_queue_wait_seconds_sum")] == 5080


def test_power_usage_effectiveness_without_power_is_not_a_number() -> None:
    import dataclasses

    series = parse(head_text(dataclasses.replace(snapshot(), power_watts=0.0)))
    assert math.isnan(series[key("gigawatt_pue_ratio")])


def test_an_actor_serves_its_racks_and_planes() -> None:
    series = parse(shard(3))
    place = {"rack": "r00002", "pod": "p001", "site": "memphis"}
    assert series[key("gigawatt_rack_power_watts", **place)] == 52000.123
    assert series[key("gigawatt_rack_energy_joules_total", **place)] == 50e3 * 1800 + 2
    assert series[key("gigawatt_rack_gpus", state="busy", **place)] == 42
    assert series[key("gigawatt_rack_gpus", state="down", **place)] == 8
    assert series[key("gigawatt_rack_gpus", state="idle", **place)] == 14
    assert series[key("gigawatt_rack_hosts_down", **place)] == 1
    assert series[key("gigawatt_rack_faults_total", **place)] == 2
    assert sum(name == "gigawatt_rack_power_watts" for name, _ in series) == RACKS
    assert series[key("gigawatt_plane_peak_ratio", plane="1", tier="leaf_spine")] == 0.97
    assert series[key("gigawatt_plane_flows", plane="0")] == 10


def test_how_racks_are_split_over_shards_changes_no_series() -> None:
    assert parse(shard(4, split=1)) == parse(shard(4, split=5))


def test_the_head_can_serve_the_shards_text_too() -> None:
    """In-process there are no actors: both texts are one answer."""
    both = parse(head_text(snapshot(4))) | parse(shard(4))
    assert repr(sorted(parse(head_text(snapshot(4)) + shard(4)).items(), key=str)) == repr(sorted(both.items(), key=str))


def test_a_presets_racks_and_planes() -> None:
    """Real readings of the laptop preset, in three shards: what is served adds up to what was read."""
    cluster = build_cluster(load("laptop"))
    shards = InlineShards(cluster, RackSettings(), FabricSettings(), seed=1, shards=3)
    readings = shards.read(3600 * SECOND)
    labels = [RackLabels(cluster, span.first_rack, span.end_rack) for span in shards.ranges]
    series = parse(shard_text(list(zip(labels, readings.racks, strict=True)), readings.planes))
    racks, planes = cluster.counts.racks, shards.plane_count
    assert len(series) == racks * 7 + planes * (1 + 4 * len(TIERS))
    totals: dict[str, float] = {}
    for (name, _), value in series.items():
        totals[name] = totals.get(name, 0) + value
    assert totals["gigawatt_rack_gpus"] == cluster.gpu_count
    assert totals["gigawatt_rack_power_watts"] == pytest.approx(sum(int(r.power_milliwatts.sum()) for r in readings.racks) / 1000)
    assert totals["gigawatt_rack_energy_joules_total"] == pytest.approx(sum(r.energy_joules.sum() for r in readings.racks), abs=racks)
    assert key("gigawatt_rack_hosts_down", rack="r00000", pod="p000", site="laptop") in series


def test_labels_and_readings_of_other_racks_are_refused() -> None:
    with pytest.raises(ValueError, match="racks 0 to 2 with readings of racks 3 to 5"):
        shard_text([(RackLabels(layout(), 0, 3), rack_readings(3, 3))])


def test_a_cluster_without_pods_has_no_pod_label() -> None:
    labels = RackLabels(layout(4, pods=False, site_names=("abilene", "lordstown")), 0, 4)
    text = shard_text([(labels, rack_readings(0, 4))])
    series = parse(text)
    assert key("gigawatt_rack_hosts_down", rack="r00001", site="abilene") in series
    assert key("gigawatt_rack_hosts_down", rack="r00003", site="lordstown") in series


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20), st.integers(0, 4))
def test_digits_are_exact(values: list[int], decimals: int) -> None:
    text = digits(np.array(values, dtype=np.int64), decimals)
    for row, value in zip(text, values, strict=True):
        whole, fraction = divmod(value, 10**decimals)
        expected = f"{whole}.{fraction:0{decimals}d}" if decimals else str(whole)
        assert row.tobytes().decode().lstrip(" ") == expected


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=8))
def test_digits_of_numbers_below_zero(values: list[int]) -> None:
    rows = [row.tobytes().decode() for row in digits(np.array(values, dtype=np.int64), 3)]
    assert [float(row) for row in rows] == [value / 1000 for value in values]


@given(st.floats())
def test_floats_read_back_the_same(value: float) -> None:
    read = float(number(value))
    assert read == value or (math.isnan(read) and math.isnan(value))


#: Any text, and more often than by chance what has to be escaped.
NAMES = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\\n"\n\r{},= ', max_size=6)


@given(NAMES)
@example("a\\nb")
@example("ends in \\")
@example('\\"')
def test_any_queue_name_survives(name: str) -> None:
    text = head_text(snapshot(queues=(name,)))
    # The parser splits at \n alone; so does Prometheus.
    assert f'gigawatt_queue_jobs{{queue="{escape(name)}",state="pending"}} 3\n'.encode() in text
    unescaped = {dict(labels).get("queue") for (metric, labels) in parse(text) if metric == "gigawatt_queue_jobs"}
    assert unescaped == {name}


@given(NAMES)
def test_any_site_name_survives(name: str) -> None:
    labels = RackLabels(layout(2, site_names=(name,)), 0, 2)
    series = parse(shard_text([(labels, rack_readings(0, 2))]))
    assert key("gigawatt_rack_hosts_down", rack="r00001", pod="p000", site=name) in series


@pytest.mark.parametrize("detail", ["rack", "pod", "cluster"])
@pytest.mark.parametrize("split", [1, 3, 4])
def test_detail_adds_up_what_it_does_not_tell_apart(detail: str, split: int) -> None:
    """Two racks a pod, three a site; a shard may begin in the middle of either."""
    cluster = layout(site_names=("abilene", "lordstown"))
    totals: dict[frozenset[tuple[str, str]], float] = {}
    for first, end in ((0, split), (split, RACKS)):
        labels = RackLabels(cluster, first, end, detail)
        for (name, where), value in parse(shard_text([(labels, rack_readings(first, end - first))])).items():
            if name == "gigawatt_rack_faults_total":
                totals[where] = totals.get(where, 0) + value
    expected: dict[frozenset[tuple[str, str]], float] = {}
    for rack in range(RACKS):  # a rack's faults are its number, see plausible.py
        place = {"rack": f"r{rack:05d}", "pod": f"p{rack // 2:03d}", "site": ("abilene", "lordstown")[rack // 3]}
        where = frozenset((label, place[label]) for label in DETAIL[detail])
        expected[where] = expected.get(where, 0) + rack
    assert totals == expected


def test_an_unknown_detail_is_named() -> None:
    with pytest.raises(ValueError, match=r"telemetry\.detail is 'gpu'; allowed: rack, pod, cluster"):
        RackLabels(layout(), 0, 1, "gpu")


def test_no_racks_no_lines() -> None:
    none, none32 = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    readings = RackReadings(0, 2, none, np.zeros(0), none32, none32, none32, none32, none)
    labels = RackLabels(layout(), 2, 2)
    assert parse(shard_text([(labels, readings)])) == {}
    assert shard_text([]) == b""


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("text", [head_text(snapshot(5)), shard(5)], ids=["head", "shard"])
def test_promtool_finds_nothing_to_say(text: bytes) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
