"""Inputs of a live emulation: checked, journalled, stamped with their cycle, then posted to the engine."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from emulator.engine.commands import Ask, Cancel, CapPower, Command, Cordon, GoAway, Hold, SetPriority, Submit
from emulator.engine.errors import ControlError, InvalidRequest, NotFound, WrongState
from emulator.engine.hardware import not_found, rack_views
from emulator.engine.hardware_control import RackView
from emulator.engine.job_control import JobState, JobView, Submission, Submitted
from emulator.engine.power_control import PowerCapRequest
from emulator.engine.views import STATES, job_view
from emulator.runtime import power_inputs, service_inputs
from emulator.runtime.answers import Answers, Request, from_json, to_json
from emulator.runtime.assemble import Emulation
from emulator.runtime.fault_inputs import FaultInputs
from emulator.runtime.reserved import ReservedInputs
from emulator.runtime.submissions import Judge, Verdict, jobs_of, payload_of
from emulator.scheduler.table import State
from emulator.store.errors import JournalError
from emulator.store.journal import END, STOP, Input, Journal, Record
from emulator.workload.jobs import API_FIRST_ID
from topology.lookup import find_rack

#: Ids that the answer to a name of several jobs lists.
IDS_NAMED = 10
_LIVE = (State.FUTURE, State.PENDING, State.RUNNING)


class Inputs:
    """Called only by who has the turn at the engine. ``last_stamp_ns`` is the latest cycle that an input was stamped with."""

    def __init__(self, emulation: Emulation, journal: Journal | None) -> None:
        self._engine = emulation.engine
        self._scheduler = emulation.engine.scheduler
        self._cluster = emulation.cluster
        self._journal = journal
        self._next_id = API_FIRST_ID
        self._next_request = 0
        self._answers = Answers()
        self.last_stamp_ns = 0
        self.reserved = ReservedInputs(self._engine, self._answers, self._accept)
        self.faults = FaultInputs(self._engine, emulation.asking, self._answers, self._accept)

    def slot(self, job_id: int) -> int:
        """The slot of a job that has been submitted and has not left the engine. Raises NotFound."""
        slot = self._engine.table.slot_of.get(job_id)
        if slot is None or not self._is_submitted(job_id, slot):
            raise NotFound(f"no job {job_id}{self._where_others_are()}", field="job_id", allowed="the id of a submitted job")
        return slot

    def _is_submitted(self, job_id: int, slot: int) -> bool:
        """Whether a job of the table is no longer one that is only to come."""
        return self._engine.table.state[slot] != State.FUTURE or job_id >= API_FIRST_ID

    def _where_others_are(self) -> str:
        """To be added where a job is not found; "" if none has left."""
        kept, left = self._engine.ends.kept, self._engine.ends.retired
        return f" here: of the ended the last {kept:,} are kept; {left:,} older ones are in jobs.parquet at the end" if left else ""

    def jobs(self, states: frozenset[JobState], queue: str, after_id: int, limit: int) -> list[JobView]:
        """Submitted jobs that have not left the engine, with an id above ``after_id``, by id."""
        return [job_view(self._engine, slot) for _, slot in sorted(self._wanted(states, queue, after_id))[:limit]]

    def job_count(self, states: frozenset[JobState], queue: str) -> int:
        """How many ``jobs`` lists in all."""
        return len(self._wanted(states, queue, -1))

    def _wanted(self, states: frozenset[JobState], queue: str, after_id: int) -> list[tuple[int, int]]:
        """(id, slot) of submitted jobs."""
        table = self._engine.table
        if queue and queue not in table.queues:
            raise NotFound(f"no queue {queue!r}", field="queue", allowed=", ".join(table.queues))
        number = table.queues.index(queue) if queue else -1
        return [
            (job_id, slot)
            for job_id, slot in table.slot_of.items()
            if job_id > after_id
            and self._is_submitted(job_id, slot)
            and (not states or STATES[table.state[slot]] in states)
            and number in (-1, table.queue[slot])
        ]

    def slot_named(self, name: str) -> int:
        """The slot of the one submitted job that is here and called ``name``. Raises NotFound; InvalidRequest where several are."""
        table = self._engine.table
        found = sorted(
            (
                (table.job_id[slot], slot)
                for slot, known in table.names.items()
                if known == name and self._is_submitted(table.job_id[slot], slot)
            ),
            reverse=True,
        )
        if not found:
            raise NotFound(
                f"no job called {name!r:.80}{self._where_others_are()}", field="name", allowed="the name or the id of a submitted job"
            )
        if len(found) > 1:
            ids = ", ".join(str(job_id) for job_id, _ in found[:IDS_NAMED])
            more = f" and {len(found) - IDS_NAMED} older ones" if len(found) > IDS_NAMED else ""
            raise InvalidRequest(f"{len(found)} jobs are called {name!r:.80}", field="name", allowed=f"an id, newest first: {ids}{more}")
        return found[0][1]

    def submit(self, submissions: Sequence[Submission], stamp_ns: int) -> list[Submitted | ControlError]:
        """See ``Control.submit_all``. Nothing of a submission is there before all of them are in the journal, by one write."""
        judge = Judge(self._engine, self._answers, self._next_id, stamp_ns)
        verdicts = [judge.verdict(submission) for submission in submissions]
        records = [] if self._journal is None else [record for verdict in judge.fresh for record in _record(verdict)]
        if self._journal is not None and records:
            try:
                self._journal.append_all(records)
            except JournalError as error:
                unkept = _not_stored(error)
                verdicts = [unkept if isinstance(verdict, Verdict) and verdict.jobs is not None else verdict for verdict in verdicts]
                return [self._submitted(verdict) for verdict in verdicts]
        self._next_id = judge.next_id
        for verdict in judge.fresh:
            if verdict.jobs is not None:
                self._post(Submit(self._scheduler.add(verdict.jobs)), stamp_ns)
            self._answers.keep(verdict.request, verdict.result)
        return [self._submitted(verdict) for verdict in verdicts]

    def _submitted(self, verdict: Verdict | ControlError) -> Submitted | ControlError:
        """What the sender of a submission is told."""
        if isinstance(verdict, ControlError):
            return verdict
        first = next((job_id for job_id in verdict.result.job_ids if job_id >= 0), -1)
        slot = self._engine.table.slot_of.get(first)
        return Submitted(verdict.result, None if slot is None else job_view(self._engine, slot))

    def cancel(self, job_id: int, stamp_ns: int, request_id: str) -> JobView:
        """The job ends at the next cycle. Raises WrongState where it has ended already."""

        def cancel(request: Request) -> JobView:
            slot = self.slot(job_id)
            state = self._engine.table.state[slot]
            if state not in _LIVE:
                raise WrongState(f"job {job_id} is {STATES[state]}; allowed: a pending or running job", field="job_id")
            answer = job_view(self._engine, slot)
            self._accept(Cancel(job_id), stamp_ns, "cancel", {"job_id": job_id}, request, answer)
            return answer

        return self._answers.once(request_id, "cancel", lambda: repr(job_id).encode(), cancel)

    def hold(self, job_id: int, stamp_ns: int, request_id: str, *, held: bool) -> JobView:
        """The job is put on hold, or released, at the next cycle. Raises WrongState where it is not pending."""
        verb = "hold" if held else "release"

        def hold(request: Request) -> JobView:
            slot = self.slot(job_id)
            state = self._engine.table.state[slot]
            if state not in (State.FUTURE, State.PENDING):
                raise WrongState(f"job {job_id} is {STATES[state]}; allowed: a pending job", field="job_id")
            answer = job_view(self._engine, slot)
            self._accept(Hold(job_id, held), stamp_ns, verb, {"job_id": job_id}, request, answer)
            return answer

        return self._answers.once(request_id, verb, lambda: repr(job_id).encode(), hold)

    def set_priority(self, job_id: int, priority: int, stamp_ns: int, request_id: str) -> JobView:
        """The job has another priority from the next cycle on. Raises WrongState where it has ended."""

        def change(request: Request) -> JobView:
            slot = self.slot(job_id)
            state = self._engine.table.state[slot]
            if state not in _LIVE:
                raise WrongState(f"job {job_id} is {STATES[state]}; allowed: a pending or running job", field="job_id")
            answer = job_view(self._engine, slot)
            payload = {"job_id": job_id, "priority": priority}
            self._accept(SetPriority(job_id, priority), stamp_ns, "priority", payload, request, answer)
            return answer

        return self._answers.once(request_id, "priority", lambda: repr((job_id, priority)).encode(), change)

    def cordon(self, rack: int, stamp_ns: int, *, cordoned: bool, request_id: str) -> RackView:
        """The rack is not used (or used again) from the next cycle on; jobs on it go on."""

        def cordon(request: Request) -> RackView:
            with not_found("rack"):
                first, end = self._hosts_of("rack", find_rack(self._cluster, str(rack)))
            payload = {"first_host": first, "end_host": end, "cordoned": cordoned}
            answer = replace(rack_views(self._engine, self._engine.read(), rack - 1, 1)[0], cordoned=cordoned)
            self._accept(Cordon(first, end, cordoned), stamp_ns, "cordon", payload, request, answer)
            return answer

        return self._answers.once(request_id, "cordon", lambda: repr((rack, cordoned)).encode(), cordon)

    def cap_power(self, asked: PowerCapRequest, stamp_ns: int, request_id: str) -> str:
        """A cap from the next cycle on. Returns what was done, as a sentence."""

        def cap(request: Request) -> str:
            command = power_inputs.cap_command(self._engine, asked)
            answer = power_inputs.told(command, asked, stamp_ns)
            self._accept(command, stamp_ns, "power", power_inputs.payload(command), request, answer)
            return answer

        return self._answers.once(request_id, "power", lambda: repr(asked).encode(), cap)

    def scale_service(self, name: str, replicas: int, stamp_ns: int, request_id: str) -> str:
        """So many replicas from the next cycle on. Returns what was done, as a sentence."""

        def scale(request: Request) -> str:
            command = service_inputs.scale_command(self._engine, name, replicas)
            assert self._engine.services is not None, "there is that service"
            scales = self._engine.services.settings.services[command.service].scaling.metric != "none"
            answer = service_inputs.told(name, command, stamp_ns, scales=scales)
            self._accept(command, stamp_ns, "scale", {"service": command.service, "replicas": command.replicas}, request, answer)
            return answer

        return self._answers.once(request_id, "scale", lambda: repr((name, replicas)).encode(), scale)

    def ask_service(self, name: str, prompt_tokens: int, output_tokens: int, priority: int, arrival_ns: int, stamp_ns: int) -> int:
        """A request comes to a service. Returns the number under which its progress is told. Raises NotFound and InvalidRequest."""
        number = self._next_request
        command = service_inputs.ask_command(self._engine, name, number, arrival_ns, prompt_tokens, output_tokens, priority)
        self._accept(command, stamp_ns, "ask", asdict(command), Request(), None)
        self._next_request += 1
        return command.number

    def leave_service(self, number: int, at_ns: int, stamp_ns: int) -> None:
        """The client of that request goes away."""
        self._accept(GoAway(number, at_ns), stamp_ns, "go away", {"number": number, "at_ns": at_ns}, Request(), None)

    def _hosts_of(self, level: str, number: int) -> tuple[int, int]:
        first_host = self._cluster.level(level).first_host
        return int(first_host[number]), int(first_host[number + 1])

    def _accept(self, command: Command, stamp_ns: int, kind: str, payload: dict[str, Any], request: Request, answer: Any) -> None:
        if self._journal is not None:
            self._write(stamp_ns, kind, payload, request, answer)
        self._post(command, stamp_ns)

    def _post(self, command: Command, stamp_ns: int) -> None:
        self._engine.post(command, stamp_ns)
        self.last_stamp_ns = max(self.last_stamp_ns, stamp_ns)

    def _write(self, stamp_ns: int, kind: str, payload: dict[str, Any], request: Request, answer: Any) -> None:
        """Before anything is posted, so that what cannot be kept is not accepted."""
        assert self._journal is not None
        kept = to_json(answer) if request.request_id else None
        try:
            self._journal.append(stamp_ns, kind, payload, request.request_id, request.asked, kept)
        except JournalError as error:
            raise _not_stored(error) from error

    def take_up(self, record: Input) -> None:
        """Post an input of a journal to act in its cycle, as when it was accepted, and remember what its sender was told.

        Ends are no inputs and do nothing. Raises JournalError for a record that is none of this scenario's.
        """
        given = record.payload
        try:
            match record.kind:
                case "submit":
                    jobs = jobs_of(given)
                    self._next_id = max(self._next_id, int(jobs.job_id[-1]) + 1)
                    command: Command = Submit(self._scheduler.add(jobs))
                case "cancel" | "hold" | "release" | "priority" as verb:
                    command = self._of_one_job(verb, **given)
                case "cordon":
                    command = Cordon(**given)
                case "fault" | "clear fault":
                    command = self.faults.take_up(record.kind, given)
                case "power":
                    command = CapPower(**given)
                case "scale" | "ask" | "go away":
                    command = service_inputs.take_up(record.kind, given)
                    if isinstance(command, Ask):
                        self._next_request = max(self._next_request, command.number + 1)
                case "reserve" | "end reservation":
                    command = self.reserved.take_up(record.kind, given)
                case kind if kind in (END, STOP):
                    return
                case _:
                    raise ValueError(f"unknown kind {record.kind!r}")
            if record.request_id:
                answer = from_json(record.kind, record.answer, given.get("job_id", ()) if record.kind == "submit" else ())
                self._answers.keep(Request(record.request_id, record.asked), answer)
            self._post(command, record.stamp_ns)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise JournalError(f"input {record.sequence} of the journal cannot be applied: {type(error).__name__}: {error}") from error

    def _of_one_job(self, verb: str, job_id: int, priority: int = 0) -> Command:
        if job_id not in self._engine.table.slot_of and not self._engine.ends.retired:
            raise ValueError(f"no job {job_id}")
        match verb:
            case "cancel":
                return Cancel(job_id)
            case "priority":
                return SetPriority(job_id, priority)
            case _:
                return Hold(job_id, held=verb == "hold")


def _record(verdict: Verdict) -> Iterator[Record]:
    """What the journal keeps of a verdict; nothing where no job was accepted."""
    jobs, request = verdict.jobs, verdict.request
    if jobs is not None:
        answer = to_json(verdict.result) if request.request_id else None
        yield Record(int(jobs.submit_ns[0]), "submit", payload_of(jobs), request.request_id, request.asked, answer)


def _not_stored(error: JournalError) -> WrongState:
    return WrongState(f"the request was not accepted, because the journal could not store it: {error}")
