"""Faults as inputs of a live emulation."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from emulator.engine.commands import BreakHosts, ClearFaults, Command, CutLinks, SlowDown, scale_link
from emulator.engine.engine import Engine
from emulator.engine.errors import WrongState
from emulator.engine.fault_control import FaultRequest
from emulator.engine.fault_requests import Asking, command_of, faults_called
from emulator.engine.fault_targets import cuts_of
from emulator.racks.faults import INJECTED, Scope
from emulator.runtime.answers import Answers, Request
from emulator.scheduler.ledger import Withheld
from emulator.workload.jobs import SECOND

#: (command, its cycle, its kind in the journal, what the journal keeps of it, the request, the answer).
Accept = Callable[[Command, int, str, dict[str, Any], Request, Any], None]


class FaultInputs:
    """Called as ``Inputs``, which has the journal."""

    def __init__(self, engine: Engine, asking: Asking, answers: Answers, accept: Accept) -> None:
        self._engine, self._asking, self._answers, self._accept = engine, asking, answers, accept

    def inject(self, fault: FaultRequest, stamp_ns: int, request_id: str) -> str:
        """Something fails at the next cycle. Returns what was done, as a sentence."""

        def inject(request: Request) -> str:
            command, done = command_of(self._asking, fault)
            if not isinstance(command, CutLinks) and command.first_host in self._engine.scheduler.ledger.withheld(Withheld.PLANNED):
                raise WrongState(f"{done.removesuffix(' fails')} is not in service yet: it cannot fail", field="number")
            flaps = f", down for {fault.flap_seconds:g} s every {fault.every_seconds:g} s" if fault.flap_seconds else ""
            answer = f"{done} at {stamp_ns / SECOND:g} s for {fault.duration_seconds:g} s{flaps}"
            self._accept(command, stamp_ns, "fault", _payload(command, fault), request, answer)
            return answer

        return self._answers.once(request_id, "fault", lambda: repr(fault).encode(), inject)

    def clear(self, name: str, stamp_ns: int, request_id: str) -> str:
        """The faults of this number or name end at the next cycle. Raises NotFound."""

        def clear(request: Request) -> str:
            numbers = faults_called(self._engine.fault_book, name)
            what = ", ".join(f"{self._engine.fault_book.open[one].target.replace('_', ' ')} {name_of(one)}" for one in numbers)
            answer = f"{what} {'is' if len(numbers) == 1 else 'are'} mended at {stamp_ns / SECOND:g} s"
            self._accept(ClearFaults(numbers), stamp_ns, "clear fault", {"numbers": list(numbers)}, request, answer)
            return answer

        def name_of(number: int) -> str:
            return self._engine.fault_book.open[number].name

        return self._answers.once(request_id, "clear fault", name.encode, clear)

    def take_up(self, kind: str, given: dict[str, Any]) -> Command:
        """The command of a record of the journal: of hosts, of a link by its number, or of any part of the fabric by its name."""
        if kind == "clear fault":
            return ClearFaults(tuple(given["numbers"]))
        if "ratio" in given:
            return SlowDown(**given)
        if "first_host" in given:
            return BreakHosts(**given | {"scope": Scope(given.get("scope", Scope.HOST))})
        if "link" in given:
            return scale_link(**given)
        what, cuts = cuts_of(self._asking.cluster, given["target"], given["name"], given["remaining_ratio"])
        target, _, name = what.partition(" ")
        times = given["duration_ns"], given["flap_ns"], given["every_ns"]
        return CutLinks(cuts, *times, target=target.lower(), name=name, cause=given.get("cause", INJECTED))


def _payload(command: BreakHosts | SlowDown | CutLinks, fault: FaultRequest) -> dict[str, Any]:
    """What the journal keeps."""
    if isinstance(command, BreakHosts):
        return asdict(command) | {"scope": int(command.scope)}
    if isinstance(command, SlowDown):
        return asdict(command)
    kept = {"target": fault.target, "name": fault.name, "remaining_ratio": fault.remaining_ratio, "cause": command.cause}
    return kept | {"duration_ns": command.duration_ns, "flap_ns": command.flap_ns, "every_ns": command.every_ns}
