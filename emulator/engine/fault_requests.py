"""From what somebody asks to have broken to the command that breaks it, and from what is broken to what is shown."""

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.engine.bounds import LONGEST_NS, REMAINING_RULE, is_remaining_ratio
from emulator.engine.commands import BreakHosts, CutLinks, SlowDown
from emulator.engine.errors import InvalidRequest, NotFound
from emulator.engine.fault_book import FaultBook
from emulator.engine.fault_control import FaultRequest, FaultView
from emulator.engine.fault_targets import TARGETS, cuts_of
from emulator.engine.hardware import not_found
from emulator.racks import units
from emulator.racks.faults import CAUSE_OF, Scope
from emulator.racks.unit_faults import SLOW_RATIO, WITHDRAWN
from emulator.scheduler.table import NEVER
from emulator.workload.jobs import SECOND
from topology.cluster import Cluster
from topology.lookup import find_host
from topology.names import parse_numbered

#: What can fail of the racks; the other targets are parts of the fabric.
OF_HOSTS = ("process", "gpu", "host", "suspect", "slow", *units.KINDS)
#: Names of faults that a refusal lists.
NAMED = 10


@dataclass(frozen=True)
class Asking:
    """What a request is judged by: a cluster, its cycle, and how many racks a cooling unit or power feed has."""

    cluster: Cluster
    cycle_ns: int
    racks_each: Mapping[str, int]


def command_of(asking: Asking, asked: FaultRequest) -> tuple[BreakHosts | SlowDown | CutLinks, str]:
    """The command, and what it does, as a sentence's beginning. Raises InvalidRequest, and NotFound for a name that is none."""
    if not 0 < asked.duration_seconds <= LONGEST_NS / SECOND:
        allowed = f"above 0, at most {LONGEST_NS / SECOND:g} s"
        raise InvalidRequest(f"duration is {asked.duration_seconds} s", field="duration", allowed=allowed)
    usual = {"suspect": "suspect_host", "slow": "slow_host"}.get(asked.target, "injected")
    cause = CAUSE_OF.get(asked.cause or usual)
    if cause is None:
        raise InvalidRequest(f"cause is {asked.cause!r:.80}", field="cause", allowed=", ".join(CAUSE_OF))
    if asked.target in OF_HOSTS:
        return _of_hosts(asking, asked, cause)
    return _of_fabric(asking, asked, cause)


def _of_hosts(asking: Asking, asked: FaultRequest, cause: int) -> tuple[BreakHosts | SlowDown, str]:
    cluster, target, duration_ns = asking.cluster, asked.target, max(1, round(asked.duration_seconds * SECOND))
    word = target.replace("_", " ")
    if asked.flap_seconds or asked.every_seconds:
        raise InvalidRequest(f"a {word} does not flap", field="flap", allowed="with parts of the fabric only")
    if asked.remaining_ratio and (target != "slow" or not is_remaining_ratio(asked.remaining_ratio)):
        raise InvalidRequest(f"a {word} does not break in part", field="remaining_ratio", allowed="0, but of parts of the fabric")
    with not_found("number"):
        if target in units.KINDS:
            kind = units.units(cluster, target, asking.racks_each)
            number = kind.find(asked.name)
            first, end, name = int(kind.first_host[number]), int(kind.end_host[number]), kind.name(number)
            withdraw = target in WITHDRAWN
            does = "is withdrawn, and repaired when its jobs are gone, at the earliest" if withdraw else "fails"
            what = f"{word} {'of ' if target in ('switch_tray', 'backplane') else ''}{name} {does}"
            return BreakHosts(first, end, duration_ns, target, name, cause, Scope.HOST, withdraw=withdraw), what
        gpu = -1
        numbered = parse_numbered(asked.name, "#") if target == "gpu" else None
        host = find_host(cluster, asked.name if numbered is None else numbered[0])
    name = cluster.host_name(host)
    if target == "slow":
        ratio = asked.remaining_ratio or SLOW_RATIO
        return SlowDown(host, host + 1, duration_ns, ratio, "host", name, cause), f"host {name} has {ratio:.0%} of its speed"
    if target == "suspect":
        does = "is withdrawn, and repaired when its jobs are gone, at the earliest"
        return BreakHosts(host, host + 1, duration_ns, "host", name, cause, Scope.HOST, withdraw=True), f"host {name} {does}"
    scope = {"process": Scope.PROCESS, "gpu": Scope.GPU, "host": Scope.HOST}[target]
    if numbered is not None:
        gpu, gpus = numbered[1], cluster.host_types[int(cluster.block_type[int(cluster.block.host_unit[host])])].gpus
        if gpu >= gpus:
            raise NotFound(f"host {name} has no GPU {gpu}", field="number", allowed=f"0 to {gpus - 1}")
        name = f"{name}#{gpu}"
    words = {"process": f"a process on host {name}", "gpu": f"GPU {name}" if numbered else f"a GPU of host {name}", "host": f"host {name}"}
    return BreakHosts(host, host + 1, duration_ns, target, name, cause, scope, gpu), f"{words[target]} fails"


