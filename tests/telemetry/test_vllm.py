"""vLLM's metrics of replicas, read back by the stock parser."""

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from emulator.racks.serving_pool import GONE
from emulator.racks.vllm_counts import BUCKETS, UNITS
from emulator.telemetry.metric import Kind
from emulator.telemetry.vllm_table import FINISHED_REASONS, VLLM, EngineHistogram
from emulator.telemetry.vllm_text import VllmText
from tests.telemetry.plausible import POOLS, layout, serving_readings
from tests.telemetry.test_exposition import key, parse

#: Pool 0 is of the first service in the first rack, 7 of the second in the second.
READ = serving_readings({0: (GONE, 7, 8), 7: (1 << 40,)}, tick=9)


def text(detail: str) -> bytes:
    return VllmText(layout(), POOLS, detail)([READ])


def test_each_replica_has_its_numbers() -> None:
    series = parse(text("rack"))
    engines = {"7": ("llama", 1), "8": ("llama", 2), str(1 << 40): ('a "batch"', 3)}
    assert {dict(labels)["engine"] for _, labels in series} == set(engines)
    for engine, (model, row) in engines.items():
        labels = {"model_name": model, "engine": engine}
        assert series[key("vllm:num_requests_running", **labels)] == READ.running[row]
        assert series[key("vllm:num_requests_waiting", **labels)] == READ.waiting[row]
        blocks = POOLS.kv_blocks[POOLS.names.index(model)]
        assert series[key("vllm:kv_cache_usage_perc", **labels)] == pytest.approx(READ.kv_blocks[row] / blocks, abs=1e-4)
        assert series[key("vllm:generation_tokens_total", **labels)] == READ.output_tokens[row]
        assert series[key("vllm:prompt_tokens_total", **labels)] == READ.input_tokens[row] + READ.cached_tokens[row]
        assert series[key("vllm:prefix_cache_hits_total", **labels)] == READ.cached_tokens[row]
        assert series[key("vllm:num_preemptions_total", **labels)] == READ.preemptions[row]
        reasons = {reason: series[key("vllm:request_success_total", finished_reason=reason, **labels)] for reason in FINISHED_REASONS}
        assert reasons == {"stop": READ.finished[row], "length": 0, "abort": 0}
        for metric in VLLM:
            if isinstance(metric, EngineHistogram):
                bounds = [*map(repr, BUCKETS[metric.of]), "+Inf"]
                buckets = [series[key(f"{metric.name}_bucket", le=bound, **labels)] for bound in bounds]
                assert [b - a for a, b in pairwise([0, *buckets])] == READ.counts[row, metric.of, : len(bounds)].tolist()
                assert series[key(f"{metric.name}_count", **labels)] == buckets[-1]
                total = READ.sums[row, metric.of] / UNITS[metric.of]
                assert series[key(f"{metric.name}_sum", **labels)] == pytest.approx(total, abs=1e-4)


@pytest.mark.parametrize("detail", ["pod", "cluster"])
def test_replicas_of_a_pool_are_added_up_with_those_that_are_gone(detail: str) -> None:
    series = parse(text(detail))
    labels = {"model_name": "llama", "engine": "r00000"}
    assert {dict(labels)["engine"] for _, labels in series} == {"r00000", "r00001"}
    assert series[key("vllm:num_requests_running", **labels)] == READ.running[:3].sum()
    assert series[key("vllm:kv_cache_usage_perc", **labels)] == pytest.approx(READ.kv_blocks[:3].sum() / (2 * POOLS.kv_blocks[0]), abs=1e-4)
    assert series[key("vllm:generation_tokens_total", **labels)] == READ.output_tokens[:3].sum()
    assert series[key("vllm:time_to_first_token_seconds_count", **labels)] == READ.counts[:3, 0].sum()
    assert series[key("vllm:num_requests_running", model_name='a "batch"', engine="r00001")] == READ.running[3]


def test_a_pool_without_replicas_keeps_what_it_has_counted() -> None:
    gone = serving_readings({0: (GONE,)}, tick=9)
    made = VllmText(layout(), POOLS, "pod")
    series = parse(made([gone]))
    labels = {"model_name": "llama", "engine": "r00000"}
    assert (series[key("vllm:kv_cache_usage_perc", **labels)], series[key("vllm:num_requests_running", **labels)]) == (0, 0)
    assert series[key("vllm:generation_tokens_total", **labels)] == gone.output_tokens[0]


def test_types_and_helps_are_those_of_the_table() -> None:
    for served in (text("rack"), VllmText(layout(), POOLS, "rack")([])):
        families = {family.name: family for family in text_string_to_metric_families(served.decode())}
        for metric in VLLM:
            family = families[metric.name.removesuffix("_total")]
            assert (family.type, family.documentation) == (metric.kind, metric.help)


def test_shards_of_an_actor_are_one_text() -> None:
    """Each family once, whatever the number of shards."""
    apart = [serving_readings({0: (7, 8)}), serving_readings({7: (9,)})]
    served = VllmText(layout(), POOLS, "rack")(apart)
    assert len(re.findall(rb"# TYPE vllm:num_requests_running ", served)) == 1
    assert {dict(labels)["engine"] for _, labels in parse(served)} == {"7", "8", "9"}


def test_nothing_is_served_where_nothing_serves() -> None:
    assert VllmText(layout(), type(POOLS)(), "rack")([]) == b""


def test_vllms_own_dashboard_reads_what_is_served() -> None:
    names = {name for name, _ in parse(text("rack"))}
    for query in json.loads((Path(__file__).parent / "vllm_grafana.json").read_text()):
        read = set(re.findall(r"vllm:\w+", promql_parser.parse(query).prettify()))
        assert read
        assert read <= names


def test_ten_thousand_replicas_by_pool_are_few_lines() -> None:
    """A cluster as large as they come is a text of some hundred kilobytes unless every replica is asked for."""
    many = serving_readings({0: tuple(range(5000)), 7: tuple(range(5000, 10_000))})
    assert len(VllmText(layout(), POOLS, "pod")([many])) < 150_000


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_has_nothing_to_say_but_of_vllms_names() -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text("rack"), capture_output=True, timeout=60, check=False, text=False)
    told = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in told if not (line.startswith("vllm:") and "should not contain ':'" in line)] == []


def test_kinds_are_all_there() -> None:
    assert {metric.kind for metric in VLLM} == set(Kind)
