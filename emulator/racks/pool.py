"""A pool: the replicas of one service that share a router, and the requests that they serve, one by one.

The arithmetic is in ``pool_steps`` and what it calls. Here its tables are made, filled, read, and made larger.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emulator.draws import Stream, bits
from emulator.power.clocks import FULL
from emulator.racks import pool_layout as at
from emulator.racks.pool_batch import steps_ended
from emulator.racks.pool_ends import cut, may_leave
from emulator.racks.pool_kernel import compiled_pool
from emulator.racks.pool_layout import LATEST_PS, NEVER_PS, NONE, NOT_YET
from emulator.racks.pool_reading import reading
from emulator.racks.pool_records import DoesNotFit, EndedRequests, PoolReading, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.racks.pool_routes import weigh
from emulator.racks.pool_run import run_pool
from emulator.racks.step_tables import StepTables
from emulator.workload.serving.costs import BLOCK_TOKENS

Int64 = NDArray[np.int64]

#: Room at first for places, requests under way, and requests that ended.
FIRST_PLACES, FIRST_SLOTS, FIRST_LOG = 4, 64, 256
#: So many requests of users are asked for at a time.
MOST_ASKS = 1024
#: Gives at most so many requests of users, from this number on (``PoolRequests``), and the same whenever it is called; none: they stop.
Asks = Callable[[int, int], PoolRequests]


def asks_of(prompt: Int64, output: Int64) -> Asks:
    """So many requests, one after the other, of users who do not think."""

    def asks(first: int, count: int) -> PoolRequests:
        rows = slice(first, first + count)
        number = np.arange(len(prompt))[rows]
        return replace(PoolRequests.of(np.zeros(len(number), np.int64), prompt[rows], output[rows], first=first), think_ps=0 * number)

    return asks


class Pool:
    """Times are picoseconds, less than 2**60 of them (13 days) from a zero that ``rebase`` moves on.

    ``asks``: what users of a closed loop ask (``set_users``). ``compiled``: run as machine code, which changes no result.
    """

    def __init__(
        self, tables: StepTables, limits: ReplicaLimits, settings: PoolSettings, *, asks: Asks | None = None, compiled: bool = True
    ) -> None:
        costs = tables.costs(FULL)
        if len(costs.table_ps) != limits.tokens + 1:
            raise ValueError(
                f"a table of {len(costs.table_ps)} step times for a budget of {limits.tokens} tokens; allowed: one more than that"
            )
        if min(costs.base_ps, costs.decode_base_ps) < 1:
            raise ValueError(f"a step whose floor is {min(costs.base_ps, costs.decode_base_ps)} ps; allowed: 1 or more")
        if costs.width > limits.tokens:
            raise ValueError(f"{costs.width} tokens of each request in a step of {limits.tokens}; allowed: at most as many")
        for name, value in (("tokens", limits.tokens), ("seats", limits.seats), ("blocks", limits.blocks)):
            if value < 1:
                raise ValueError(f"a replica with {value} {name}; allowed: 1 or more")
        self.limits, self.settings, self._tables, self._asks = limits, settings, tables, asks
        self._run: Callable[..., int] = compiled_pool() if compiled else run_pool
        self._state = np.zeros(at.STATE_COLUMNS, np.int64)
        for column, value in {
            at.FREE_SLOT: NONE, at.LAST_PLACE: NONE, at.BUDGET: limits.tokens, at.BLOCKS: limits.blocks, at.WIDTH: costs.width,
            at.SEATS: limits.seats if costs.width == 1 else min(limits.seats, limits.tokens // costs.width),
            at.RESERVES: limits.reserves, at.ROUTER: settings.router, at.MOST_WAITING: settings.most_waiting,
            at.RETRIES: settings.retries, at.RETRY_AFTER: settings.retry_after_ps, at.FIRST_LIMIT: settings.first_token_limit_ps,
            at.WEIGHS: settings.router in (Router.LEAST_OUTSTANDING, Router.PREFIX_AWARE),
            at.CACHE_TOKENS: settings.cache_block_tokens, at.CACHE_BLOCKS: settings.cache_block_tokens // BLOCK_TOKENS,
            at.UNLIMITED: settings.unlimited_cache, at.FREE_PIECE: NONE, at.STRIDE: 1, at.ONLY: NONE, at.IMBALANCE: settings.imbalance,
        }.items():  # fmt: skip
            self._state[column] = value
        self._replica = np.zeros((0, at.REPLICA_COLUMNS), np.int64)
        self._seat = np.zeros((0, limits.seats, at.SEAT_COLUMNS), np.int64)
        self._due = np.zeros((0, at.QUEUE_COLUMNS), np.int64)
        self._opened, self._tree = np.zeros(0, np.int64), np.full(2, NEVER_PS, np.int64)
        self._slot = np.zeros((0, at.SLOT_COLUMNS), np.int64)
        self._leaving, self._again = (np.zeros((0, at.QUEUE_COLUMNS), np.int64) for _ in range(2))
        self._inbox, self._asked = (np.zeros((0, at.INBOX_COLUMNS), np.int64) for _ in range(2))
        self._log = np.zeros((FIRST_LOG + limits.seats, at.LOG_COLUMNS), np.int64)
        self._hashed = np.zeros((0, at.HASHED_COLUMNS), np.int64)
        self._piece, self._bucket = np.zeros((0, at.PIECE_COLUMNS), np.int64), np.full((1, 2), NONE, np.int64)
        self._counts_of_gone = np.zeros(len(at.COUNTS), np.int64)
        self.now_ps = 0
        self._more_places(FIRST_PLACES)
        self._more_slots(FIRST_SLOTS)

    # -- replicas -----------------------------------------------------------------------------------------------------------------

    def open(self, at_ps: int) -> int:
        """A replica comes up; gives its place, the lowest free one."""
        self._up_to(at_ps)
        free = np.flatnonzero(self._replica[:, at.STATUS] == at.SHUT)
        if not len(free):
            free = np.array([len(self._replica)])
            self._more_places(2 * len(self._replica))
        place = int(free[0])
        self._replica[place] = 0
        self._replica[place, at.STATUS] = at.OPEN
        self._replica[place, [at.PARTIAL, at.HEAD, at.TAIL, at.DUE_AT, at.OLDEST, at.NEWEST, at.GONE]] = NONE
        self._set_costs(place, FULL, 0)
        self._list_open()
        weigh(place, self._state, self._replica, self._tree)
        return place

    def set_pace(self, place: int, at_ps: int, clock: int, token_ps: int) -> None:
        """From its next step on a replica runs at this clock (``power.clocks``), and a token takes ``token_ps`` over the fabric."""
        self._check_place(place)
        self._up_to(at_ps)
        cut(place, at_ps, self._state, self._replica, self._due)
        self._set_costs(place, clock, token_ps)

    def _set_costs(self, place: int, clock: int, token_ps: int) -> None:
        costs = self._tables.costs(clock)
        columns = [at.BASE, at.DECODE_BASE, at.PER_RUNNING, at.KV, at.ATTENTION, at.CROSSING, at.DECODE_CROSSING, at.TABLE]
        values = (costs.base_ps, costs.decode_base_ps, costs.running_ps, costs.kv_ps, costs.attention_ps, *costs.crossing_ps(token_ps))
        self._replica[place, columns] = *values, at.TABLE_ROWS * clock

    def drain(self, place: int, at_ps: int) -> None:
        """A replica takes no new requests. Who waits there goes to others that have room; the rest finish there."""
        self._change(at.DRAIN, place, at_ps)

    def lose(self, place: int, at_ps: int) -> None:
        """A replica is gone at once, and its requests are lost; they come again where they may."""
        self._change(at.LOSE, place, at_ps)
        self._close(place)

    def drained(self) -> list[int]:
        """Places that were draining and are empty now; they are closed with this."""
        replica = self._replica
        done: list[int] = np.flatnonzero((replica[:, at.STATUS] == at.DRAINING) & (replica[:, at.OUTSTANDING] == 0)).tolist()
        for place in done:
            self._run_to(self.now_ps, at.LOSE, place)  # nothing is left there but a cache
            self._close(place)
        return done

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def give(self, requests: PoolRequests) -> None:
        """Requests to come, none earlier than those given before. Raises DoesNotFit, and ValueError for what is none of this."""
        self._check(requests)
        start = self._more_hashes(requests.hashes)
        left = self._inbox[self._state[at.COMING] :]
        rows = self._rows(requests)
        rows[:, at.IN_HASHES] = np.diff(requests.hash_start)
        rows[:, at.IN_HASHES_FROM] = start + requests.hash_start[:-1]
        self._inbox = np.concatenate((left, rows))
        self._state[at.COMING] = 0
        self._state[at.CANCELS] = np.any(self._inbox[:, at.IN_CANCEL] != NEVER_PS)

    def _rows(self, requests: PoolRequests) -> Int64:
        """As they stand in the inbox, but for their hashes."""
        rows = np.zeros((len(requests.number), at.INBOX_COLUMNS), np.int64)
        columns = (
            requests.number,
            requests.arrival_ps,
            requests.prompt,
            requests.output,
            requests.priority,
            requests.cancel_ps,
            requests.tag,
        )
        for column, values in enumerate(columns):
            rows[:, column] = values
        if self.settings.router == Router.POWER_OF_TWO:
            drawn = bits(self.settings.seed, Stream.ROUTE, np.full(len(rows), self.settings.entity), requests.number)
            rows[:, at.IN_DRAW] = (drawn >> np.uint64(2)).astype(np.int64)
        if requests.ready is not None:
            rows[:, at.IN_READY] = requests.ready
        rows[:, at.IN_WAY] = NONE if requests.way is None else requests.way
        rows[:, at.IN_THINK] = NONE if requests.think_ps is None else requests.think_ps
        return rows

    def set_users(self, count: int, at_ps: int) -> None:
        """So many users there are to be: more come, and ask at once; where there are too many, they stop when they would ask next."""
        self._up_to(at_ps)
        more = max(0, count - int(self._state[at.USERS_NOW]))
        if more > self._state[at.FREE_SLOTS]:
            self._more_slots(len(self._slot) + more)
        self._state[at.USERS_WANTED] = count
        self._run_to(at_ps, at.ENTER, more)

    @property
    def asked(self) -> int:
        """Requests that users have made."""
        return int(self._state[at.ASKED])

    def advance(self, until_ps: int) -> None:
        """Everything that happens before ``until_ps``."""
        self._run_to(4 * min(until_ps, LATEST_PS))
        self.now_ps = max(self.now_ps, min(until_ps, LATEST_PS))

    def take_ended(self) -> EndedRequests:
        """The requests that ended since they were last taken."""
        ended = EndedRequests.from_rows(self._log[: self._state[at.ENDED]])
        self._state[at.ENDED] = 0
        return ended

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def read(self, at_ps: int) -> PoolReading:
        """How the replicas are at a time, behind everything that happens before it."""
        self.advance(at_ps)
        return reading(self.now_ps, self._state, self._replica)

    @property
    def lost_tokens(self) -> int:
        """Tokens that were generated for requests which did not finish, or not in that try."""
        return int(self._state[at.LOST_TOKENS])

    @property
    def counts_of_gone(self) -> Int64:
        """The cumulative counts, in the order of PoolReading, of replicas that are closed or lost."""
        return self._counts_of_gone.copy()

    def progress(self, tags: Int64) -> Int64:
        """Tokens generated so far of the requests with these tags, at the time advanced to; -1: it is not under way."""
        slot, replica = self._slot, self._replica
        found = np.full(len(tags), -1, np.int64)
        rows = {int(slot[one, at.TAG]): int(one) for one in np.flatnonzero((slot[:, at.PHASE] != at.NOWHERE) & (slot[:, at.TAG] >= 0))}
        for row, tag in enumerate(tags.tolist()):
            one = rows.get(tag)
            if one is None:
                continue
            found[row] = slot[one, at.GENERATED]
            if slot[one, at.PHASE] == at.DECODING:
                place = int(slot[one, at.PLACE])
                step = int(replica[place, at.STEP])
                if replica[place, at.KIND] == at.DECODES:
                    step += steps_ended(self.now_ps, place, replica)
                found[row] = step - slot[one, at.OFFSET] + 1 - slot[one, at.PROMPT]
        return found

    def cancel(self, tag: int, at_ps: int) -> None:
        """The client of the request with this tag goes away, where it is under way."""
        self._up_to(at_ps)
        slot = self._slot
        for one in np.flatnonzero((slot[:, at.PHASE] != at.NOWHERE) & (slot[:, at.TAG] == tag)).tolist():
            slot[one, at.CANCEL] = at_ps
            may_leave(one, at_ps, self._state, slot, self._leaving)

    def next_ps(self) -> int:
        """When anything happens next if nothing more is given."""
        keys = [NEVER_PS]
        for queue, counter in ((self._due, at.DUE), (self._leaving, at.MAY_LEAVE), (self._again, at.RETRYING_NOW)):
            if self._state[counter]:
                keys.append(int(queue[0, at.KEY]) // 4)
        if self._state[at.COMING] < len(self._inbox):
            keys.append(int(self._inbox[self._state[at.COMING], at.IN_ARRIVAL]))
        return min(keys)

    # -- state --------------------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Int64]:
        """Everything that a pool of the same costs, limits and settings needs to go on."""
        kept = {name: getattr(self, f"_{name}").copy() for name in _TABLES}
        kept["inbox"] = kept["inbox"][self._state[at.COMING] :]
        kept["log"] = kept["log"][: self._state[at.ENDED]]
        kept["state"][at.COMING] = 0
        kept["state"][at.NEXT_ASK] = 0  # of none: they are asked for again
        kept["now_ps"] = np.array([self.now_ps], np.int64)
        return kept

    def restore(self, state: dict[str, Int64]) -> None:
        """Go on from a ``state``."""
        for name in _TABLES:
            setattr(self, f"_{name}", np.array(state[name], np.int64, order="C"))
        self._asked = self._asked[:0]
        self.now_ps = int(state["now_ps"][0])
        for row in np.unique(self._replica[self._replica[:, at.STATUS] != at.SHUT, at.TABLE]).tolist():
            self._tables.costs(row // at.TABLE_ROWS)  # so that they are in the table

    def rebase(self, by_ps: int) -> None:
        """The zero of time moves on, at most to the time advanced to."""
        if not 0 <= by_ps <= self.now_ps:
            raise ValueError(f"the zero of time is to move by {by_ps} ps at {self.now_ps} ps; allowed: 0 to {self.now_ps}")
        for queue, counter in ((self._due, at.DUE), (self._leaving, at.MAY_LEAVE), (self._again, at.RETRYING_NOW)):
            queue[: self._state[counter], at.KEY] -= 4 * by_ps
        self._replica[:, at.START] -= by_ps
        for table, columns in (
            (self._slot, (at.FIRST, at.BEGUN, at.ARRIVAL, at.FIRST_ARRIVAL, at.CANCEL)),
            (self._inbox, (at.IN_ARRIVAL, at.IN_CANCEL)),
            (self._log, (at.L_ARRIVAL, at.L_BEGUN, at.L_FIRST, at.L_DONE)),
        ):
            for column in columns:
                times = table[:, column]
                times[(times != NEVER_PS) & (times != NOT_YET)] -= by_ps
        self.now_ps -= by_ps

    # -- tables -------------------------------------------------------------------------------------------------------------------

    def _run_to(self, key: int, task: int = at.RUN, place: int = NONE) -> None:
        while True:
            answer = self._run(
                task, place, key, self._state, self._tables.rows, self._replica, self._slot, self._seat, self._inbox, self._asked,
                self._log, self._due, self._leaving, self._again, self._opened, self._tree, self._hashed, self._piece, self._bucket,
            )  # fmt: skip
            if answer == at.DONE:
                return
            if answer == at.NEEDS_SLOTS:
                self._more_slots(2 * len(self._slot))
            elif answer == at.NEEDS_PIECES:
                self._more_pieces(2 * len(self._piece) + FIRST_SLOTS)
            elif answer == at.NEEDS_ASKS:
                self._more_asks()
            else:
                self._more_log(2 * len(self._log) + self.limits.seats + FIRST_LOG)

    def _up_to(self, at_ps: int) -> None:
        """Everything before a time, and the steps that end at it: these come before what is done to replicas."""
        if at_ps < self.now_ps:
            raise ValueError(f"something is to happen to a replica at {at_ps} ps, and the pool is at {self.now_ps} ps")
        self._run_to(4 * at_ps + at.ENDS + 1)
        self.now_ps = at_ps

    def _check_place(self, place: int) -> None:
        if not 0 <= place < len(self._replica) or self._replica[place, at.STATUS] == at.SHUT:
            raise ValueError(f"there is no replica at place {place}")

    def _change(self, task: int, place: int, at_ps: int) -> None:
        self._check_place(place)
        self._up_to(at_ps)
        self._replica[place, at.STATUS] = at.DRAINING  # nothing is routed to it any more
        self._list_open()
        self._more_log(int(self._state[at.ENDED]) + len(self._slot))
        self._run_to(at_ps, task, place)

    def _close(self, place: int) -> None:
        self._counts_of_gone += self._replica[place, list(at.COUNTS)]

    def _list_open(self) -> None:
        opened = np.flatnonzero(self._replica[:, at.STATUS] == at.OPEN)
        self._opened[: len(opened)] = opened
        self._state[at.OPEN_PLACES] = len(opened)

    def _more_places(self, count: int) -> None:
        """Room for ``count`` places."""
        self._replica, self._seat, self._due = (_longer(table, count) for table in (self._replica, self._seat, self._due))
        self._opened = _longer(self._opened, count)
        leaves = 1 << (count - 1).bit_length()
        old = self._tree[len(self._tree) // 2 :]
        self._tree = np.full(2 * leaves, NEVER_PS, np.int64)
        self._tree[leaves : leaves + len(old)] = old
        for node in range(leaves - 1, 0, -1):
            self._tree[node] = min(self._tree[2 * node], self._tree[2 * node + 1])

    def _more_slots(self, count: int) -> None:
        """Room for ``count`` requests under way."""
        before = len(self._slot)
        self._slot, self._leaving, self._again = (_longer(table, count) for table in (self._slot, self._leaving, self._again))
        self._slot[before:, at.NEXT] = np.arange(before + 1, count + 1)
        self._slot[count - 1, at.NEXT] = self._state[at.FREE_SLOT]
        self._slot[before:, [at.LEAVES_AT, at.RETRY_AT]] = NONE
        self._state[at.FREE_SLOT] = before
        self._state[at.FREE_SLOTS] += count - before

    def _more_pieces(self, count: int) -> None:
        """Room for ``count`` pieces of prompts in caches."""
        before = len(self._piece)
        self._piece = _longer(self._piece, count)
        self._piece[before:, at.USERS] = at.UNUSED
        self._piece[before:, at.RIGHT] = np.arange(before + 1, count + 1)
        self._piece[count - 1, at.RIGHT] = self._state[at.FREE_PIECE]
        self._state[at.FREE_PIECE] = before
        self._state[at.FREE_PIECES] += count - before
        self._bucket = np.full((1 << count.bit_length(), 2), NONE, np.int64)
        self._run_to(0, at.LINK)

    def _more_asks(self) -> None:
        """What users ask next. Where there is nothing more, they stop."""
        more = None if self._asks is None else self._asks(int(self._state[at.ASKED]), MOST_ASKS)
        self._asked = self._asked[:0] if more is None else self._rows(more)
        self._state[at.NEXT_ASK] = 0
        if not len(self._asked):
            self._state[at.USERS_WANTED] = 0

    def _more_hashes(self, hashes: Int64) -> int:
        """Keep the hashes of requests to come; gives where they stand. Those of requests that have ended are forgotten at times."""
        slot, inbox = self._slot, self._inbox[self._state[at.COMING] :]
        here = np.flatnonzero((slot[:, at.PHASE] != at.NOWHERE) & (slot[:, at.HASHES] > 0))
        first = np.concatenate((slot[here, at.HASHES_FROM], inbox[:, at.IN_HASHES_FROM]))
        count = np.concatenate((slot[here, at.HASHES], inbox[:, at.IN_HASHES]))
        kept = int(count.sum())
        if 2 * kept < len(self._hashed):
            start = np.cumsum(count) - count
            self._hashed = self._hashed[np.repeat(first - start, count) + np.arange(kept)]
            slot[here, at.HASHES_FROM] = start[: len(here)]
            inbox[:, at.IN_HASHES_FROM] = start[len(here) :]
        new = np.stack((hashes, np.full(len(hashes), NONE)), axis=1)
        before = len(self._hashed)
        self._hashed = np.concatenate((self._hashed, new))
        return before

    def _more_log(self, count: int) -> None:
        """Room for ``count`` requests that ended."""
        if count > len(self._log):
            self._log = _longer(self._log, count)

    def _check(self, requests: PoolRequests) -> None:
        prompt, output, arrival_ps, number = requests.prompt, requests.output, requests.arrival_ps, requests.number
        if len(prompt) and (prompt.min() < 1 or output.min() < 1):
            raise ValueError("a request without a token of prompt or output; allowed: at least 1 of each")
        if requests.ready is not None and np.any((requests.ready < 0) | (requests.ready >= prompt)):
            raise ValueError("a request that comes with keys and values of its whole prompt; allowed: of all tokens but the last")
        last = self._inbox[-1:, [at.IN_ARRIVAL, at.IN_NUMBER]] if len(self._inbox) else np.zeros((0, 2), np.int64)
        arrivals = np.concatenate((last[:, 0], arrival_ps))
        if np.any(np.diff(arrivals) < 0) or (len(arrival_ps) and arrival_ps[0] < self.now_ps):
            raise ValueError("requests are to be in order of arrival")
        if np.any(np.diff(np.concatenate((last[:, 1], number))) <= 0):
            raise ValueError("the numbers of requests are to rise")
        if np.any(arrival_ps >= LATEST_PS):
            raise ValueError(
                f"a request that comes at {arrival_ps.max()} ps; allowed: less than {LATEST_PS}, for the zero of time moves on"
            )
        if self.settings.cache_block_tokens and np.any(np.diff(requests.hash_start) > prompt // self.settings.cache_block_tokens):
            raise ValueError("a request with more hashes than whole blocks of its prompt")
        cancel_ps = requests.cancel_ps
        if np.any((cancel_ps >= LATEST_PS) & (cancel_ps != NEVER_PS)):
            raise ValueError(
                f"a request whose client goes away at {cancel_ps.max()} ps; allowed: less than {LATEST_PS}, or {NEVER_PS}: never"
            )
        longest = int((prompt + output).max(initial=0))
        if longest > self.limits.blocks * BLOCK_TOKENS:
            raise DoesNotFit(f"a request of {longest:,} tokens; the KV memory holds {self.limits.blocks * BLOCK_TOKENS:,}")


_TABLES = (
    "state",
    "replica",
    "seat",
    "due",
    "opened",
    "tree",
    "slot",
    "leaving",
    "again",
    "inbox",
    "log",
    "hashed",
    "piece",
    "bucket",
    "counts_of_gone",
)


def _longer(table: Int64, count: int) -> Int64:
    longer = np.zeros((count, *table.shape[1:]), np.int64)
    longer[: len(table)] = table
    return longer
