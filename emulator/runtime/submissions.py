"""Judging submissions: what can ever run and what the queue has room for, before anything of it is there; and their form in the journal."""

from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from emulator.engine.engine import Engine
from emulator.engine.errors import ControlError, InvalidRequest, NeverFits, QueueFull, depends_on_refused
from emulator.engine.job_control import Submission, SubmitResult
from emulator.runtime.answers import Answers, Request, request_of
from emulator.scheduler.table import State
from emulator.workload.dependents import dependents
from emulator.workload.jobs import API_FIRST_ID, COLUMN_NAMES, Dependency, JobColumns, Locality, TrainingShape, job_columns

#: Wall seconds after which a client may try a full queue again.
RETRY_SECONDS = 5.0
#: Queues and tenants of one emulation: each queue is in every scrape.
MOST_QUEUES, MOST_TENANTS = 1000, 100_000


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a submission is answered. ``jobs`` are those that it accepts now, with their ids."""

    request: Request
    result: SubmitResult
    jobs: JobColumns | None = None


class Judge:
    """Judges the submissions of one turn, each as if those before it had been taken in; changes nothing.

    ``fresh`` are the verdicts that repeat no earlier request, in order; ``next_id`` is the next job's id when they have been taken in.
    """

    def __init__(self, engine: Engine, answers: Answers, next_id: int, stamp_ns: int) -> None:
        self._table, self._scheduler, self._stamp_ns = engine.table, engine.scheduler, stamp_ns
        self._limit = self._scheduler.settings.pending_limit
        self._room = self._limit - self._scheduler.pending_jobs - engine.intake.posted_jobs
        self._tenant_room = _tenant_room(engine)
        self._answers, self._of_this_turn = answers, Answers()
        self._queues, self._tenants = set[str](), set[str]()  # that the table does not know yet
        self.fresh: list[Verdict] = []
        self.next_id = next_id

    def verdict(self, submission: Submission) -> Verdict | ControlError:
        """The first one for a request that was made before; a refusal of a whole submission is none."""
        try:
            request = request_of(submission.request_id, "submit", lambda: _body(submission.jobs))
            if (answer := self._answers.known(request)) is not None:
                return Verdict(request, answer)
            if (verdict := self._of_this_turn.known(request)) is None:
                verdict = self._judge(submission.jobs, request)
                self._of_this_turn.keep(request, verdict)
                self.fresh.append(verdict)
        except ControlError as error:
            return error
        return cast(Verdict, verdict)

    def _judge(self, jobs: JobColumns, request: Request) -> Verdict:
        self._check_names(jobs)
        self._check_sites(jobs)
        errors: dict[int, ControlError] = self._never_fit(jobs) | self._depend_on_nobody(jobs) | self._barred_from_reservation(jobs)
        room = {} if self._tenant_room is None else self._beyond_tenants(jobs, errors, self._tenant_room)
        if jobs.afters_here:
            errors |= dict.fromkeys(dependents(errors, jobs.after, jobs.afters_here), depends_on_refused("after"))
        accepted = [index for index in range(len(jobs)) if index not in errors]
        if accepted and self._room <= 0:
            raise QueueFull(f"{self._limit} jobs are pending, which is the limit (scheduler.pending_limit)", retry_seconds=RETRY_SECONDS)
        for index in accepted[self._room :]:
            errors[index] = QueueFull(f"the queue's limit of {self._limit} pending jobs was reached", retry_seconds=RETRY_SECONDS)
        accepted = accepted[: self._room]
        ids = np.full(len(jobs), -1, dtype=np.int64)
        ids[accepted] = np.arange(self.next_id, self.next_id + len(accepted))
        result = SubmitResult(ids.tolist(), errors)
        if not accepted:
            return Verdict(request, result)
        self._room -= len(accepted)
        for index in accepted if room else ():
            room[jobs.tenants[jobs.tenant[index]]] -= 1
        self.next_id += len(accepted)
        self._queues.update(name for name in jobs.queues if name not in self._table.queue_of)
        self._tenants.update(name for name in jobs.tenants if name not in self._table.tenant_of)
        kept = replace(
            jobs if len(accepted) == len(jobs) else _rows(jobs, np.array(accepted)),
            job_id=ids[accepted],
            submit_ns=np.full(len(accepted), self._stamp_ns, dtype=np.int64),
            afters=_with_ids(jobs, ids.tolist()),
            afters_here=(),
        )
        return Verdict(request, result, kept)

    def _beyond_tenants(self, jobs: JobColumns, errors: dict[int, ControlError], known: dict[str, int]) -> dict[str, int]:
        """Refuse what is beyond the limit of a tenant's pending jobs. Returns the room there was, which the caller counts down."""
        accounts = self._scheduler.accounts
        assert accounts is not None, "there are limits"
        left: dict[str, int] = {}
        for index, number in enumerate(jobs.tenant.tolist()):
            if index in errors:
                continue
            tenant = jobs.tenants[number]
            room = left.setdefault(tenant, known.setdefault(tenant, accounts.pending_room(tenant)))
            left[tenant] -= 1
            if room <= 0:
                most = accounts.limits.of(tenant).max_pending_jobs
                text = f"tenant {tenant} has {most:,} jobs pending, its limit (scheduler.tenant_limits)"
                errors[index] = QueueFull(text, retry_seconds=RETRY_SECONDS)
        return known

    def _check_names(self, jobs: JobColumns) -> None:
        """Raises InvalidRequest where there would be too many queues or tenants."""
        for what, known, new, given, most in (
            ("queue", self._table.queue_of, self._queues, jobs.queues, MOST_QUEUES),
            ("tenant", self._table.tenant_of, self._tenants, jobs.tenants, MOST_TENANTS),
        ):
            if len(known) + len(new) + sum(name not in known and name not in new for name in given) > most:
                raise InvalidRequest(f"there would be more than {most:,} {what}s", field=what, allowed=f"one of the {what}s that there are")

    def _check_sites(self, jobs: JobColumns) -> None:
        """Raises InvalidRequest for a site or dataset that is not there."""
        dispatcher = self._scheduler.dispatcher
        for wish in jobs.localities:
            if dispatcher is None:
                raise InvalidRequest("the job names a site or a dataset", field="site", allowed="none, since scheduler.sites is not given")
            datasets = tuple([one.name for one in dispatcher.sites.datasets])
            for field, known in (("site", dispatcher.sites.names), ("prefer_site", dispatcher.sites.names), ("dataset", datasets)):
                if (name := getattr(wish, field)) and name not in known:
                    raise InvalidRequest(f"there is no {field} {name!r:.80}", field=field, allowed=", ".join(known) or "none")

    def _never_fit(self, jobs: JobColumns) -> dict[int, ControlError]:
        slices = jobs.slice_gpus.tolist(), jobs.slice_level.tolist()
        asked = list(zip(self._scheduler.needed_gpus(jobs), jobs.require_level.tolist(), jobs.types(), *slices, strict=True))
        too_large: dict[tuple[int, int, tuple[int, ...], int, int], NeverFits] = {}
        for shape in set(asked):
            if not self._scheduler.feasibility.could_ever_fit(*shape):
                gpus, level, types, slice_gpus, slice_level = shape
                if self._scheduler.feasibility.could_ever_fit(gpus, level, types):
                    message = self._scheduler.limits.never_sliced(gpus, slice_gpus, slice_level, types)
                    allowed = "a part of a host, or whole hosts, of which enough lie inside units of slice_level"
                    too_large[shape] = NeverFits(message, field="slice_gpus", allowed=allowed)
                    continue
                message, most = self._scheduler.limits.never_fits(gpus, level, types)
                too_large[shape] = NeverFits(message, field="gpus", allowed=f"at most {most}")
        return {index: too_large[shape] for index, shape in enumerate(asked) if shape in too_large} if too_large else {}

    def _depend_on_nobody(self, jobs: JobColumns) -> dict[int, ControlError]:
        """Jobs that depend on ids that no job has, or none that is still here."""
        unknown = [[job_id for job_id, _ in after if not self._is_known(job_id)] for after in jobs.afters]
        if not any(unknown):
            return {}
        errors = [InvalidRequest(f"no job {ids[0]}", field="after", allowed="ids of submitted jobs") if ids else None for ids in unknown]
        rows = zip(np.flatnonzero(jobs.after >= 0).tolist(), jobs.after[jobs.after >= 0].tolist(), strict=True)
        return {row: error for row, entry in rows if (error := errors[entry]) is not None}

    def _barred_from_reservation(self, jobs: JobColumns) -> dict[int, ControlError]:
        """Jobs that may not use the reservation that they name, or could never run in it."""
        errors: dict[int, ControlError] = {}
        for row in np.flatnonzero(jobs.reservation >= 0).tolist():
            queue, tenant = jobs.queues[jobs.queue[row]], jobs.tenants[jobs.tenant[row]]
            asked = int(jobs.gpus[row]), int(jobs.estimate_ns[row])
            why = self._scheduler.reserved.refused(jobs.reservations[jobs.reservation[row]], queue, tenant, *asked)
            if why:
                open_ones = ", ".join(self._scheduler.reserved.names_for(queue, tenant)) or "none"
                errors[row] = InvalidRequest(why, field="reservation", allowed=f"for queue {queue} and tenant {tenant}: {open_ones}")
        return errors

    def _is_known(self, job_id: int) -> bool:
        """Whether a job of this id has been submitted. One of the API is known for ever, also when it has left."""
        slot = self._table.slot_of.get(job_id)
        return API_FIRST_ID <= job_id < self.next_id or (slot is not None and self._table.state[slot] != State.FUTURE)


