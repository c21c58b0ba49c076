"""The fill experiment: against a plain one on small clusters, and against the published results."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.cli.app import main
from emulator.draws import Stream, bits
from emulator.experiments.inflate import allocation_percent, arrivals, inflate, prepare
from emulator.scheduler.placements import PLACEMENTS
from emulator.workload.readers import Nodes, Pods, open_nodes, open_pods
from tests.scheduler.plain_scores import PlainHost, PlainTask, best_hosts, gpus_on, usual

SCORERS = {name: placement.scorer for name, placement in PLACEMENTS.items() if placement.scorer is not None}
#: As our policies are called there.
PUBLISHED = {
    "random": "01-Random",
    "dot-product": "02-DotProd",
    "gpu-clustering": "03-GpuClustering",
    "gpu-packing": "04-GpuPacking",
    "best-fit": "05-BestFit",
    "fgd": "06-FGD",
}

node_row = st.tuples(
    st.sampled_from([32_000, 64_000, 96_000]),
    st.sampled_from([65_536, 131_072]),
    st.integers(0, 8),
    st.sampled_from(["T4", "A100", "G2"]),
)
node_rows = st.lists(node_row, min_size=1, max_size=5).filter(lambda rows: any(gpus for _, _, gpus, _ in rows))
pod_rows = st.lists(
    st.tuples(
        st.sampled_from([2_000, 8_000, 16_000, 40_000]),
        st.sampled_from([1_024, 16_384, 60_000]),
        st.sampled_from([(0, 0), (1, 1000), (1, 300), (1, 500), (1, 700), (2, 1000), (4, 1000), (8, 1000)]),
        st.sampled_from(["", "", "T4", "A100|G2", "V100"]),
    ),
    min_size=1,
    max_size=14,
).filter(lambda rows: any(size[0] for _, _, size, _ in rows))


def nodes_of(rows: list[tuple[int, int, int, str]]) -> Nodes:
    cpu, memory, gpus, models = zip(*rows, strict=True)
    return Nodes(np.array(cpu), np.array(memory), np.array(gpus, np.int32), tuple(models))


def pods_of(rows: list[tuple[int, int, tuple[int, int], str]]) -> Pods:
    cpu, memory, sizes, specs = zip(*rows, strict=True)
    gpus, milli = np.array(sizes, np.int32).T
    return Pods(np.array(cpu), np.array(memory), gpus, milli, tuple(specs))


@pytest.mark.parametrize("name", SCORERS)
@given(node_rows=node_rows, pod_rows=pod_rows, seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_against_a_plain_fill(
    name: str, node_rows: list[tuple[int, int, int, str]], pod_rows: list[tuple[int, int, tuple[int, int], str]], seed: int
) -> None:
    experiment = prepare(nodes_of(node_rows), pods_of(pod_rows))
    order = arrivals(experiment, seed, 130)
    drawn = [int(draw) for draw in bits(seed, Stream.INFLATE, np.arange(len(node_rows)), 2)]
    hosts = [node_rows[number] for number in sorted(range(len(node_rows)), key=lambda number: drawn[number])]
    state = [PlainHost([1000] * gpus, cpu, model=model) for cpu, _, gpus, model in hosts]
    memory = [one[1] for one in hosts]
    tasks = [PlainTask(gpus, milli, cpu, spec) for cpu, _, (gpus, milli), spec in pod_rows]
    held = 0
    for step, pod in enumerate(order.tolist()):
        task, needs = tasks[pod], pod_rows[pod][1]
        there = [number for number in range(len(state)) if memory[number] >= needs]
        best = [there[place] for place in best_hosts(name, [state[number] for number in there], task, usual(tasks))]
        if not best:
            continue
        host = best[draw_below(len(best), seed, step, 3) if name == "random" else 0]
        gpus = gpus_on(name, state[host], task, usual(tasks))
        if name == "random" and 0 < task.milli < 1000:
            choices = state[host].choices(task)
            gpus = choices[draw_below(len(choices), seed, step, 4)]
        state[host] = state[host].after(task, gpus)
        assert min(state[host].rooms, default=0) >= 0
        memory[host] -= needs
        held += task.gpus * task.milli
    scorer = SCORERS[name]
    assert allocation_percent(experiment, scorer, seed) == 100.0 * held / experiment.total_milli_gpus


def draw_below(count: int, seed: int, step: int, what: int) -> int:
    return int(bits(seed, Stream.INFLATE, step, what)) * count >> 64


def test_what_arrives() -> None:
    """As much as asked for and no more, a permutation of the trace first; a trace that asks for more loses pods."""
    pods = pods_of([(0, 0, (1, 1000), ""), (0, 0, (2, 1000), ""), (0, 0, (1, 250), ""), (0, 0, (0, 0), "")])
    experiment = prepare(nodes_of([(0, 0, 8, "T4")]), pods)
    first, second = (arrivals(experiment, seed, 130).tolist() for seed in (1, 2))
    assert sorted(first[:4]) == sorted(second[:4]) == [0, 1, 2, 3]
    assert first != second
    for order in (first, second):
        assert 10_400 - 2_000 < sum(int(experiment.milli_gpus[pod]) for pod in order) <= 10_400
    fewer = arrivals(experiment, 1, 30).tolist()
    assert sum(int(experiment.milli_gpus[pod]) for pod in fewer) <= 2_400
    assert len(set(fewer)) == len(fewer)
    assert arrivals(experiment, 1, 130).tolist() == first


# -- the command ------------------------------------------------------------------------------------------------------------------

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\nn1,96000,393216,8,T4\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np0,12000,16384,1,1000,\np1,6000,12288,1,460,P100|T4\np2,4000,8192,0,0,\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    nodes, pods = tmp_path / "nodes.csv", tmp_path / "pods.csv.gz"
    nodes.write_text(NODES)
    with gzip.open(pods, "wt") as file:
        file.write(PODS)
    return nodes, pods


def test_the_command(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    nodes, pods = files
    arguments = ["inflate", "--nodes", str(nodes), "--pods", str(pods), "--seeds", "3"]
    assert main([*arguments, "--policies", "fgd,random", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["fgd", "random"]
    for one in found.values():
        assert len(one["seed_percent"]) == 3
        assert one["mean_percent"] == pytest.approx(sum(one["seed_percent"]) / 3)
        assert all(0 < value <= 100 for value in one["seed_percent"])
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in SCORERS)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("pods", PODS.replace("cpu_milli", "cpu")), "pods.csv.gz:1: cpu_milli: the header lacks this column (allowed: name,cpu_milli,"),
        (("pods", PODS.replace("6000", "many")), "pods.csv.gz:3: cpu_milli: 'many' is not a number (allowed: a whole number from 0"),
        (
            ("pods", PODS.replace("460", "1460")),
            ":3: gpu_milli: '1460' is out of range (allowed: a whole number from 1 to 1000)",
        ),
        (("pods", "".join(PODS.splitlines(keepends=True)[:1])), "pods.csv.gz: no pod in it (allowed: at least one pod)"),
        (("pods", PODS.replace("1,1000", "0,0").replace("1,460", "0,0")), "no pod asks for GPUs; allowed: at least one pod with GPUs"),
        (("nodes", NODES.replace(",2,P", ",0,P").replace(",8,T", ",0,T")), "nodes.csv: gpu: no host has a GPU (allowed: at least one host"),
        (("nodes", NODES.replace(",8,", ",8000,")), "nodes.csv:3: gpu: '8000' is out of range (allowed: a whole number from 0 to 32)"),
        (("nodes", NODES.replace("64000,", "")), "nodes.csv:2: 4 fields (allowed: 5 fields, as in the header)"),
        (("nodes", ""), "nodes.csv: the file is empty"),
        (("--policies", "fgd,bestfit"), "there is no placement 'bestfit', did you mean best-fit?; allowed: best-fit, "),
        (("--policies", "topology"), "--policies: 'topology' does not score single hosts; allowed: best-fit, dot-product, fgd, "),
        (("--policies", "fgd,"), "--policies: 'fgd,' has an empty name; allowed: names by commas"),
        (("--policies", "fgd,fgd"), "--policies: 'fgd' is there twice; allowed: every name once"),
        (("--seeds", "0"), "--seeds"),
        (("--arrived", "nan"), "--arrived"),
    ],
)
def test_bad_input(files: tuple[Path, Path], change: tuple[str, str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    nodes, pods = files
    what, text = change
    if what == "nodes":
        nodes.write_text(text)
    elif what == "pods":
        pods.write_bytes(gzip.compress(text.encode()))
    more = [what, text] if what.startswith("--") else []
    assert main(["inflate", "--nodes", str(nodes), "--pods", str(pods), "--seeds", "1", *more]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert not said.out


# -- published --------------------------------------------------------------------------------------------------------------------


@pytest.mark.traces
@pytest.mark.parametrize("workload", ["default", "multigpu50"])
def test_two_seeds_are_near_the_published_means(traces: Path, workload: str) -> None:
    """Within a point; over ten seeds all are within 0.15 (docs/policies.md)."""
    folder = traces / "openb"
    with gzip.open(folder / "expected_allocation.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["workload"] == f"openb_pod_list_{workload}"]
    experiment = prepare(open_nodes(folder / "node_list_gpu_node.csv.gz"), open_pods(folder / f"pod_list_{workload}.csv.gz"))
    found = inflate(experiment, {name: SCORERS[name] for name in PUBLISHED}, seeds=2)
    for ours, theirs in PUBLISHED.items():
        published = [float(row["130"]) for row in rows if row["sc_policy"] == theirs]
        assert len(published) == 10
        assert found[ours].mean_percent == pytest.approx(sum(published) / 10, abs=1.0)
    assert max(found, key=lambda name: found[name].mean_percent) == "fgd"
