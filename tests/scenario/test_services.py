"""Services in a scenario: numbers at both ends of what is allowed, and what is refused, with the numbers."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from emulator.racks.serving_messages import Tally
from emulator.report.summary import summary
from emulator.runtime.opening import open_session
from emulator.scenario import ScenarioError
from emulator.scenario.build import build_cluster
from emulator.scenario.build_services import build_services
from emulator.scenario.load import dump, load
from emulator.scenario.services import ServiceSettings
from tests.scenario.test_bounds import numbers

SERVICE: dict[str, Any] = {
    "name": "chat",
    "model": "llama3.1-70b",
    "tensor": 4,
    "replicas": 2,
    "requests": {"per_second": 4, "lengths": {"name": "constant", "prompt_tokens": 200, "output_tokens": 20}},
}
SCENARIO: dict[str, Any] = {
    "name": "serves",
    "cluster": {"host": "hgx-h100", "hosts": 8, "hosts_per_rack": 4, "switch": "qm9700"},
    "clock": {"cycle": "10s", "until": "3m"},
    "workload": {"kind": "none"},
    "runtime": {"actors": "inline"},
}
DURATIONS = {
    *("scaling.up_cooldown", "scaling.down_cooldown", "scaling.lead", "scaling.idle", "objectives.ttft", "objectives.tpot", "cold_start"),
    *("patience.timeout", "patience.cancel_after", "retries.after", "requests.sessions.think", "requests.bursts.period", "requests.think"),
}
#: Of these the upper end is a matter of how big a machine is at hand; below the lower one a step does not fit.
LARGE = {
    *("requests.per_day", "requests.per_second", "replicas", "requests.lengths.prompt_tokens", "requests.lengths.output_tokens"),
    *("disaggregated.prefill_replicas", "requests.concurrency"),
}
SLOW = {"objectives.ttft", "objectives.tpot", "tensor", "attention_data", "token_budget"}
NUMBERS = {path: (kind, bounds) for path, kind, bounds in numbers(ServiceSettings)}
#: What goes with a value at its end.
BESIDE: dict[str, dict[str, Any]] = {
    "scaling.max": {"scaling": {"min": 0}, "replicas": 1},
    "requests.per_day": {"requests": {"per_second": None}},
    "requests.sessions.turns": {"requests": {"sessions": {"ratio": 0.5}}},
    "requests.context_tokens": {"requests": {"sessions": {"ratio": 0.5}}},
    "requests.sessions.system_tokens": {"prefix_cache": {"enabled": True}},
    "patience.cancel_after": {"patience": {"cancel_ratio": 0.5}},
    "requests.bursts.period": {"requests": {"bursts": {"cv": 0.5}}},
    "requests.concurrency": {"requests": {"kind": "closed", "per_second": None}},
    "requests.think": {"requests": {"kind": "closed", "per_second": None, "concurrency": 10}},
}


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        found[key] = merged(found[key], value) if isinstance(value, dict) and isinstance(found.get(key), dict) else value
    return found


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {key: given(value) if isinstance(value, dict) else value for key, value in settings.items() if value is not None}


def at(path: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {path.rpartition(".")[2]: value}
    for key in reversed(path.split(".")[:-1]):
        found = {key: [{"ratio": 0.5, "priority": 1} | found] if key == "priorities" else found}
    return found


def file(folder: Path, service: dict[str, Any], **sections: Any) -> Path:
    made = folder / "serves.yaml"
    made.write_text(yaml.safe_dump(merged(SCENARIO, sections) | {"services": [given(merged(SERVICE, service))]}))
    return made


def ends(path: str) -> tuple[list[Any], list[Any]]:
    """(What is allowed at the two ends, what lies just outside)."""
    kind, bounds = NUMBERS[path]

    def step(value: float, way: int) -> float:
        return value + way if kind is int else math.nextafter(value, way * math.inf)

    low, high = bounds["ge" if "ge" in bounds else "gt"], bounds["le" if "le" in bounds else "lt"]
    inner = [low if "ge" in bounds else step(low, 1), high if "le" in bounds else step(high, -1)]
    outer = [step(inner[0], -1), step(inner[1], 1), *([] if kind is int else [math.nan, math.inf])]
    if path in DURATIONS:
        return [f"{value}ns" for value in inner], [f"{value}ns" for value in outer]
    return inner, outer


ALLOWED = [
    (path, value) for path in NUMBERS for place, value in enumerate(ends(path)[0]) if path not in SLOW and not (place and path in LARGE)
]
REFUSED = [(path, value) for path in NUMBERS for value in ends(path)[1]]


def test_every_number_has_both_bounds() -> None:
    assert len(NUMBERS) > 30
    assert all(bounds.keys() & {"ge", "gt"} and bounds.keys() & {"le", "lt"} for _, bounds in NUMBERS.values())


@pytest.mark.parametrize(("path", "value"), ALLOWED, ids=str)
def test_the_emulation_runs_at_both_ends(tmp_path: Path, path: str, value: Any) -> None:
    session = open_session(load(file(tmp_path, merged(BESIDE.get(path, {}), at(path, value)))))
    try:
        values = summary(session.run_to_end())["inference"]
        ended = sum(values[name] for name in ("completed", "rejected", "timed_out", "cancelled", "lost"))
        assert ended <= values["requests"] * (1 + 1e-9)
    finally:
        session.close()


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=str)
def test_what_lies_beyond_is_refused_by_name(tmp_path: Path, path: str, value: Any) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(file(tmp_path, at(path, value)))
    assert path.rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize(
    ("service", "sections", "words"),
    [
        ({"tensor": 1, "precision": "bf16"}, {}, ["services.0.tensor", "llama3.1-70b in bf16 takes 141", "74.4 GB", "more GPUs"]),
        ({"objectives": {"tpot": "5ms"}}, {}, ["services.0.objectives.tpot: 5 ms", "takes 11.", "or more"]),
        ({"objectives": {"ttft": "5ms"}}, {}, ["services.0.objectives.ttft: 5 ms", "or more"]),
        ({"model": "llama3.1-8b", "pipeline": 33}, {}, ["services.0.pipeline: 33 stages of 32 layers", "at most one"]),
        ({"tensor": 12}, {}, ["services.0.tensor: a replica of 12 GPUs", "at most 8", "whole domains"]),
        ({"tensor": 3, "attention_data": 8}, {}, ["services.0.tensor: a replica of 24 GPUs, 3 x 8", "at most 8"]),
        ({"tensor": 4, "pipeline": 3}, {}, ["services.0.tensor: a replica of 12 GPUs, 4 x 1 in each of 3 stages", "whole domains"]),
        ({"tensor": 4, "attention_data": 3, "pipeline": 2}, {}, ["services.0.tensor", "24 GPUs, 4 x 3 in each of 2 stages"]),
        ({"token_budget": 4, "speculative": {"tokens": 4}}, {}, ["services.0.speculative.tokens: 4", "4 tokens", "less"]),
        ({"speculative": {"tokens": 3}, "objectives": {"tpot": "2ms"}}, {}, ["services.0.objectives.tpot: 2 ms", "or more"]),
        ({"gpu": "B200"}, {}, ["services.0.gpu", "'B200'", "H100"]),
        ({"model": "gpt-9"}, {}, ["services.0.model", "'gpt-9'", "llama3.1-70b"]),
        ({"router": "best"}, {}, ["services.0.router", "'best'", "least-outstanding"]),
        ({"requests": {"per_day": 5}}, {}, ["services.0.requests", "one of per_day and per_second"]),
        ({"scaling": {"metric": "cpu"}}, {}, ["scaling.metric", "'cpu'", "concurrency"]),
        ({"scaling": {"metric": "kv", "min": 3}}, {}, ["services.0.replicas: 2", "3 to"]),
        ({"scaling": {"min": 5, "max": 4}}, {}, ["scaling", "max is 4 and min 5"]),
        ({}, {"serving": {"interval": "15s"}}, ["interval is 15s and clock.cycle 10s"]),
        ({}, {"serving": {"pool": "building"}}, ["serving.pool", "'building'", "leaf"]),
        ({"name": "a b"}, {}, ["services.0.name"]),
        ({"disaggregated": {"prefill_replicas": 2}}, {}, ["services.0", "prefill_replicas is 2 of 2 replicas", "less than all"]),
        ({"disaggregated": {}}, {}, ["services.0.disaggregated.prefill_replicas"]),
        ({"requests": {"per_second": None, "kind": "trace"}}, {}, ["services.0.requests", "both path and format"]),
        (
            {"requests": {"priorities": [{"ratio": 0.5, "priority": 1}, {"ratio": 0.6, "priority": 2}]}},
            {},
            ["services.0.requests.priorities: ratios of all classes: 1.1 together", "at most 1"],
        ),
        *(
            ({"requests": {"kind": "closed", "concurrency": 9, "per_second": None} | change}, {}, ["services.0.requests", *words])
            for change, words in (
                ({"concurrency": None}, ["a closed loop needs concurrency"]),
                ({"per_second": 4}, ["per_second is 4.0 of requests that are closed", "generated or trace"]),
                ({"per_day": 1e6}, ["per_day is 1000000.0"]),
                ({"diurnal_ratio": 0.3}, ["diurnal_ratio is 0.3"]),
                ({"bursts": {"cv": 0.5}}, ["bursts.cv is 0.5"]),
                ({"sessions": {"ratio": 0.5}}, ["sessions.ratio is 0.5"]),
                ({"sessions": {"system_tokens": 100}}, ["sessions.system_tokens is 100"]),
                ({"priorities": [{"ratio": 0.6, "priority": 1}] * 2}, [".priorities: ratios of all classes: 1.2"]),
            )
        ),
        ({"requests": {"concurrency": 9}}, {}, ["services.0.requests", "concurrency is 9 of requests that are generated", "kind closed"]),
        ({"requests": {"think": "5s"}}, {}, ["think is 5000000000 of requests that are generated"]),
        (
            {"requests": {"kind": "closed", "concurrency": 9, "per_second": None}, "origins": {"site": 1}},
            {},
            ["services.0.requests.kind: closed with origins", "no origins"],
        ),
        (
            {"requests": {"kind": "closed", "concurrency": 9, "per_second": None}, "disaggregated": {"prefill_replicas": 1}},
            {},
            ["services.0.requests.kind: closed with disaggregated", "generated or trace"],
        ),
        ({"requests": {"priorities": [{"ratio": 0.5}]}}, {}, ["services.0.requests.priorities.0.priority"]),
        ({"weights_from": "disk"}, {}, ["services.0.weights_from", "'storage' or 'peers'"]),
        ({"origins": {"site": 0.0}}, {}, ["services.0", "origins are all 0", "at least one above 0"]),
        ({"origins": {}}, {}, ["services.0.origins", "at least 1"]),
        ({"origins": {"site": 1, "moon": 2}}, {}, ["services.0.origins: 'moon'", "no site of this cluster; allowed: site"]),
        ({"origins": {"site": -1e-9}}, {}, ["services.0.origins.site", "greater than or equal to 0"]),
        ({"origins": {"site": 1.1e12}}, {}, ["services.0.origins.site", "less than or equal to"]),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_the_numbers(
    tmp_path: Path, service: dict[str, Any], sections: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ScenarioError) as caught:
        open_session(load(file(tmp_path, service, **sections))).close()
    for word in words:
        assert word in str(caught.value)


SITES = [{"name": name, "site": name, "host": "hgx-h100", "hosts": 4, "switch": "qm9700"} for name in ("west", "mid", "east")]
WAN = {
    "gateway_bandwidth": "1Tbps",
    "links": [{"between": ["west", "mid"], "distance_km": 1000}, {"between": ["mid", "east"], "distance_km": 500}],
}


def test_where_requests_enter_is_taken_over_the_sum(tmp_path: Path) -> None:
    """Light takes 5 us a kilometre of fibre, and the way from west to east leads through the middle."""
    made = tmp_path / "sites.yaml"
    service = SERVICE | {"origins": {"east": 3, "west": 1, "mid": 0}}
    made.write_text(yaml.safe_dump(SCENARIO | {"cluster": {"parts": SITES, "wan": WAN}, "services": [service]}))
    loaded = load(made)
    cluster = build_cluster(loaded)
    built = build_services(loaded, cluster)[0].services[0]
    assert dict(built.origins) == {0: Fraction(1, 4), 2: Fraction(3, 4)}
    milliseconds = built.served.ways.round_trip_ps / 1e9
    assert milliseconds == pytest.approx(np.array([[0, 10, 15], [10, 0, 5], [15, 5, 0]]), abs=0.005)


def test_one_site_may_be_named_and_changes_nothing(tmp_path: Path) -> None:
    served = []
    for origins in (None, {"site": 2.0}):
        session = open_session(load(file(tmp_path, {"origins": origins})))
        served.append(summary(session.run_to_end())["inference"])
        session.close()
    assert served[0] == served[1]


def test_sites_that_nothing_joins_have_no_origins(tmp_path: Path) -> None:
    (tmp_path / "topology.conf").write_text("SwitchName=west Nodes=n[1-4]\nSwitchName=east Nodes=n[5-8]\n")
    made = tmp_path / "islands.yaml"
    cluster = {"builder": "file", "path": str(tmp_path / "topology.conf"), "host": "hgx-h100"}
    made.write_text(yaml.safe_dump(SCENARIO | {"cluster": cluster, "services": [SERVICE | {"origins": {"site/west": 1}}]}))
    loaded = load(made)
    with pytest.raises(ScenarioError, match=r"services\.0\.origins: nothing joins the sites .*; allowed: sites that a WAN joins"):
        build_services(loaded, build_cluster(loaded))


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    made = tmp_path / "twice.yaml"
    made.write_text(yaml.safe_dump(SCENARIO | {"services": [SERVICE, SERVICE]}))
    with pytest.raises(ScenarioError, match="chat, chat"):
        load(made)


def test_a_row_without_tokens_is_refused_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n2023-11-16 18:15:47,12,0\n")
    trace = {"kind": "trace", "format": "azure", "path": str(tmp_path / "trace.csv"), "per_second": None}
    with pytest.raises(ScenarioError, match=r"services\.0\.requests\.path: .*:3.*GeneratedTokens.*0"):
        open_session(load(file(tmp_path, {"requests": trace}))).close()


def test_a_trace_is_found_beside_its_scenario_and_runs_whole(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("arrival_seconds,prompt_tokens,output_tokens\n0,100,10\n1.5,200,20\n30,50,5\n")
    made = file(tmp_path, {"requests": {"kind": "trace", "format": "requests", "path": "trace.csv", "per_second": None, "lengths": None}})
    session = open_session(load(made))
    values = summary(session.run_to_end())
    session.close()
    assert (values["inference"]["completed"], values["inference"]["input_tokens"], values["inference"]["output_tokens"]) == (3, 350, 35)
    assert values["sources"][0]["kept"] == 3


def test_priorities_of_a_trace_are_its_own_or_the_scenarios(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("arrival_seconds,prompt_tokens,output_tokens,priority\n0,100,10,3\n1.5,200,20,\n")
    trace = {"kind": "trace", "format": "requests", "path": "trace.csv", "per_second": None, "lengths": None}
    session = open_session(load(file(tmp_path, {"requests": trace})))
    outcome = session.run_to_end()
    session.close()
    assert outcome.requests_table is not None
    assert outcome.requests_table().column("priority").to_pylist() == [3, 0]
    with pytest.raises(ScenarioError, match=r"services\.0\.requests\.priorities: the trace has a column priority"):
        open_session(load(file(tmp_path, {"requests": trace | {"priorities": [{"ratio": 0.5, "priority": 1}]}}))).close()


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    """YAML 1.1 takes 2.5e9 for text."""
    made = tmp_path / "many.yaml"
    text = yaml.safe_dump(SCENARIO | {"services": [given(merged(SERVICE, {"requests": {"per_second": None, "per_day": "MANY"}}))]})
    made.write_text(text.replace("MANY", "2.5e9"))
    scenario = load(made)
    assert scenario.services[0].requests.per_day == 2.5e9
    made.write_text(dump(scenario))
    assert load(made) == scenario


def test_every_tally_has_a_place_in_a_view() -> None:
    """Scripts read them by these names."""
    assert [one.name.lower() for one in Tally][:6] == ["arrived", "finished", "rejected", "timed_out", "cancelled", "lost"]
