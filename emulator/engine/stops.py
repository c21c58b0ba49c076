"""Jobs that stop before their work is done: cancelled, put out for others, or interrupted, and then restarted or in their queue again."""

from collections.abc import Sequence

from emulator.engine.chronicle import Chronicle
from emulator.engine.draining import Draining, Stop
from emulator.engine.ends import Ends
from emulator.engine.network import Network
from emulator.engine.power_caps import PowerCaps
from emulator.engine.restarting import Restarting
from emulator.engine.runs import Runs
from emulator.engine.settings import EngineSettings
from emulator.scheduler.scheduler import Scheduler
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from topology.describe import link_name


class Stops:
    """``draining`` has the jobs that are asked to stop, ``restarting`` those that keep their GPUs after a fault."""

    def __init__(
        self,
        scheduler: Scheduler,
        runs: Runs,
        network: Network,
        power: PowerCaps,
        *,
        draining: Draining,
        restarting: Restarting,
        ends: Ends,
        chronicle: Chronicle,
        settings: EngineSettings,
    ) -> None:
        self._scheduler, self._table, self._runs, self._network, self._power = scheduler, scheduler.table, runs, network, power
        self._draining, self._restarting, self._ends = draining, restarting, ends
        self._chronicle, self._settings = chronicle, settings

    def stop(self, slot: int, at_ns: int, *, loses: bool = False) -> None:
        """The job's run ends: give back its GPUs, its power and its flows, and account for the run. ``loses``: as ``Runs.halt``."""
        self._runs.halt(slot, at_ns, loses=loses)
        self._scheduler.release(slot, at_ns=at_ns)

    def cancel(self, slot: int, at_ns: int) -> None:
        """The job is taken out of the queue, or stopped where it runs; nothing happens to one that has ended."""
        state = self._table.state[slot]
        if state == State.PENDING:
            self._scheduler.cancel_pending(slot)
        elif state == State.RUNNING:
            self.stop(slot, at_ns)
        else:
            return
        self._chronicle.reasons.pop(slot, None)
        self._ends.end(slot, at_ns, State.CANCELLED)

    # -- for others -----------------------------------------------------------------------------------------------------------------

    def ask(self, slots: Sequence[int], at_ns: int, *, kill: bool = False) -> bool:
        """Ask jobs to stop, which may save before; False where they can as well be stopped at once."""
        if not self._draining.ask(slots, at_ns, kill=kill):
            return False
        self._chronicle.events += len(slots)
        for slot in slots:
            self._chronicle.changed(slot, at_ns)
        return True

    def drained(self, slot: int, at_ns: int) -> None:
        """A job that was asked to stop has saved what it did, or its time is over."""
        self.put_out(slot, at_ns, self._draining.take(slot))

    def put_out(self, slot: int, at_ns: int, stop: Stop) -> None:
        """A job that was in the way of others stops."""
        self.stop(slot, at_ns, loses=stop.loses)
        if stop.kill:
            self._chronicle.events += 1
            self._ends.end(slot, at_ns, State.FAILED)
        else:
            self.note_preemption(slot, at_ns)

    def note_preemption(self, slot: int, at_ns: int) -> None:
        """The job, which was stopped for others, waits again."""
        self._table.preemptions[slot] += 1
        self._chronicle.preemptions += 1
        self._chronicle.events += 1
        self._requeue(slot, at_ns)

    # -- interruptions --------------------------------------------------------------------------------------------------------------

    def give_up(self, slot: int, at_ns: int) -> None:
        """The job has waited for the network for as long as it may."""
        link = self._network.dead_link(slot)
        what = f"trunk {link_name(self._scheduler.ledger.cluster, link)} is down" if link >= 0 else "no bandwidth"
        self.interrupt(slot, at_ns, f"stalled for {self._settings.stall_timeout_ns / SECOND:g} s: {what}")

    def interrupt(self, slot: int, at_ns: int, reason: str, detection_ns: int = 0) -> None:
        """The job cannot go on. Once that is noticed it goes back to its last checkpoint, and into the queue again."""
        if self._runs.hangs(slot):
            return
        self._chronicle.reasons[slot] = reason
        if detection_ns:
            self._chronicle.events += 1
            self._runs.hang(slot, at_ns, at_ns + detection_ns)
            self._power.act_at_once(at_ns)
            self._chronicle.changed(slot, at_ns)
        else:
            self.stop_again(slot, at_ns)

    def stop_again(self, slot: int, at_ns: int) -> None:
        """The job was interrupted, which has been noticed."""
        self._table.restarts[slot] += 1
        self._chronicle.restarts += 1
        self._chronicle.events += 1
        if self._table.restarts[slot] > self._settings.max_restarts:
            self.stop(slot, at_ns, loses=True)
            self._ends.end(slot, at_ns, State.FAILED)
        elif not self._restarting.takes(slot, at_ns):
            self._give_back(slot, at_ns)

    def restart(self, at_ns: int) -> None:
        """Restart the jobs that have kept their GPUs after a fault, where that can be."""
        for slot, told, resized in self._restarting.run(at_ns):
            self._chronicle.events += 1
            self._chronicle.resizes += resized
            if told:
                self._chronicle.reasons[slot] = f"{told}, after {self._chronicle.reasons[slot]}"
                self._chronicle.changed(slot, at_ns)
            else:
                self._give_back(slot, at_ns)

    def _give_back(self, slot: int, at_ns: int) -> None:
        """The job was interrupted, and gives back its GPUs."""
        self.stop(slot, at_ns, loses=True)
        self._requeue(slot, at_ns, self._settings.requeue_backoff.until_ns(at_ns, self._table.restarts[slot]))

    # -- back in the queue ----------------------------------------------------------------------------------------------------------

    def _requeue(self, slot: int, at_ns: int, until_ns: int = 0) -> None:
        """The job, which was stopped, waits again; until ``until_ns``, where it is given, it is on hold."""
        self._scheduler.requeue(slot, until_ns)
        self._chronicle.changed(slot, at_ns)
        self.tell_back(slot, at_ns)

    def tell_back(self, slot: int, at_ns: int) -> None:
        """The job, which has run before, may be in its queue again."""
        inside, on_requeue = self._scheduler.reserved.inside, self._chronicle.on_requeue
        if on_requeue is not None and (slot not in self._table.on_hold or (inside is not None and slot in inside)):
            on_requeue(slot, at_ns)
