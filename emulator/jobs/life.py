"""What jobs that hold GPUs do, how their work goes on, and where their time went: closed forms of time, with one formula for each.

A run is from the start of a job to its end, interruption or preemption. It *starts* (containers, communicators, compiling; *restarts*,
where it has run before: its checkpoint is read as well), then it *works*, and stands still for *checkpoints* in between
(``jobs.saving``). It *stalls* where its network is gone. A fault takes it out of all of this: it is *detecting* until somebody has noticed
that it hangs, and *restarting* from then on where it keeps its GPUs. A job that is asked to stop may be *draining*: it saves what it did.
For want of power it is *paused*.
When anything happens is for others to say; nothing here looks at a clock.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from emulator.jobs.saving import Saving, slowed_ns


class Phase(IntEnum):
    """What a job does with its GPUs. Working is what is left of the time that it holds them."""

    WORKING = 0
    STARTING = 1
    RESTARTING = 2
    CHECKPOINT = 3
    STALLED = 4
    DETECTING = 5
    DRAINING = 6
    PAUSED = 7


#: The phases in which no work goes on.
IDLE_PHASES = (Phase.STARTING, Phase.RESTARTING, Phase.CHECKPOINT, Phase.STALLED, Phase.DETECTING, Phase.DRAINING, Phase.PAUSED)


#: The phases by which the GPUs of running jobs are counted. Checkpoints come and go without an event, and count as work.
COUNTED_PHASES = (Phase.WORKING, Phase.STARTING, Phase.RESTARTING, Phase.STALLED, Phase.DETECTING, Phase.DRAINING, Phase.PAUSED)


class Passage(NamedTuple):
    """What some time of a run was: its parts by phase, which add up to it, the full-speed work that was done, and what of the working time
    it took longer for than it would have at the full clock.
    """

    ahead_ns: int  # of starting or restarting
    still_ns: int  # stalled
    out_ns: int  # detecting, draining, or restarting where it was (``Lives.out``)
    checkpoint_ns: int
    working_ns: int
    work_ns: int
    power_wait_ns: int
    paused_ns: int


class Lives:
    """By slot of the job table, as lists. ``remaining_ns``, ``ahead_ns``, ``still_ns`` and ``saving`` are as of ``since_ns``.

    Work is measured by the time that it takes at full speed, which is 1. ``work_ns`` counts all that was done and ``lost_ns`` the part of
    it that had to be done again. The times of phases are of all runs of the job; ``run_ns`` is that of the runs that have ended.
    """

    def __init__(self) -> None:
        self.remaining_ns: list[int] = []
        self.since_ns: list[int] = []
        self.speed: list[float] = []
        self.run_ns: list[int] = []
        self.work_ns: list[int] = []
        self.lost_ns: list[int] = []
        self.power_wait_ns: list[int] = []  # of working time, what it took longer since the clock was lowered
        self.ahead_ns: list[int] = []  # of starting or restarting, still to come
        self.again: list[bool] = []  # whether that is a restart
        self.dynamic_energy: list[int] = []  # of all GPUs above idle, in milliwatt nanoseconds, as of ``since_ns``
        #: By phase, how long all runs were in it; there is none for working.
        self.spent_ns: dict[Phase, list[int]] = {phase: [] for phase in IDLE_PHASES}
        self._checkpoint_ns, self.paused_ns = self.spent_ns[Phase.CHECKPOINT], self.spent_ns[Phase.PAUSED]
        #: Slot -> how long it will still stand still for, of a job that a flap stopped.
        self.still_ns: dict[int, int] = {}
        #: Slot -> the phase of a run that is out of its work until somebody says otherwise: detecting, draining, or restarting, where it
        #: waits with its GPUs to be restarted.
        self.out: dict[int, Phase] = {}
        self.paused: set[int] = set()  # for want of power; one that is out is that first
        self.full_clock_speed: dict[int, float] = {}  # of runs whose clock is lowered
        self.saving: dict[int, Saving] = {}  # of runs that write checkpoints

    def extend(self, reused: Sequence[int], durations_ns: Sequence[int]) -> None:
        """Jobs with so much work: the first of them in the slots ``reused``, the others behind the last slot."""
        more = len(durations_ns) - len(reused)
        for slot, duration_ns in zip(reused, durations_ns, strict=False):
            self.remaining_ns[slot] = duration_ns
            self.since_ns[slot], self.speed[slot], self.again[slot] = 0, 1.0, False
            for column in self._times():
                column[slot] = 0
        self.remaining_ns += durations_ns[len(reused) :]
        self.since_ns += [0] * more
        self.speed += [1.0] * more
        self.again += [False] * more
        for column in self._times():
            column.extend([0] * more)

    def _times(self) -> list[list[int]]:
        """Columns of times that are 0 at first."""
        return [self.ahead_ns, self.dynamic_energy, *self._counted()]

    def _counted(self) -> list[list[int]]:
        """Columns in which the time that a job has held its GPUs is counted."""
        return [self.run_ns, self.work_ns, self.lost_ns, self.power_wait_ns, *self.spent_ns.values()]

    # -- a run ----------------------------------------------------------------------------------------------------------------------

    def start(self, slot: int, at_ns: int, ahead_ns: int, saving: Saving | None) -> None:
        """A run begins, with ``ahead_ns`` until it works."""
        self.since_ns[slot], self.speed[slot] = at_ns, 1.0
        self.ahead_ns[slot] = ahead_ns
        if saving is not None:
            self.saving[slot] = saving

    def stop(self, slot: int, held_ns: int) -> None:
        """A run of ``held_ns`` has ended; ``progress`` has been called for its end."""
        self.run_ns[slot] += held_ns
        self.ahead_ns[slot], self.again[slot] = 0, True
        self.still_ns.pop(slot, None)
        self.out.pop(slot, None)
        self.paused.discard(slot)
        self.full_clock_speed.pop(slot, None)
        self.saving.pop(slot, None)

    def network_speed(self, slot: int) -> float:
        """The speed that the network alone would leave the run."""
        return self.full_clock_speed.get(slot, self.speed[slot])

    def set_speed(self, slot: int, speed: float, full_clock_speed: float) -> None:
        """As of ``since_ns``; ``full_clock_speed``: what it would be if the clock were not lowered."""
        self.speed[slot] = speed
        if speed == full_clock_speed:
            self.full_clock_speed.pop(slot, None)
        else:
            self.full_clock_speed[slot] = full_clock_speed

    def phase(self, slot: int) -> Phase:
        """Of a job that holds GPUs, as of ``since_ns``."""
        if slot in self.out:
            return self.out[slot]
        if slot in self.paused:
            return Phase.PAUSED
        if self.ahead_ns[slot]:
            return Phase.RESTARTING if self.again[slot] else Phase.STARTING
        if self.speed[slot] == 0.0 or slot in self.still_ns:
            return Phase.STALLED
        return Phase.CHECKPOINT if slot in self.saving and self.saving[slot].writing_ns else Phase.WORKING

    def passage(self, slot: int, passed_ns: int) -> tuple[Passage, Saving | None]:
        """What ``passed_ns`` from ``since_ns`` on are, and the checkpoints as they are then. Changes nothing."""
        saving = self.saving.get(slot)
        if slot in self.out or slot in self.paused:
            if saving is not None:
                saving = saving.copy()
                saving.stand_still(passed_ns)
            out_ns, paused_ns = (passed_ns, 0) if slot in self.out else (0, passed_ns)
            return Passage(0, 0, out_ns, 0, 0, 0, 0, paused_ns), saving
        left_ns = passed_ns
        ahead_ns = min(left_ns, self.ahead_ns[slot])
        left_ns -= ahead_ns
        speed = self.speed[slot]
        still_ns = left_ns if speed == 0.0 else min(left_ns, self.still_ns.get(slot, 0))
        left_ns -= still_ns
        if saving is not None:
            saving = saving.copy()
            saving.stand_still(still_ns)
        work_ns, checkpoint_ns = self._worked(slot, left_ns, saving)
        working_ns = left_ns - checkpoint_ns
        waited_ns = self._power_wait_ns(slot, working_ns, work_ns)
        return Passage(ahead_ns, still_ns, 0, checkpoint_ns, working_ns, work_ns, waited_ns, 0), saving

    def _worked(self, slot: int, left_ns: int, saving: Saving | None) -> tuple[int, int]:
        """In ``left_ns`` in which nothing else holds it up, the work that is done and the time that checkpoints take; these go on."""
        speed = self.speed[slot]
        if saving is None or speed == 0.0:
            return left_ns if speed == 1.0 else int(left_ns * speed), 0
        return saving.passed(left_ns, self.remaining_ns[slot], speed)

    def _power_wait_ns(self, slot: int, working_ns: int, work_ns: int) -> int:
        """What ``work_ns`` took longer than at the full clock."""
        full = self.full_clock_speed.get(slot)
        return 0 if full is None else max(0, working_ns - slowed_ns(work_ns, full))

    def drain_ns(self, slot: int) -> int:
        """How long the run would take to have all that it did in storage; 0 where it could not save anything, or has nothing to save."""
        saving = self.saving.get(slot)
        return 0 if saving is None or slot in self.out or self.ahead_ns[slot] else saving.write_ns + saving.settle_ns

    def progress(self, slot: int, at_ns: int) -> int:
        """Bring a run to ``at_ns``. Returns how long it worked since it last was."""
        passed_ns = at_ns - self.since_ns[slot]
        self.since_ns[slot] = at_ns
        if not passed_ns:
            return 0
        if not self._is_held_up(slot):
            return self._work_on(slot, passed_ns)
        passage, saving = self.passage(slot, passed_ns)
        self.remaining_ns[slot] -= passage.work_ns
        self.work_ns[slot] += passage.work_ns
        self.power_wait_ns[slot] += passage.power_wait_ns
        for column, time_ns in zip(self.spent_ns.values(), self.idle_ns(slot, passage), strict=True):
            column[slot] += time_ns
        self.ahead_ns[slot] -= passage.ahead_ns
        if slot in self.still_ns:
            self.still_ns[slot] -= passage.still_ns
            if self.still_ns[slot] <= 0:
                del self.still_ns[slot]
        if saving is not None:
            self.saving[slot] = saving
        return passage.working_ns

    def _is_held_up(self, slot: int) -> bool:
        """Whether anything but checkpoints may keep the run from its work."""
        if self.ahead_ns[slot] or self.speed[slot] == 0.0:
            return True
        return slot in self.out or slot in self.paused or slot in self.still_ns

    def _work_on(self, slot: int, passed_ns: int) -> int:
        """``progress`` where nothing does."""
        work_ns, checkpoint_ns = self._worked(slot, passed_ns, self.saving.get(slot))
        working_ns = passed_ns - checkpoint_ns
        self.remaining_ns[slot] -= work_ns
        self.work_ns[slot] += work_ns
        self.power_wait_ns[slot] += self._power_wait_ns(slot, working_ns, work_ns)
        self._checkpoint_ns[slot] += checkpoint_ns
        return working_ns

    def idle_ns(self, slot: int, passage: Passage) -> tuple[int, ...]:
        """Of a passage of the job's run, the times of IDLE_PHASES."""
        starting, restarting = (0, passage.ahead_ns) if self.again[slot] else (passage.ahead_ns, 0)
        if not passage.out_ns:
            return starting, restarting, passage.checkpoint_ns, passage.still_ns, 0, 0, passage.paused_ns
        out = self.out[slot]
        detecting, draining = (passage.out_ns if out == phase else 0 for phase in (Phase.DETECTING, Phase.DRAINING))
        return starting, restarting + passage.out_ns - detecting - draining, 0, 0, detecting, draining, 0

    def end_ns(self, slot: int) -> int:
        """When the work will be done at the present speed, which is above 0."""
        remaining_ns, speed, saving = self.remaining_ns[slot], self.speed[slot], self.saving.get(slot)
        time_ns = slowed_ns(remaining_ns, speed) if saving is None else saving.time_ns(remaining_ns, speed)
        return self.since_ns[slot] + self.ahead_ns[slot] + self.still_ns.get(slot, 0) + time_ns

    def stand_still(self, slot: int, until_ns: int) -> bool:
        """Something shorter than a cycle stops the job, as of ``since_ns``, until then; several at once do not add up. Returns whether it
        stands still for longer than it would have.
        """
        more = until_ns - self.since_ns[slot] > self.still_ns.get(slot, 0)
        if more:
            self.still_ns[slot] = until_ns - self.since_ns[slot]
        return more

    def lose_work(self, slot: int, duration_ns: int) -> None:
        """A fault, or a stop without a checkpoint, as of ``since_ns``: work will go on from the last checkpoint that is safe. A job that
        writes none begins anew; one without an end (no ``duration_ns``) loses nothing.
        """
        saving = self.saving.get(slot)
        lost_ns = (duration_ns - self.remaining_ns[slot] if saving is None else saving.lost_ns()) if duration_ns else 0
        self.remaining_ns[slot] += lost_ns
        self.lost_ns[slot] += lost_ns
        if saving is not None:
            saving.fresh_ns, saving.writing_ns, saving.age_ns = 0, 0, -1

    # -- snapshots ------------------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it, in plain lists and numbers that JSON holds; ``restore`` takes it, and goes on to the same bits."""
        return {
            "columns": [list(column) for column in (self.remaining_ns, self.since_ns, *self._times())],
            "speed": list(self.speed),
            "again": list(self.again),
            "still_ns": sorted(self.still_ns.items()),
            "out": [(slot, int(phase)) for slot, phase in sorted(self.out.items())],
            "paused": sorted(self.paused),
            "full_clock_speed": sorted(self.full_clock_speed.items()),
            "saving": [(slot, saving.state()) for slot, saving in sorted(self.saving.items())],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the state of ``state``."""
        for column, times in zip((self.remaining_ns, self.since_ns, *self._times()), state["columns"], strict=True):
            column[:] = times
        self.speed, self.again = list(state["speed"]), list(state["again"])
        self.still_ns = {int(slot): int(still_ns) for slot, still_ns in state["still_ns"]}
        self.out = {int(slot): Phase(phase) for slot, phase in state["out"]}
        self.paused = {int(slot) for slot in state["paused"]}
        self.full_clock_speed = {int(slot): float(speed) for slot, speed in state["full_clock_speed"]}
        self.saving = {int(slot): Saving(*saving) for slot, saving in state["saving"]}

    # -- accounts -------------------------------------------------------------------------------------------------------------------

    def scale(self, slot: int, times: int, over: int) -> None:
        """The time that the job has held its GPUs is counted in another unit: ``times`` over ``over`` of it."""
        for column in self._counted():
            column[slot] = column[slot] * times // over
