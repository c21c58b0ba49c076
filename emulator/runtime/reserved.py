"""Reservations as inputs of a live emulation: checked against those that there are, and against those that were accepted for later."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from emulator.engine.commands import Command, EndReservation, Reserve
from emulator.engine.engine import Engine
from emulator.engine.errors import InvalidRequest, NotFound, WrongState
from emulator.engine.reservation_control import ReservationRequest, ReservationView
from emulator.runtime.answers import Answers, Request
from emulator.scenario.reservations import MOST_RESERVATIONS, ReservationSettings
from emulator.scenario.reserved_hosts import RefusedReservation, resolve
from emulator.scheduler.calendar import HostReservation, Running, Window, windows_of
from emulator.workload.jobs import SECOND
from topology.describe import hostlist

#: (command, its cycle, its kind in the journal, what the journal keeps of it, the request, the answer).
Accept = Callable[[Command, int, str, dict[str, Any], Request, Any], None]
#: Fields of a request, by those of the scenario's section.
_FIELDS = {"hosts": "hosts", "start": "start_seconds", "duration": "duration_seconds", "every": "every_seconds"}


class ReservedInputs:
    """Called as ``Inputs``, which has the journal."""

    def __init__(self, engine: Engine, answers: Answers, accept: Accept) -> None:
        self._engine, self._answers, self._accept = engine, answers, accept
        self._known = {one.name: one for one in engine.scheduler.settings.reservations}
        self._ended: set[str] = set()

    def views(self) -> list[ReservationView]:
        """All that were accepted, in their order."""
        return [self._view(one) for one in self._known.values()]

    def reserve(self, asked: ReservationRequest, stamp_ns: int, request_id: str) -> ReservationView:
        """Raises InvalidRequest."""

        def reserve(request: Request) -> ReservationView:
            if len(self._known) >= MOST_RESERVATIONS:
                text = f"there have been {len(self._known)} reservations"
                raise InvalidRequest(text, field="name", allowed=f"up to {MOST_RESERVATIONS} in one emulation")
            reservation = self._resolve(asked, stamp_ns)
            answer = self._view(reservation)
            self._accept(Reserve(reservation), stamp_ns, "reserve", _payload(reservation), request, answer)
            self._known[reservation.name] = reservation
            return answer

        return self._answers.once(request_id, "reserve", lambda: repr(asked).encode(), reserve)

    def end(self, name: str, stamp_ns: int, request_id: str) -> ReservationView:
        """Raises NotFound; WrongState where it is over."""

        def end(request: Request) -> ReservationView:
            reservation = self._known.get(name)
            if reservation is None:
                raise NotFound(f"no reservation {name!r:.80}", field="name", allowed=", ".join(self._known) or "none: there is none")
            if not self._windows(reservation, stamp_ns):
                raise WrongState(f"reservation {name} is over", field="name")
            answer = replace(self._view(reservation), is_open=False, begin_seconds=-1.0, end_seconds=-1.0, windows_left=0)
            self._accept(EndReservation(name), stamp_ns, "end reservation", {"name": name}, request, answer)
            self._ended.add(name)
            return answer

        return self._answers.once(request_id, "end reservation", name.encode, end)

    def take_up(self, kind: str, given: dict[str, Any]) -> Command:
        """The command of a record of the journal."""
        if kind == "reserve":
            reservation = _reservation(given)
            self._known[reservation.name] = reservation
            return Reserve(reservation)
        self._ended.add(given["name"])
        return EndReservation(given["name"])

    def _resolve(self, asked: ReservationRequest, stamp_ns: int) -> HostReservation:
        start_ns = stamp_ns if asked.start_seconds < 0 else round(asked.start_seconds * SECOND)
        given: dict[str, Any] = {
            "name": asked.name,
            "hosts": list(asked.hosts) or asked.host_count,
            "gpu_type": asked.gpu_type or None,
            "start": _as_written(start_ns),
            "duration": _as_written(round(asked.duration_seconds * SECOND)),
            "every": _as_written(round(asked.every_seconds * SECOND)) if asked.every_seconds else None,
            "times": asked.times or None,
            "maintenance": asked.maintenance,
            "queues": list(asked.queues),
            "tenants": list(asked.tenants),
            "running": asked.running,
        }
        found = [one for one in self._known.values() if self._windows(one, stamp_ns)]
        try:
            if asked.name in self._known:
                raise RefusedReservation("name", f"there is one of the name {asked.name!r:.80}, or was; allowed: another name")
            settings = ReservationSettings.model_validate(given)
            kept = [self._windows(one, stamp_ns) for one in found]
            reservation = resolve(settings, self._engine.table.queues, self._engine.cluster, found, kept, self._engine.settings.cycle_ns)
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][0]) if first["loc"] else "reservation"
            raise InvalidRequest(f"{field}: {first['msg']}", field=_FIELDS.get(field, field)) from None
        except RefusedReservation as error:
            text, _, allowed = str(error).partition("; allowed: ")
            raise InvalidRequest(text, field=_FIELDS.get(error.field, error.field), allowed=allowed) from None
        if not [window for window in windows_of(0, reservation, self._engine.settings.cycle_ns) if window.end_ns > stamp_ns]:
            raise InvalidRequest("all of its times are over", field="start_seconds", allowed=f"{stamp_ns / SECOND:,.15g} s and later")
        return reservation

    def _windows(self, reservation: HostReservation, now_ns: int) -> list[Window]:
        """Those that are not over."""
        if reservation.name in self._ended:
            return []
        return [window for window in windows_of(0, reservation, self._engine.settings.cycle_ns) if window.end_ns > now_ns]

    def _view(self, reservation: HostReservation) -> ReservationView:
        scheduler, now_ns = self._engine.scheduler, self._engine.now_ns
        windows = self._windows(reservation, now_ns)
        first = windows[0] if windows else Window(-SECOND, -SECOND, 0, 0)
        calendar = scheduler.reserved.calendar
        number = -1 if calendar is None else calendar.number_of.get(reservation.name, -1)
        return ReservationView(
            name=reservation.name,
            hosts=hostlist(self._engine.cluster, reservation.hosts),
            host_count=len(reservation.hosts),
            maintenance=reservation.maintenance,
            is_open=calendar is not None and number in calendar.open,
            begin_seconds=first.begin_ns / SECOND,
            end_seconds=first.end_ns / SECOND,
            windows_left=len(windows),
            queues=tuple(sorted(reservation.queues)),
            tenants=tuple(sorted(reservation.tenants)),
            running=reservation.running.value,
            pending_jobs=0 if scheduler.reserved.inside is None or number < 0 else scheduler.reserved.inside.waiting_for(number),
        )


def _as_written(nanoseconds: int) -> str:
    return f"{nanoseconds}ns"


def _payload(reservation: HostReservation) -> dict[str, Any]:
    """What the journal keeps."""
    lists = {"hosts": list(reservation.hosts), "queues": sorted(reservation.queues), "tenants": sorted(reservation.tenants)}
    return asdict(reservation) | lists | {"running": reservation.running.value}


def _reservation(given: dict[str, Any]) -> HostReservation:
    """The reverse."""
    sets = {"queues": frozenset(given["queues"]), "tenants": frozenset(given["tenants"])}
    return HostReservation(**given | sets | {"hosts": tuple(given["hosts"]), "running": Running(given["running"])})
