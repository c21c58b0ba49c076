"""vLLM's metrics as text, for thousands of replicas: lines are rendered as arrays of bytes, as those of racks are (``exposition``)."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from emulator.racks.served_pools import ServedPools
from emulator.racks.serving_messages import ServingReadings
from emulator.racks.serving_pool import GONE
from emulator.racks.vllm_counts import BUCKETS, UNITS
from emulator.telemetry.exposition import Bytes, escape, header, lines, rows
from emulator.telemetry.vllm_table import ENGINE_LABELS, VLLM, EngineHistogram, EngineMetric, Engines
from topology.cluster import Cluster
from topology.describe import unit_names

Int64 = NDArray[np.int64]

#: Sums of times are shown in steps of this many parts of a second: 0.1 ms.
_SHOWN = 10**4
_COLUMNS = ("running", "waiting", "kv_blocks", "input_tokens", "output_tokens", "cached_tokens", "preemptions", "finished")


class VllmText:
    """Renders what the replicas of shards read. ``detail``: rack, a line for each replica; pod or cluster, one for each pool."""

    def __init__(self, cluster: Cluster, pools: ServedPools, detail: str) -> None:
        self._cluster, self._pools, self._by_replica = cluster, pools, detail == "rack"
        self._units: list[str] = []

    def __call__(self, serving: Sequence[ServingReadings]) -> bytes:
        if not self._pools.names:
            return b""
        pool, replica = (_joined([getattr(one, name) for one in serving]) for name in ("pool", "replica"))
        columns = {name: _joined([getattr(one, name) for one in serving]) for name in (*_COLUMNS, "counts", "sums")}
        units = len(self._cluster.level(self._pools.level))
        columns["kv_most_blocks"] = np.where(replica == GONE, 0, np.array(self._pools.kv_blocks, np.int64)[pool // units])
        if self._by_replica:
            there = replica != GONE
            names = [str(one) for one in replica[there].tolist()]
            pool, columns = pool[there], {name: column[there] for name, column in columns.items()}
        else:
            pool, columns = _added_up(pool, columns)
            names = [self._unit_name(one % units) for one in pool.tolist()]
        models = [self._pools.names[one // units] for one in pool.tolist()]
        labels = rows([_labels(model, name) for model, name in zip(models, names, strict=True)])
        return b"".join(_family(Engines(**columns), labels))

    def _unit_name(self, unit: int) -> str:
        self._units = self._units or unit_names(self._cluster, self._pools.level)
        return self._units[unit]


def _labels(model: str, engine: str) -> str:
    return ",".join(f'{label}="{escape(text)}"' for label, text in zip(ENGINE_LABELS, (model, engine), strict=True)) + "} "


def _joined(parts: Sequence[Int64]) -> Int64:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _added_up(pool: Int64, columns: dict[str, Int64]) -> tuple[Int64, dict[str, Int64]]:
    """By pool."""
    pools, row = np.unique(pool, return_inverse=True)
    added = {}
    for name, column in columns.items():
        added[name] = np.zeros((len(pools), *column.shape[1:]), np.int64)
        np.add.at(added[name], row, column)
    return pools, added


def _family(engines: Engines, labels: Bytes) -> Iterable[bytes]:
    for metric in VLLM:
        yield header(metric).encode()
        if not len(labels):
            continue
        made: Callable[..., Iterable[bytes]] = _histogram if isinstance(metric, EngineHistogram) else _plain
        yield from made(metric, engines, labels)


def _plain(metric: EngineMetric, engines: Engines, labels: Bytes) -> Iterable[bytes]:
    own = metric.labels[: -len(ENGINE_LABELS)]
    for texts, column in metric.read(engines).items():
        inner = "".join(f'{label}="{escape(text)}",' for label, text in zip(own, texts, strict=True))
        yield lines(f"{metric.name}{{{inner}", labels, column, metric.decimals)


def _histogram(metric: EngineHistogram, engines: Engines, labels: Bytes) -> Iterable[bytes]:
    """Cumulative buckets; bounds are written as floats, as Prometheus makes of them anyway."""
    bounds = BUCKETS[metric.of]
    counts = np.cumsum(engines.counts[:, metric.of, : len(bounds) + 1], axis=1)
    for place, bound in enumerate([*map(repr, bounds), "+Inf"]):
        yield lines(f'{metric.name}_bucket{{le="{bound}",', labels, counts[:, place])
    unit, sums = UNITS[metric.of], engines.sums[:, metric.of]
    yield lines(f"{metric.name}_sum{{", labels, *((sums // (unit // _SHOWN), 4) if unit > _SHOWN else (sums, 0)))
    yield lines(f"{metric.name}_count{{", labels, counts[:, -1])