def _with_ids(jobs: JobColumns, ids: list[int]) -> tuple[tuple[Dependency, ...], ...]:
    """What the jobs depend on, by ids alone; ``ids`` are those that they get. Of a job twice the stricter counts."""
    if not jobs.afters_here:
        return jobs.afters
    merged = []
    for others, places in zip(jobs.afters, jobs.afters_here, strict=True):
        both = [*others, *((ids[place], any_end) for place, any_end in places)]
        merged.append(tuple(sorted(dict(sorted(both, key=lambda one: not one[1])).items())))
    return tuple(merged)


def _tenant_room(engine: Engine) -> dict[str, int] | None:
    """How many more jobs each tenant may have waiting, of those that have been asked for; None where no tenant is limited so."""
    accounts = engine.scheduler.accounts
    if accounts is None or not accounts.limits.any():
        return None
    room: dict[str, int] = {}
    for slot in engine.intake.posted_slots():
        tenant = engine.table.tenants[engine.table.tenant[slot]]
        room[tenant] = room.get(tenant, accounts.pending_room(tenant)) - 1
    return room


def _body(jobs: JobColumns) -> bytes:
    """What a client asked for, as bytes to tell one request from another; ids and submission times are not the client's."""
    # Requests without these have the bytes of journals that do not know them.
    rare = (("slice_gpus", "slice_level"), ("deadline_ns",), ("min_gpus",))
    plain = [name for names in rare if not getattr(jobs, names[0]).any() for name in names]
    more = {"after": jobs.afters, "array": jobs.arrays, "locality": jobs.localities, "reservation": jobs.reservations}
    unused = ("job_id", "submit_ns", *plain, *(name for name, entries in more.items() if not entries))
    columns = [getattr(jobs, name).tobytes() for name in COLUMN_NAMES if name not in unused]
    entries = [entries for entries in (*more.values(), jobs.afters_here) if entries]
    return b"".join(columns) + repr((jobs.shapes, jobs.choices, jobs.queues, jobs.tenants, jobs.names, *entries)).encode()