def _of_fabric(asking: Asking, asked: FaultRequest, cause: int) -> tuple[CutLinks, str]:
    if asked.target not in TARGETS:
        raise InvalidRequest(f"target is {asked.target!r:.80}", field="target", allowed=", ".join((*OF_HOSTS, *TARGETS)))
    if not is_remaining_ratio(asked.remaining_ratio):
        raise InvalidRequest(f"remaining_ratio is {asked.remaining_ratio}", field="remaining_ratio", allowed=REMAINING_RULE)
    if asked.flap_seconds or asked.every_seconds:
        down = f"down for {asked.flap_seconds:g} s every {asked.every_seconds:g} s"
        if not 1 / SECOND <= asked.flap_seconds < asked.every_seconds:
            raise InvalidRequest(down, field="flap", allowed="above 0 s, and less than the time from one flap to the next")
        cycle_seconds, longest = asking.cycle_ns / SECOND, LONGEST_NS / SECOND
        if not cycle_seconds <= asked.every_seconds <= longest:
            raise InvalidRequest(down, field="every", allowed=f"{cycle_seconds:g} s, a scheduling cycle, to {longest:g} s")
        if asked.remaining_ratio:
            raise InvalidRequest("a link that flaps is down completely", field="remaining_ratio", allowed="0 where it flaps")
    with not_found("number"):
        what, cuts = cuts_of(asking.cluster, asked.target, asked.name, asked.remaining_ratio)
    duration_ns, flap_ns, every_ns = (round(one * SECOND) for one in (asked.duration_seconds, asked.flap_seconds, asked.every_seconds))
    does = "flaps" if flap_ns else f"keeps {asked.remaining_ratio:.0%} of its capacity" if asked.remaining_ratio else "is down"
    target, _, name = what.partition(" ")
    return CutLinks(cuts, max(1, duration_ns), flap_ns, every_ns, target=target.lower(), name=name, cause=cause), f"{what} {does}"


def fault_views(book: FaultBook) -> list[FaultView]:
    """What is broken now, the oldest first."""
    return [
        FaultView(
            fault_id=fault.number,
            target=fault.target,
            name=fault.name,
            cause=fault.cause,
            since_seconds=fault.since_ns / SECOND,
            until_seconds=None if fault.until_ns == NEVER else fault.until_ns / SECOND,
            takes=fault.takes,
            host_count=len(fault.hosts),
            job_ids=tuple(sorted(fault.job_ids)),
        )
        for fault in book.open.values()
    ]


def faults_called(book: FaultBook, text: str) -> tuple[int, ...]:
    """The faults of this number, or all of what is called so. Raises NotFound."""
    found = tuple(fault.number for fault in book.open.values() if text in (str(fault.number), *(() if text.isdecimal() else (fault.name,))))
    if not found:
        known = [f"{fault.number} ({fault.name})" for fault in book.open.values()]
        more = f" and {len(known) - NAMED:,} more" if len(known) > NAMED else ""
        allowed = f"{', '.join(known[:NAMED])}{more}" if known else "none: nothing is broken"
        raise NotFound(f"no fault {text:.80}", field="name", allowed=allowed)
    return found
