"""What jobs that finished took, and predictions of what others will take, for policies that ask."""

from collections import deque

from emulator.scheduler.table import ENDLESS, JobTable

#: By so much a prediction that was exceeded is raised, in turn: 1, 5, 15 and 30 minutes, then 1, 2, 5, 10, 20, 50 and 100 hours (Tsafrir,
#: Etsion and Feitelson, IEEE TPDS 2007, on the correction of predictions).
CORRECTIONS_NS = tuple(minutes * 60 * 10**9 for minutes in (1, 5, 15, 30, 60, 120, 300, 600, 1200, 3000, 6000))
#: So many jobs are remembered as a whole, the last ones.
SERVICES_KEPT = 1000


class History:
    """Of the jobs that finished since it was first asked for."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._last_ns: dict[int, tuple[int, ...]] = {}  # tenant -> run times of the last two, ns
        self.services_ms: deque[int] = deque(maxlen=SERVICES_KEPT)  # GPUs times run time

    def book(self, slot: int) -> None:
        """The job has finished. It took as long as it held its GPUs, in all its runs."""
        table = self._table
        run_ns = table.lives.run_ns[slot]
        self._last_ns[table.tenant[slot]] = (*self._last_ns.get(table.tenant[slot], ())[-1:], run_ns)
        self.services_ms.append(table.size_gpus[slot] * run_ns // 10**6)

    def prediction_ns(self, slot: int) -> int:
        """The mean of the last two run times of the job's tenant, at most its estimate; that, where there are none.

        Tsafrir, Etsion and Feitelson, "Backfilling using system-generated predictions rather than user runtime estimates" (IEEE TPDS 2007).
        """
        last = self._last_ns.get(self._table.tenant[slot])
        estimate_ns = self._table.estimate_ns[slot]
        return estimate_ns if last is None or estimate_ns == ENDLESS else max(1, min(estimate_ns, sum(last) // len(last)))


class Predictions:
    """Writes ``expected_ns`` of the table: a prediction when a job begins to wait, and a higher one when it runs for longer."""

    def __init__(self, table: JobTable, history: History) -> None:
        self._table, self._history = table, history
        self._corrected: dict[int, int] = {}  # slot -> how often

    def predict(self, slot: int) -> None:
        """The job begins to wait."""
        self._corrected.pop(slot, None)
        self._table.expected_ns[slot] = self._history.prediction_ns(slot)

    def correct(self, slot: int, ran_ns: int) -> bool:
        """Raise the prediction of a job that has run for ``ran_ns`` above that, up to the estimate. False where that is passed too."""
        table = self._table
        expected_ns, estimate_ns = table.expected_ns[slot], table.estimate_ns[slot]
        if expected_ns >= estimate_ns:
            return False
        step = self._corrected.get(slot, 0)
        while expected_ns <= ran_ns and expected_ns < estimate_ns:
            expected_ns = min(estimate_ns, expected_ns + CORRECTIONS_NS[step]) if step < len(CORRECTIONS_NS) else estimate_ns
            step += 1
        self._corrected[slot] = step
        table.expected_ns[slot] = expected_ns
        return True
