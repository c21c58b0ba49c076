"""The replicas of a rack shard: its pools, which run their requests one by one, and what is counted of them.

Orders carry exact times, none after the end of the window that they come with. A pool's answers depend on its orders and its arrivals and
on nothing else, wherever windows are cut.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from emulator.racks.pool_kernel import compiled_pool
from emulator.racks.served import Served
from emulator.racks.serving_messages import (
    TALLIES,
    Followed,
    KeptRequests,
    ServingOrders,
    ServingReadings,
    ServingReport,
    joined,
    no_followed,
    no_kept_requests,
)
from emulator.racks.serving_pool import ServingPool
from emulator.racks.shard import RackSettings
from emulator.racks.step_tables import StepTables
from emulator.racks.vllm_counts import BINS, HISTOGRAMS
from topology.cluster import Cluster

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


class Serving:
    """The pools of a shard, made as orders name them. Pool p is of service ``p // units``."""

    def __init__(self, services: Sequence[Served], units: int, seed: int) -> None:
        self._services, self._units, self._seed = services, units, seed
        self._pools: dict[int, ServingPool] = {}
        self._tables: dict[int, StepTables] = {}  # by service

    def _pool(self, number: int) -> ServingPool:
        if number not in self._pools:
            service, unit = divmod(number, self._units)
            if service not in self._tables:
                self._tables[service] = StepTables(self._services[service].steps)
            self._pools[number] = ServingPool(self._services[service], self._tables[service], self._seed, service, unit, number)
        return self._pools[number]

    def advance(self, until_ns: int, orders: ServingOrders) -> ServingReport:
        """Run to ``until_ns``, with orders up to then."""
        order = np.lexsort((orders.replica, orders.kind, orders.time_ns, orders.pool))
        columns = (orders.time_ns, orders.kind, orders.pool, orders.replica, orders.value, orders.more, orders.low, orders.high)
        for time_ns, kind, number, *what in zip(*(column[order].tolist() for column in columns), strict=True):
            pool = self._pool(number)
            pool.run(time_ns)
            pool.act(time_ns, kind, *what)
        for pool in self._in_turn():
            pool.run(until_ns)
        return self._report(until_ns)

    def _in_turn(self) -> list[ServingPool]:
        return [self._pools[number] for number in sorted(self._pools)]

    def _report(self, until_ns: int) -> ServingReport:
        pools = self._in_turn()
        loads = [pool.load() for pool in pools]
        counts = [pool.take_counts() for pool in pools]
        kept, followed = [pool.take_kept() for pool in pools], [pool.take_followed() for pool in pools]
        return ServingReport(
            until_ns=until_ns,
            pool=np.array([pool.number for pool in pools], np.int64),
            tallies=np.array([pool.take_tallies() for pool in pools], np.int64).reshape(-1, TALLIES),
            waiting=np.array([int(load.waiting.sum()) + pool.on_the_way() for pool, load in zip(pools, loads, strict=True)], np.int64),
            running=np.array([int(load.running.sum()) for load in loads], np.int64),
            moving_ps=np.array([pool.take_moving_ps() for pool in pools], np.int64),
            count_pool=_joined([np.full(len(one[0]), pool.number) for pool, one in zip(pools, counts, strict=True)]),
            count_of=_joined([one[0] for one in counts]).astype(np.int8),
            count_bin=_joined([one[1] for one in counts]),
            count=_joined([one[2] for one in counts]),
            replica=_joined([load.replica for load in loads]),
            replica_pool=_joined([np.full(len(load.replica), pool.number) for pool, load in zip(pools, loads, strict=True)]),
            busy_ps=_joined([load.busy_ps for load in loads]),
            multiply_ps=_joined([load.multiply_ps for load in loads]),
            crossed_ps=_joined([load.crossed_ps for load in loads]),
            kv_blocks=_joined([load.kv_blocks for load in loads]),
            drained=_joined([pool.take_drained() for pool in pools]),
            kept=joined(KeptRequests, [no_kept_requests(), *kept]),
            followed=joined(Followed, [no_followed(), *followed]),
        )

    def read(self, at_ns: int) -> ServingReadings:
        """The replicas as of the end of the last window. Changes nothing."""
        pools = self._in_turn()
        readings = [pool.read() for pool in pools]
        names = ("replica", "running", "waiting", "kv_blocks", "input_tokens", "output_tokens", "cached_tokens", "preemptions", "steps")
        return ServingReadings(
            at_ns=at_ns,
            pool=_joined([np.full(len(one.replica), pool.number) for pool, one in zip(pools, readings, strict=True)]),
            **{name: _joined([getattr(one, name) for one in readings]) for name in (*names, "finished")},
            counts=_joined([one.counts for one in readings]).reshape(-1, HISTOGRAMS, BINS),
            sums=_joined([one.sums for one in readings]).reshape(-1, HISTOGRAMS),
        )

    def snapshot(self) -> Arrays:
        """The whole state as arrays of its own; one made alike and restored from it goes on to the same bits."""
        state: Arrays = {"pools": np.array(sorted(self._pools), np.int64)}
        for number, pool in self._pools.items():
            state |= {f"{number}.{name}": array.copy() for name, array in pool.state().items()}
        return state

    def restore(self, arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]]) -> None:
        """Take the state of ``snapshot``."""
        self._pools = {}
        for number in arrays["pools"].tolist():
            start = f"{number}."
            self._pool(number).restore({name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)})


def serving_shards(cluster: Cluster, settings: RackSettings, shards: Iterable[int], seed: int) -> dict[int, Serving]:
    """Of these rack shards, by number; none where nothing serves."""
    if not settings.services:
        return {}
    compiled_pool()  # now, since it may take its time: nobody waits for an answer yet
    units = len(cluster.level(settings.pool_level))
    return {shard: Serving(settings.services, units, seed) for shard in shards}


def _joined(parts: Sequence[np.ndarray[Any, np.dtype[Any]]]) -> np.ndarray[Any, np.dtype[Any]]:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
