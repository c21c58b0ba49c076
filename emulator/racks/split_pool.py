"""A pool whose replicas either compute prompts or answer: disaggregated serving (Zhong et al., DistServe, OSDI 2024; NVIDIA Dynamo).

A request goes to a replica that computes its prompt and with it the first token. Then keys and values of the prompt go to a replica that
answers (``transfers``), which needs memory for them and nothing else. Two pools with a queue between them; the first never hears of the
second, so each runs a whole window at once.

Who loses the replica that answered it, or its keys and values on their way, has its prompt computed by the replica that answers.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.racks.pool import Pool
from emulator.racks.pool_layout import (
    L_ARRIVAL,
    L_BEGUN,
    L_CACHED,
    L_DONE,
    L_FIRST,
    L_GENERATED,
    L_HOW,
    L_NUMBER,
    L_OUTPUT,
    L_PLACE,
    L_PRIORITY,
    L_PROMPT,
    L_TAG,
    L_TRIES,
    L_WAY,
    LOG_COLUMNS,
    NEVER_PS,
    NONE,
    NOT_YET,
)
from emulator.racks.pool_records import EndedRequests, How, PoolReading, PoolRequests, PoolSettings, ReplicaLimits, Router
from emulator.racks.step_tables import StepTables
from emulator.racks.transfers import Transfers

Int64 = NDArray[np.int64]

# Columns of the requests that are under way, in order of their numbers. PLACE: where the prompt was computed, NONE: gone.
NUMBER, ARRIVAL, PROMPT, OUTPUT, PRIORITY, CANCEL, TAG, WAY, BEGUN, FIRST, CACHED, TRIES, PLACE, KNOWN_COLUMNS = range(14)
#: The pools' draws are not the same.
_OTHER_ENTITY = 1 << 40
_NAMES = tuple(EndedRequests.__dataclass_fields__)


class SplitPool:
    """As ``Pool``, but of two kinds of replicas. Places of those that compute prompts are even, of those that answer odd."""

    def __init__(self, tables: StepTables, limits: ReplicaLimits, settings: PoolSettings, *, compiled: bool = True) -> None:
        answers = replace(
            settings,
            router=Router.LEAST_OUTSTANDING if settings.router == Router.PREFIX_AWARE else settings.router,
            first_token_limit_ps=NEVER_PS,
            cache_block_tokens=0,
            unlimited_cache=False,
            entity=settings.entity | _OTHER_ENTITY,
        )
        self._settings = settings
        self._prefill = Pool(tables, limits, settings, compiled=compiled)
        self._decode = Pool(tables, limits, answers, compiled=compiled)
        self._transfers = Transfers()
        self._known = np.zeros((0, KNOWN_COLUMNS), np.int64)
        self._ended = np.zeros((0, LOG_COLUMNS), np.int64)
        self._joined = 0  # requests that have come to replicas that answer
        self.moved_tokens = 0  # whose keys and values have

    # -- replicas -----------------------------------------------------------------------------------------------------------------

    def open(self, at_ps: int, *, answers: bool) -> int:
        """A replica comes up; gives its place."""
        self.advance(at_ps)
        return 2 * self._decode.open(at_ps) + 1 if answers else 2 * self._prefill.open(at_ps)

    def drain(self, place: int, at_ps: int) -> None:
        """A replica takes no new requests, and finishes those that it has."""
        self.advance(at_ps)
        self._of(place).drain(place // 2, at_ps)

    def lose(self, place: int, at_ps: int) -> None:
        """A replica is gone at once, with its requests and the keys and values that have not left it."""
        self.advance(at_ps)
        self._of(place).lose(place // 2, at_ps)
        if place % 2:
            return
        self._hand_over(at_ps)
        gone = self._transfers.drop(at_ps, self._known[self._known[:, PLACE] == place, NUMBER])
        rows = self._rows(gone)
        over = self._known[rows, TRIES] > self._settings.retries
        self._end(rows[over], at_ps, How.LOST)
        self._known[rows[~over], TRIES] += 1
        self._transfers.add_late(at_ps + self._settings.retry_after_ps, self._known[rows[~over], NUMBER])
        self._forget(rows[over])

    def drained(self) -> list[int]:
        """Places that were draining and are empty now; they are closed with this."""
        prefill = [2 * place for place in self._prefill.drained()]
        for place in prefill:  # the next replica there has nothing to do with what is still on its way
            self._known[self._known[:, PLACE] == place, PLACE] = NONE
        return sorted(prefill + [2 * place + 1 for place in self._decode.drained()])

    def set_speed(self, at_ps: int, token_ps: int, ways: int) -> None:
        """How fast keys and values move from now on (``Transfers.set_speed``)."""
        self.advance(at_ps)
        self._transfers.set_speed(at_ps, token_ps, ways)

    def set_pace(self, place: int, at_ps: int, clock: int, token_ps: int) -> None:
        """As ``Pool.set_pace``."""
        self.advance(at_ps)
        self._of(place).set_pace(place // 2, at_ps, clock, token_ps)

    def _of(self, place: int) -> Pool:
        return self._decode if place % 2 else self._prefill

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def give(self, requests: PoolRequests) -> None:
        """Requests to come, as ``Pool.give``."""
        count = len(requests.number)
        rows = np.zeros((count, KNOWN_COLUMNS), np.int64)
        columns = (
            requests.number,
            requests.arrival_ps,
            requests.prompt,
            requests.output,
            requests.priority,
            requests.cancel_ps,
            requests.tag,
            NONE if requests.way is None else requests.way,
        )
        for column, values in enumerate(columns):
            rows[:, column] = values
        rows[:, FIRST], rows[:, BEGUN], rows[:, PLACE] = NOT_YET, NOT_YET, NONE
        self._prefill.give(replace(requests, output=np.ones(count, np.int64)))
        self._known = np.concatenate((self._known, rows))

    def advance(self, until_ps: int) -> None:
        """Everything that happens before ``until_ps``."""
        self._prefill.advance(until_ps)
        self._hand_over(until_ps)
        self._decode.advance(until_ps)

    def _hand_over(self, until_ps: int) -> None:
        """Prompts that are computed go on their way, and what arrives before ``until_ps`` goes to those who answer."""
        ended = self._prefill.take_ended()
        rows = self._rows(ended.number)
        goes = (ended.how == How.FINISHED) & (self._known[rows, OUTPUT] > 1)
        if len(rows):
            stays, going = self._log(ended), rows[goes]
            stays[:, L_PLACE] = np.where(ended.place == NONE, NONE, 2 * ended.place)
            stays[:, L_OUTPUT] = self._known[rows, OUTPUT]
            self._known[going, FIRST], self._known[going, CACHED] = ended.done_ps[goes], ended.cached[goes]
            self._known[going, TRIES], self._known[going, PLACE] = ended.tries[goes], 2 * ended.place[goes]
            self._known[going, BEGUN] = ended.begun_ps[goes]
            self._transfers.add(ended.done_ps[goes], ended.number[goes], ended.prompt[goes])
            self._ended = np.concatenate((self._ended, stays[~goes]))
            self._forget(rows[~goes])
        came = self._transfers.arrived(until_ps)
        count = len(came.number)
        if not count:
            return
        known = self._known[self._rows(came.number)]
        self._decode.give(
            PoolRequests(
                number=self._joined + np.arange(count),
                arrival_ps=came.at_ps,
                prompt=known[:, PROMPT] + 1,  # the first token is one of those that the next one is made from
                output=known[:, OUTPUT] - 1,
                priority=known[:, PRIORITY],
                cancel_ps=known[:, CANCEL],
                hash_start=np.zeros(count + 1, np.int64),
                hashes=np.zeros(0, np.int64),
                tag=came.number,
                ready=known[:, PROMPT] * came.whole,
            )
        )
        self._joined += count
        self.moved_tokens += int((known[:, PROMPT] * came.whole).sum())

    def cancel(self, tag: int, at_ps: int) -> None:
        """The client of the request with this tag goes away; on its way between replicas it is gone when it arrives."""
        self.advance(at_ps)
        self._prefill.cancel(tag, at_ps)
        rows = np.flatnonzero(self._known[:, TAG] == tag)
        self._known[rows, CANCEL] = np.minimum(self._known[rows, CANCEL], at_ps)
        for number in self._known[rows, NUMBER].tolist():
            self._decode.cancel(number, at_ps)

    def take_ended(self) -> EndedRequests:
        """The requests that ended since they were last taken."""
        ended = self._decode.take_ended()
        rows = self._rows(np.sort(ended.tag))
        known = self._known[self._rows(ended.tag)]
        log = self._log(ended)
        for column, values in (
            (L_NUMBER, known[:, NUMBER]),
            (L_ARRIVAL, known[:, ARRIVAL]),
            (L_FIRST, known[:, FIRST]),
            (L_PROMPT, known[:, PROMPT]),
            (L_OUTPUT, known[:, OUTPUT]),
            (L_GENERATED, ended.generated + 1),
            (L_CACHED, known[:, CACHED]),
            (L_TRIES, known[:, TRIES] + ended.tries - 1),
            (L_PLACE, np.where(ended.place == NONE, NONE, 2 * ended.place + 1)),
            (L_TAG, known[:, TAG]),
            (L_WAY, known[:, WAY]),
            (L_BEGUN, known[:, BEGUN]),
        ):
            log[:, column] = values
        self._forget(rows)
        taken = EndedRequests.from_rows(np.concatenate((self._ended, log)))
        self._ended = self._ended[:0]
        return taken

    def _rows(self, number: Int64) -> Int64:
        """Of requests that are under way."""
        return np.searchsorted(self._known[:, NUMBER], number)

    def _forget(self, rows: Int64) -> None:
        stays = np.ones(len(self._known), np.bool_)
        stays[rows] = False
        self._known = self._known[stays]

    def _log(self, ended: EndedRequests) -> Int64:
        return np.stack([getattr(ended, name) for name in _NAMES], axis=1)

    def _end(self, rows: Int64, at_ps: int, how: How) -> None:
        """Requests end on their way between replicas."""
        known = self._known[rows]
        log = np.zeros((len(rows), LOG_COLUMNS), np.int64)
        for column, of in (
            (L_NUMBER, NUMBER),
            (L_ARRIVAL, ARRIVAL),
            (L_FIRST, FIRST),
            (L_PROMPT, PROMPT),
            (L_OUTPUT, OUTPUT),
            (L_CACHED, CACHED),
            (L_TRIES, TRIES),
            (L_PLACE, PLACE),
            (L_TAG, TAG),
            (L_WAY, WAY),
            (L_BEGUN, BEGUN),
            (L_PRIORITY, PRIORITY),
        ):
            log[:, column] = known[:, of]
        log[:, L_DONE], log[:, L_GENERATED], log[:, L_HOW] = at_ps, 1, how
        self._ended = np.concatenate((self._ended, log))

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def read(self, at_ps: int) -> PoolReading:
        """How the replicas are at a time, behind everything that happens before it."""
        self.advance(at_ps)
        prefill, decode = self._prefill.read(at_ps), self._decode.read(at_ps)
        columns = {name: np.concatenate((getattr(prefill, name), getattr(decode, name))) for name in PoolReading.__dataclass_fields__}
        return PoolReading(**columns | {"place": np.concatenate((2 * prefill.place, 2 * decode.place + 1))})

    def on_the_way(self) -> int:
        """Requests between two replicas."""
        return len(self._transfers)

    def busy_ps(self) -> int:
        """How long keys and values have moved, or waited for a way, so far."""
        return self._transfers.busy_ps(self._prefill.now_ps)

    def progress(self, tags: Int64) -> Int64:
        """As ``Pool.progress``."""
        if not len(tags):
            return np.zeros(0, np.int64)
        number = dict(zip(self._known[:, TAG].tolist(), self._known[:, NUMBER].tolist(), strict=True))
        at_first = self._prefill.progress(tags)
        then = self._decode.progress(np.array([number.get(tag, NONE) for tag in tags.tolist()], np.int64))
        there = np.array([tag in number for tag in tags.tolist()])
        return np.where(then >= 0, then + 1, np.where(at_first >= 0, at_first, np.where(there, 1, -1)))

    @property
    def counts_of_gone(self) -> Int64:
        """As ``Pool.counts_of_gone``."""
        return self._prefill.counts_of_gone + self._decode.counts_of_gone

    # -- state --------------------------------------------------------------------------------------------------------------------

    def rebase(self, by_ps: int) -> None:
        """The zero of time moves on, at most to the time advanced to."""
        for part in (self._prefill, self._decode, self._transfers):
            part.rebase(by_ps)
        for table, columns in ((self._known, (ARRIVAL, CANCEL, BEGUN, FIRST)), (self._ended, (L_ARRIVAL, L_BEGUN, L_FIRST, L_DONE))):
            for column in columns:
                times = table[:, column]
                times[(times != NEVER_PS) & (times != NOT_YET)] -= by_ps

    def state(self) -> dict[str, NDArray[Any]]:
        """The whole of it as arrays, by name."""
        own = {"known": self._known.copy(), "ended": self._ended.copy(), "numbers": np.array([self._joined, self.moved_tokens], np.int64)}
        parts = {"prefill": self._prefill.state(), "decode": self._decode.state(), "transfers": self._transfers.state()}
        return own | {f"{part}.{name}": array for part, state in parts.items() for name, array in state.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a ``state``."""
        self._known, self._ended = state["known"].copy(), state["ended"].copy()
        self._joined, self.moved_tokens = state["numbers"].tolist()
        for name, part in (("prefill", self._prefill), ("decode", self._decode), ("transfers", self._transfers)):
            start = f"{name}."
            part.restore({key.removeprefix(start): array for key, array in state.items() if key.startswith(start)})
