"""One pool of a service in its shard: its arrivals, the replicas that run them, and what is counted of both."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, bits, exponential, uniform
from emulator.power.clocks import FULL
from emulator.racks.latencies import BINS, PS_PER_NS, bin_of
from emulator.racks.pool import Pool
from emulator.racks.pool_layout import CACHED_TOKENS, COUNTS, NEVER_PS, NOT_YET, PREEMPTIONS, STEPS, TOKENS_IN, TOKENS_OUT
from emulator.racks.pool_records import EndedRequests, How, PoolReading, PoolRequests
from emulator.racks.served import Served
from emulator.racks.serving_messages import (
    LATENCIES,
    TALLIES,
    Followed,
    KeptRequests,
    Latency,
    Role,
    ServingOrder,
    Tally,
    joined,
    no_kept_requests,
)
from emulator.racks.split_pool import SplitPool
from emulator.racks.step_tables import StepTables
from emulator.racks.vllm_counts import VllmCounts
from emulator.racks.ways import Mix
from emulator.workload.requests import Arrivals, ClosedLoop
from emulator.workload.serving.costs import BLOCK_TOKENS

Int64 = NDArray[np.int64]

#: The zero of a pool's picoseconds moves on when they have become so many, some three days.
REBASE_PS = 2**58
#: Stands for all replicas of a pool that are gone, in what is read of it.
GONE = -1


class Load(NamedTuple):
    """The open replicas, in order of their numbers; the times are those since the last time that it was asked for."""

    replica: Int64
    running: Int64
    waiting: Int64
    kv_blocks: Int64
    busy_ps: Int64
    multiply_ps: Int64
    crossed_ps: Int64


class Reading(NamedTuple):
    """The open replicas, in order of their numbers, behind those that are gone (GONE); see ``ServingReadings``."""

    replica: Int64
    running: Int64
    waiting: Int64
    kv_blocks: Int64
    input_tokens: Int64
    output_tokens: Int64
    cached_tokens: Int64
    preemptions: Int64
    steps: Int64
    finished: Int64
    counts: Int64
    sums: Int64


#: What is read of a replica since it came up: columns of ``PoolReading`` and ``COUNTS``.
_SO_FAR = {"tokens_in": TOKENS_IN, "tokens_out": TOKENS_OUT, "cached_tokens": CACHED_TOKENS, "preemptions": PREEMPTIONS, "steps": STEPS}
_HOW = {
    How.FINISHED: Tally.FINISHED,
    How.REJECTED: Tally.REJECTED,
    How.TIMED_OUT: Tally.TIMED_OUT,
    How.CANCELLED: Tally.CANCELLED,
    How.LOST: Tally.LOST,
    How.TOO_LONG: Tally.TOO_LONG,
}
#: In a closed loop the requests of those who are no users of it are numbered from here on.
FIRST_OF_OTHERS = 1 << 31
#: Nobody waits longer than this, 6.7 days, to go away or to ask again: then there is room for all times in 2**60 ps.
LONGEST_WAIT_PS = 1 << 59


class ServingPool:
    """Pool ``number``, that of service ``service`` in unit ``unit``; ``tables`` are the service's.

    Times inside are picoseconds since ``_base_ns``.
    """

    def __init__(self, served: Served, tables: StepTables, seed: int, service: int, unit: int, number: int) -> None:
        self.number = number
        self._served, self._seed = served, seed
        settings = replace(served.pool, seed=seed, entity=number)
        self._arrivals: Arrivals | None = None
        self._loop: ClosedLoop | None = None
        self._pool: Pool | SplitPool
        if isinstance(served.source, ClosedLoop):
            self._loop = served.source
            self._pool = Pool(tables, served.limits, settings, asks=partial(self._asks, served.source, service, unit))
        else:
            self._arrivals = Arrivals(served.source, seed, service, unit)
            self._pool = (SplitPool if served.split else Pool)(tables, served.limits, settings)
        self._costs = tables.costs(FULL)
        self._longest = served.limits.blocks * BLOCK_TOKENS
        self._base_ns = self._now_ns = 0
        self._low = self._high = 0.0
        self._shift = 0  # a request in 2**_shift is kept
        self._mix = Mix()
        self._place: dict[int, int] = {}  # replica -> its place in the pool
        self._replica: dict[int, int] = {}  # the reverse
        self._next_number = 0 if self._loop is None else FIRST_OF_OTHERS
        self._told_asked = 0
        self._tallies = np.zeros(TALLIES, np.int64)
        self._counts = np.zeros((LATENCIES, BINS), np.int64)
        self._vllm, self._gone_vllm = VllmCounts(), VllmCounts(1)  # by place, and of the replicas that are gone
        self._gone_finished = 0
        self._finished = np.zeros(0, np.int64)
        self._told_ps = np.zeros((0, 3), np.int64)  # by place, what ``load`` has told
        self._told_moving = np.zeros(2, np.int64)  # the same of what moved: picoseconds and tokens
        self._drained: list[int] = []
        self._kept: list[KeptRequests] = []
        self._followed: dict[int, tuple[int, int, int, int]] = {}  # number -> generated, first, done (ns) and how, -1: not yet

    # -- time -----------------------------------------------------------------------------------------------------------------------

    def _ps(self, time_ns: int) -> int:
        return (time_ns - self._base_ns) * PS_PER_NS

    def _ns(self, time_ps: Int64) -> Int64:
        return np.where(time_ps == NOT_YET, -1, time_ps // PS_PER_NS + self._base_ns)

    def run(self, until_ns: int) -> None:
        """Everything that happens before ``until_ns``."""
        if until_ns <= self._now_ns:
            return
        self._give(until_ns)
        self._pool.advance(self._ps(until_ns))
        self._now_ns = until_ns
        if isinstance(self._pool, Pool):
            self._tallies[Tally.ARRIVED] += self._pool.asked - self._told_asked
            self._told_asked = self._pool.asked
        self._settle()
        if self._ps(until_ns) > REBASE_PS:
            self._pool.rebase(self._ps(until_ns))
            self._base_ns = until_ns

    def _give(self, until_ns: int) -> None:
        """Its part of the arrivals."""
        if self._arrivals is None:
            return
        came = self._arrivals.take(until_ns, self._low, self._high)
        count = len(came)
        if not count:
            return
        number = self._next_number + np.arange(count)
        self._next_number += count
        self._tallies[Tally.ARRIVED] += count
        way = self._mix.drawn(self._seed, self.number, number)
        self._tallies[Tally.REMOTE_REQUESTS] += int(self._served.ways.is_remote(way).sum())
        arrival_ps = (came.arrival_ns - self._base_ns) * PS_PER_NS
        requests = PoolRequests(
            number=number,
            arrival_ps=arrival_ps,
            prompt=came.prompt,
            output=came.output,
            priority=came.priority,
            cancel_ps=np.minimum(arrival_ps + self._patience_ps(number), NEVER_PS),
            hash_start=came.hash_start,
            hashes=came.hashes,
            tag=np.full(count, -1, np.int64),
            way=way,
        )
        long = came.prompt + came.output > self._longest
        if long.any():
            self._tallies[Tally.TOO_LONG] += int(long.sum())
            requests = _without(requests, long)
        self._pool.give(requests)

    def _asks(self, loop: ClosedLoop, service: int, unit: int, first: int, count: int) -> PoolRequests:
        """What its users ask from request ``first`` on."""
        number = first + np.arange(count)
        asked = loop.requests(self._seed, service, unit, number)
        return PoolRequests(
            number=number,
            arrival_ps=np.full(count, NEVER_PS),
            prompt=asked.prompt,
            output=asked.output,
            priority=asked.priority,
            cancel_ps=self._patience_ps(number),
            hash_start=np.zeros(count + 1, np.int64),
            hashes=np.zeros(0, np.int64),
            tag=np.full(count, -1),
            think_ps=np.minimum(asked.think_ns, LONGEST_WAIT_PS // PS_PER_NS) * PS_PER_NS,
        )

    def _patience_ps(self, number: Int64) -> Int64:
        """After how long the clients go away."""
        patience = self._served.patience
        if not patience.ratio:
            return np.full(len(number), NEVER_PS)
        goes = uniform(self._seed, Stream.REQUEST_PATIENCE, self.number, 2 * number) < patience.ratio
        after = exponential(self._seed, Stream.REQUEST_PATIENCE, self.number, 2 * number + 1) * patience.mean_seconds
        after_ns = np.rint(after * 1e9).astype(np.int64)
        return np.where(goes & (after_ns <= LONGEST_WAIT_PS // PS_PER_NS), after_ns * PS_PER_NS, NEVER_PS)

    # -- orders ---------------------------------------------------------------------------------------------------------------------

    def act(  # noqa: C901, PLR0912 - one case a kind
        self, at_ns: int, kind: int, replica: int, value: int, more: int, low: float, high: float
    ) -> None:
        """Take an order; the pool has been run up to then."""
        at_ps = self._ps(at_ns)
        match ServingOrder(kind):
            case ServingOrder.OPEN:
                self._open(replica, Role(value), at_ps)
            case ServingOrder.DRAIN:
                if replica in self._place:
                    self._pool.drain(self._place[replica], at_ps)
                    self._settle()  # it may have nothing to finish
            case ServingOrder.LOSE:
                if replica in self._place:
                    self._pool.lose(self._place[replica], at_ps)
                    self._count_ended()
                    self._close(replica)
            case ServingOrder.SHARE:
                self._low, self._high, self._shift = low, high, value
                if self._loop is not None and isinstance(self._pool, Pool):
                    self._pool.set_users(self._loop.users(low, high), at_ps)
            case ServingOrder.WAY:
                self._mix.tell(replica, value, high)
            case ServingOrder.ASK:
                self._ask(replica, at_ps, value, more, int(low))
            case ServingOrder.GO:
                self._pool.cancel(replica, at_ps)
            case ServingOrder.SPEED:
                if isinstance(self._pool, SplitPool):
                    self._pool.set_speed(at_ps, value, more)
            case ServingOrder.PACE:
                if replica in self._place:
                    self._pool.set_pace(self._place[replica], at_ps, value, more)

    def _open(self, replica: int, role: Role, at_ps: int) -> None:
        pool = self._pool
        place = pool.open(at_ps, answers=role == Role.DECODE) if isinstance(pool, SplitPool) else pool.open(at_ps)
        self._place[replica], self._replica[place] = place, replica
        more = place + 1 - len(self._finished)
        if more > 0:
            more = max(more, len(self._finished))
            self._vllm.grow(len(self._finished) + more)
            self._finished = np.concatenate([self._finished, np.zeros(more, np.int64)])
            self._told_ps = np.concatenate([self._told_ps, np.zeros((more, 3), np.int64)])
        self._vllm.clear(place)
        self._finished[place], self._told_ps[place] = 0, 0

    def _close(self, replica: int) -> None:
        place = self._place.pop(replica)
        del self._replica[place]
        self._gone_finished += int(self._finished[place])
        self._vllm.move(place, self._gone_vllm)

    def _ask(self, tag: int, at_ps: int, prompt: int, output: int, priority: int) -> None:
        """A request that somebody follows, under the number ``tag``."""
        self._tallies[Tally.ARRIVED] += 1
        if prompt + output > self._longest:
            self._tallies[Tally.TOO_LONG] += 1
            self._followed[tag] = 0, -1, self._now_ns, How.TOO_LONG
            return
        self._followed[tag] = 0, -1, -1, -1
        lengths = np.array([prompt]), np.array([output])
        one = PoolRequests.of(np.array([at_ps]), *lengths, first=self._next_number)
        self._next_number += 1
        self._pool.give(replace(one, tag=np.array([tag]), priority=np.array([priority])))

    # -- what became of the requests ------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._count_ended()
        for place in self._pool.drained():
            replica = self._replica[place]
            self._drained.append(replica)
            self._close(replica)

    def _count_ended(self) -> None:
        ended = self._pool.take_ended()
        if not len(ended.number):
            return
        tallies, served = self._tallies, self._served
        for how, tally in _HOW.items():
            tallies[tally] += int((ended.how == how).sum())
        tallies[Tally.RETRIED] += int(ended.tries.sum()) - len(ended.tries)
        done = ended.how == How.FINISHED
        tallies[Tally.WASTED_TOKENS] += int(ended.generated[~done].sum())
        place, output = ended.place[done], ended.output[done]
        tallies[Tally.INPUT_TOKENS] += int(ended.prompt[done].sum())
        tallies[Tally.CACHED_TOKENS] += int(ended.cached[done].sum())
        tallies[Tally.OUTPUT_TOKENS] += int(output.sum())
        arrival, begun, first, last = (getattr(ended, name)[done] for name in ("arrival_ps", "begun_ps", "first_ps", "done_ps"))
        engine_ps = served.engine_delay_ps(self._costs, ended.prompt - ended.cached)
        delay_ps = engine_ps + served.ways.round_trip(ended.way)
        answered = served.answered(arrival, first, last, output, delay_ps[done])
        tallies[Tally.GOOD] += int(answered.good.sum())
        tallies[Tally.GOOD_TOKENS] += int(output[answered.good].sum())
        np.add.at(self._finished, place, 1)
        for latency, times_ps, counted in (
            (Latency.TTFT, answered.ttft_ps, slice(None)),
            (Latency.TPOT, answered.tpot_ps, output > 1),
            (Latency.E2E, answered.e2e_ps, slice(None)),
        ):
            self._counts[latency] += np.bincount(bin_of(times_ps[counted]), minlength=BINS)
        self._vllm.add(place, arrival, begun, first, last, prompt=ended.prompt[done], output=output, later_ps=engine_ps[done])
        self._keep(ended, delay_ps)
        self._note_followed(ended)

    def _keep(self, ended: EndedRequests, delay_ps: Int64) -> None:
        kept = ended.how != How.TOO_LONG
        if self._shift:
            kept &= bits(self._seed, Stream.REQUEST_KEPT, self.number, ended.number) >> np.uint64(64 - self._shift) == 0
        rows = np.flatnonzero(kept)
        replica = np.array([self._replica.get(place, -1) for place in ended.place[rows].tolist()], np.int64)
        self._kept.append(
            KeptRequests(
                pool=np.full(len(rows), self.number, np.int64),
                number=ended.number[rows],
                arrival_ns=self._ns(ended.arrival_ps[rows]),
                first_ns=self._ns(ended.first_ps[rows]),
                done_ns=self._ns(ended.done_ps[rows]),
                prompt=ended.prompt[rows],
                output=ended.output[rows],
                cached=ended.cached[rows],
                tries=ended.tries[rows],
                replica=replica,
                priority=ended.priority[rows],
                entry=self._served.ways.entry(ended.way[rows]),
                delay_ns=delay_ps[rows] // PS_PER_NS,
                how=ended.how[rows].astype(np.int8),
            )
        )

    def _note_followed(self, ended: EndedRequests) -> None:
        rows = np.flatnonzero(ended.tag >= 0)
        first_ns, done_ns = self._ns(ended.first_ps[rows]), self._ns(ended.done_ps[rows])
        columns = (ended.tag[rows], ended.generated[rows], first_ns, done_ns, ended.how[rows])
        for tag, *told in zip(*(column.tolist() for column in columns), strict=True):
            self._followed[tag] = told[0], told[1], told[2], told[3]

    # -- reports --------------------------------------------------------------------------------------------------------------------

    def take_tallies(self) -> Int64:
        """By ``Tally``, since it was last asked for."""
        if isinstance(self._pool, SplitPool):
            self._tallies[Tally.MOVED_TOKENS] += self._pool.moved_tokens - self._told_moving[1]
            self._told_moving[1] = self._pool.moved_tokens
        taken, self._tallies = self._tallies, np.zeros(TALLIES, np.int64)
        return taken

    def take_counts(self) -> tuple[Int64, Int64, Int64]:
        """Those that are not 0 since it was last asked for: their ``Latency``, their bin, and how many."""
        of, bins = np.nonzero(self._counts)
        taken = self._counts[of, bins]
        self._counts[:] = 0
        return of, bins, taken

    def on_the_way(self) -> int:
        """Requests between two replicas."""
        return self._pool.on_the_way() if isinstance(self._pool, SplitPool) else 0

    def take_moving_ps(self) -> int:
        """How long keys and values were on their way, since it was last asked for."""
        if not isinstance(self._pool, SplitPool):
            return 0
        so_far, told = self._pool.busy_ps(), int(self._told_moving[0])
        self._told_moving[0] = so_far
        return so_far - told

    def take_drained(self) -> Int64:
        """Replicas that have finished what they had, since it was last asked for."""
        taken, self._drained = self._drained, []
        return np.array(taken, np.int64)

    def take_kept(self) -> KeptRequests:
        """The sample of those that ended since it was last asked for."""
        parts, self._kept = self._kept, []
        return joined(KeptRequests, [no_kept_requests(), *parts])

    def take_followed(self) -> Followed:
        """The requests that somebody follows; those that have ended are told once."""
        under_way = [tag for tag, told in self._followed.items() if told[3] < 0]
        generated = self._pool.progress(np.array(under_way, np.int64)).tolist()
        self._followed |= {tag: (max(0, tokens), -1, -1, -1) for tag, tokens in zip(under_way, generated, strict=True)}
        rows = np.array([(tag, *told) for tag, told in sorted(self._followed.items())], np.int64).reshape(-1, 5)
        self._followed = {tag: told for tag, told in self._followed.items() if told[3] < 0}
        columns = [rows[:, place].copy() for place in range(4)]
        return Followed(columns[0], columns[1], columns[2], columns[3], rows[:, 4].astype(np.int8))

    def load(self) -> Load:
        """How busy the replicas are, and were since it was last asked for."""
        replica, places, rows, read = self._ordered()
        times = np.stack([read.busy_ps[rows], read.compute_ps[rows], read.crossed_ps[rows]], axis=1)
        since = times - self._told_ps[places]
        self._told_ps[places] = times
        return Load(replica, read.running[rows], read.waiting[rows], read.blocks[rows], *since.T)

    def read(self) -> Reading:
        """The replicas as they are. Changes nothing."""
        replica, places, rows, read = self._ordered()
        now = [column[rows] for column in (read.running, read.waiting, read.blocks)]
        so_far = [getattr(read, name)[rows] for name in _SO_FAR]
        columns = (replica, *now, *so_far, self._finished[places], self._vllm.counts[places], self._vllm.sums[places])
        counts_of_gone = dict(zip(COUNTS, self._pool.counts_of_gone.tolist(), strict=True))
        counted = [counts_of_gone[column] for column in _SO_FAR.values()]
        gone = (GONE, 0, 0, 0, *counted, self._gone_finished, self._gone_vllm.counts[0], self._gone_vllm.sums[0])
        return Reading(*(np.concatenate([[first], column]) for first, column in zip(gone, columns, strict=True)))

    def _ordered(self) -> tuple[Int64, Int64, Int64, PoolReading]:
        """The open replicas in order of their numbers, their places, and their rows in what the pool reads."""
        read = self._pool.read(self._ps(self._now_ns))
        replica = np.array([self._replica[place] for place in read.place.tolist()], np.int64)
        rows = np.argsort(replica, kind="stable")
        return replica[rows], read.place[rows], rows, read

    # -- snapshots ------------------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        """The whole of it as arrays, by name; ``restore`` takes it."""
        own = {
            "own.numbers": np.array([self._base_ns, self._now_ns, self._shift, self._next_number, self._told_asked], np.int64),
            "own.share": np.array([self._low, self._high], np.float64),
            "own.ways": self._mix.ways,
            "own.below": self._mix.below,
            "own.replica": np.array(list(self._place), np.int64),
            "own.place": np.array(list(self._place.values()), np.int64),
            "own.tallies": self._tallies,
            "own.counts": self._counts,
            "own.vllm": self._vllm.counts,
            "own.sums": self._vllm.sums,
            "own.gone_vllm": self._gone_vllm.counts,
            "own.gone_sums": self._gone_vllm.sums,
            "own.gone_finished": np.array([self._gone_finished], np.int64),
            "own.finished": self._finished,
            "own.told_ps": self._told_ps,
            "own.told_moving": self._told_moving,
            "own.drained": np.array(self._drained, np.int64),
            "own.followed": np.array([(tag, *told) for tag, told in self._followed.items()], np.int64).reshape(-1, 5),
        }
        kept = self.take_kept()
        self._kept = [kept]
        own |= {f"kept.{name}": getattr(kept, name) for name in KeptRequests.__dataclass_fields__}
        own |= {f"pool.{name}": array for name, array in self._pool.state().items()}
        arrivals = {} if self._arrivals is None else self._arrivals.state()
        return own | {f"arrivals.{name}": array for name, array in arrivals.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take the state of ``state``."""
        self._base_ns, self._now_ns, self._shift, self._next_number, self._told_asked = state["own.numbers"].tolist()
        self._low, self._high = state["own.share"].tolist()
        self._mix = Mix(state["own.ways"].copy(), state["own.below"].copy())
        self._place = dict(zip(state["own.replica"].tolist(), state["own.place"].tolist(), strict=True))
        self._replica = {place: replica for replica, place in self._place.items()}
        self._tallies, self._counts = (state[f"own.{name}"].copy() for name in ("tallies", "counts"))
        self._vllm.counts, self._vllm.sums = (state[f"own.{name}"].copy() for name in ("vllm", "sums"))
        self._gone_vllm.counts, self._gone_vllm.sums = (state[f"own.gone_{name}"].copy() for name in ("vllm", "sums"))
        self._finished, self._told_ps = (state[f"own.{name}"].copy() for name in ("finished", "told_ps"))
        self._gone_finished = int(state["own.gone_finished"][0])
        self._told_moving = state["own.told_moving"].copy()
        self._drained = state["own.drained"].tolist()
        self._followed = {row[0]: (row[1], row[2], row[3], row[4]) for row in state["own.followed"].tolist()}
        self._kept = [KeptRequests(**{name: state[f"kept.{name}"].copy() for name in KeptRequests.__dataclass_fields__})]
        self._pool.restore(_part(state, "pool."))
        if self._arrivals is not None:
            self._arrivals.restore(_part(state, "arrivals."))


def _part(state: Mapping[str, NDArray[Any]], start: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(start): array for name, array in state.items() if name.startswith(start)}


def _without(requests: PoolRequests, out: NDArray[np.bool_]) -> PoolRequests:
    """Those that are not ``out``."""
    stays, lengths = ~out, np.diff(requests.hash_start)
    hash_start = np.concatenate([[0], np.cumsum(lengths[stays])]).astype(np.int64)
    names = [name for name in PoolRequests.__dataclass_fields__ if name not in {"hash_start", "hashes", "ready", "think_ps"}]
    columns = {name: getattr(requests, name)[stays] for name in names}
    return PoolRequests(**columns, hash_start=hash_start, hashes=requests.hashes[np.repeat(stays, lengths)])
