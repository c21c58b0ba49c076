"""The faults that a scenario says one by one, as commands."""

from dataclasses import dataclass

from emulator.engine.bounds import LONGEST_NS
from emulator.engine.commands import BreakHosts, CutLinks, SlowDown
from emulator.engine.errors import ControlError
from emulator.engine.fault_control import FaultRequest
from emulator.engine.fault_requests import Asking, command_of
from emulator.racks.faults import CAUSE_OF
from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from emulator.scenario.units import parse_duration
from emulator.workload.jobs import SECOND, SourceReport
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.fault_log import LoggedFault, read_faults

#: How long a fault of a script lasts that does not say.
DEFAULT_NS = parse_duration("1h")

#: Where a request's fields stand in a script, and in a file.
_FIELDS = {"target": "kind", "number": "name", "remaining_ratio": "remaining"}


@dataclass(frozen=True)
class FaultScript:
    """``commands``: when each strikes, in order. ``source``: of what was read from a file."""

    commands: tuple[tuple[int, BreakHosts | SlowDown | CutLinks], ...] = ()
    source: SourceReport | None = None


def fault_script(scenario: Scenario, asking: Asking) -> FaultScript:
    """Raises ScenarioError naming the field, or the line of the file."""
    found, path, report = [], scenario.faults.script_file, None
    for number, fault in enumerate(scenario.faults.script):
        flap, every = ((one or 0) / SECOND for one in (fault.flap, fault.every))
        kind = fault.kind.lower().replace("-", "_")
        asked = FaultRequest(kind, fault.name, fault.duration / SECOND, fault.remaining, flap, every, fault.cause)
        try:
            found.append((fault.at, command_of(asking, asked)[0]))
        except ControlError as error:
            field = _FIELDS.get(error.field, error.field)
            raise ScenarioError(f"scenario {scenario.name}: faults.script.{number}.{field}: {error}; allowed: {error.allowed}") from None
    if path is not None:
        try:
            faults, report = read_faults(path, scenario.faults.script_from)
            found += [(fault.at_ns, _of_file(fault, asking, report)) for fault in faults]
        except TraceError as error:
            raise ScenarioError(f"scenario {scenario.name}: faults.script: {error}") from None
    return FaultScript(tuple(sorted(found, key=lambda one: one[0])), report)


def _of_file(fault: LoggedFault, asking: Asking, report: SourceReport) -> BreakHosts | SlowDown | CutLinks:
    cause, is_log = fault.cause, "node" in fault.row.fields
    if is_log and cause and cause not in CAUSE_OF:
        what = "of causes that are not ours, which count as injected"
        report.noted[what] = report.noted.get(what, 0) + 1
        cause = ""
    duration_ns = DEFAULT_NS if fault.duration_ns is None else fault.duration_ns
    if is_log:  # one that did not come back is away for as long as anything may be
        duration_ns = min(duration_ns, LONGEST_NS) or LONGEST_NS
    flap, every = fault.flap_ns / SECOND, fault.every_ns / SECOND
    asked = FaultRequest(fault.kind, fault.name, duration_ns / SECOND, fault.remaining_ratio, flap, every, cause)
    try:
        return command_of(asking, asked)[0]
    except ControlError as error:
        field = "node" if is_log and error.field == "number" else _FIELDS.get(error.field, error.field)
        raise fault.row.error(field, str(error), error.allowed) from None