def _rows(jobs: JobColumns, rows: np.ndarray[Any, np.dtype[np.int64]]) -> JobColumns:
    names = None if jobs.names is None else tuple(jobs.names[row] for row in rows.tolist())
    return replace(jobs, names=names, **{name: getattr(jobs, name)[rows] for name in COLUMN_NAMES})


def jobs_of(payload: dict[str, Any]) -> JobColumns:
    """The reverse of ``payload_of``."""
    columns = {name: payload[name] for name in COLUMN_NAMES if name in payload}  # older journals have fewer; the defaults are theirs
    return job_columns(
        len(payload["job_id"]),
        **columns,
        shapes=tuple(TrainingShape(**shape) for shape in payload["shapes"]),
        choices=tuple(tuple((number, pace) for number, pace in choice) for choice in payload.get("choices", ())),
        afters=tuple(tuple((job_id, any_end) for job_id, any_end in after) for after in payload.get("afters", ())),
        arrays=tuple(payload.get("arrays", ())),
        localities=tuple(Locality(*one) for one in payload.get("localities", ())),
        reservations=tuple(payload.get("reservations", ())),
        queues=tuple(payload["queues"]),
        tenants=tuple(payload["tenants"]),
        names=None if payload["names"] is None else tuple(payload["names"]),
    )


def payload_of(jobs: JobColumns) -> dict[str, Any]:
    """What the journal keeps of jobs. Deadlines where there is one, so that others have nothing that older programs do not know."""
    names = [name for name in COLUMN_NAMES if name != "deadline_ns" or jobs.deadline_ns.any()]
    columns = {name: getattr(jobs, name).tolist() for name in names}
    return columns | {
        "shapes": [asdict(shape) for shape in jobs.shapes],
        "choices": jobs.choices,
        "afters": jobs.afters,
        "arrays": jobs.arrays,
        "localities": jobs.localities,
        "reservations": jobs.reservations,
        "queues": jobs.queues,
        "tenants": jobs.tenants,
        "names": jobs.names,
    }
