"""The hosts that a scenario reserves, on its cluster."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from emulator.scenario.load import ScenarioError
from emulator.scenario.models import Scenario
from emulator.scenario.reservations import ReservationSettings
from emulator.scheduler.calendar import HostReservation, Running, Window, windows_of
from emulator.workload.gpu_models import matching
from emulator.workload.gpu_models import names as gpu_names
from topology import names
from topology.cluster import Cluster
from topology.describe import hostlist
from topology.hostlist import HostlistError, expand
from topology.lookup import UnknownName, find_hosts

#: All hosts of the cluster.
ALL_HOSTS = "all"


class RefusedReservation(ValueError):
    """``field`` of a reservation is wrong."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def build_reservations(scenario: Scenario, cluster: Cluster) -> tuple[HostReservation, ...]:
    """Raises ScenarioError naming the field: for hosts and queues that are not there, and for two that keep one host at one time."""
    found: list[HostReservation] = []
    kept: list[list[Window]] = []
    queues, cycle_ns = [queue.name for queue in scenario.scheduler.queues], scenario.clock.cycle
    for number, settings in enumerate(scenario.scheduler.reservations):
        try:
            reservation = resolve(settings, queues, cluster, found, kept, cycle_ns)
        except RefusedReservation as error:
            raise ScenarioError(f"scenario {scenario.name}: scheduler.reservations.{number}.{error.field}: {error}") from None
        found.append(reservation)
        kept.append(list(windows_of(number, reservation, cycle_ns)))
    return tuple(found)


def resolve(
    settings: ReservationSettings,
    queues: Sequence[str],
    cluster: Cluster,
    found: Sequence[HostReservation],
    kept: Sequence[list[Window]],
    cycle_ns: int,
) -> HostReservation:
    """The reservation on the cluster, beside those of ``found`` with their windows. Raises RefusedReservation."""
    if any(settings.name == other.name for other in found):
        raise RefusedReservation("name", f"there are two of the name {settings.name!r:.80}; allowed: different names")
    for queue in settings.queues:
        if queue not in queues:
            raise RefusedReservation("queues", f"there is no queue {queue!r:.80}; allowed: {', '.join(queues)}")
    made = HostReservation(
        name=settings.name,
        hosts=(),
        called="",
        begin_ns=settings.start,
        duration_ns=settings.duration,
        every_ns=settings.every or 0,
        times=settings.times or 1,
        maintenance=settings.maintenance,
        queues=frozenset(settings.queues),
        tenants=frozenset(settings.tenants),
        running=Running(settings.running),
    )
    if isinstance(settings.hosts, int):
        windows = list(windows_of(len(found), made, cycle_ns))
        busy = {host for other, theirs in zip(found, kept, strict=True) if _overlap(windows, theirs) for host in other.hosts}
        hosts = _so_many(settings.hosts, settings.gpu_type, cluster, busy)
        called = "1 host" if len(hosts) == 1 else f"{len(hosts):,} hosts"
    else:
        hosts = sorted({host for text in settings.hosts for host in _named(cluster, text)})
        called = ", ".join(_called(cluster, text) for text in settings.hosts[:3]) + (" and others" if len(settings.hosts) > 3 else "")
    reservation = replace(made, hosts=tuple(hosts), called=called)
    _check_apart(reservation, list(windows_of(len(found), reservation, cycle_ns)), found, kept, cluster)
    return reservation


def _so_many(count: int, gpu_type: str | None, cluster: Cluster, busy: set[int]) -> list[int]:
    """The last hosts of the type by number that no other reservation keeps at one of the times: placements fill the first ones first."""
    types = set(range(len(cluster.host_types)) if gpu_type is None else matching(cluster.host_types, gpu_type))
    if not types:
        allowed = ", ".join(gpu_names(cluster.host_types))
        raise RefusedReservation("gpu_type", f"{gpu_type!r:.80} is no GPU type of this cluster; allowed: {allowed}")
    host_type = cluster.block_type[cluster.block.host_unit].tolist()
    hosts = [host for host in range(cluster.host_count) if host_type[host] in types and host not in busy]
    if len(hosts) < count:
        raise RefusedReservation(
            "hosts", f"{count:,} hosts are not to be had; allowed: up to {len(hosts):,}, those that nothing else keeps then"
        )
    return hosts[-count:]


def _named(cluster: Cluster, text: str) -> list[int]:
    """The hosts that a name means: all, a rack, a pod, or a hostlist."""
    if text == ALL_HOSTS:
        return list(range(cluster.host_count))
    level, number = _unit(cluster, text)
    if level:
        first = cluster.level(level).first_host
        return list(range(int(first[number]), int(first[number + 1])))
    try:
        return find_hosts(cluster, expand(text, cluster.host_count))
    except (HostlistError, UnknownName) as error:
        racks = f"a rack ({names.rack(0)} to {names.rack(len(cluster.level('rack')) - 1)})"
        pods = f", a pod (from {names.pod(0)})" if any(level.name == "pod" for level in cluster.levels) else ""
        some = hostlist(cluster, range(min(4, cluster.host_count)))
        problem = error.problem if isinstance(error, UnknownName) else str(error)
        raise RefusedReservation("hosts", f"{text!r:.80}: {problem}; allowed: all, {racks}{pods}, or a hostlist ({some})") from None


def _called(cluster: Cluster, text: str) -> str:
    if text == ALL_HOSTS:
        return "all hosts"
    level, _ = _unit(cluster, text)
    return f"{level} {text}" if level else f"{'hosts' if '[' in text or ',' in text else 'host'} {text:.80}"


def _unit(cluster: Cluster, text: str) -> tuple[str, int]:
    """The level and number of a rack or pod of this name; "" where there is none."""
    rack = names.parse_rack(text)
    if 0 <= rack < len(cluster.level("rack")):
        return "rack", rack
    pods = next((len(level) for level in cluster.levels if level.name == "pod"), 0)
    pod = names.whole_number(text.removeprefix("p")) if text.startswith("p") else -1
    return ("pod", pod) if 0 <= pod < pods and names.pod(pod) == text else ("", -1)


def _check_apart(
    reservation: HostReservation, windows: list[Window], found: Sequence[HostReservation], kept: Sequence[list[Window]], cluster: Cluster
) -> None:
    for one, other in pairwise(windows):
        if one.end_ns > other.begin_ns:
            raise RefusedReservation("every", "in whole cycles, one time begins before the last has ended; allowed: longer, or 1 time")
    mine = frozenset(reservation.hosts)
    for other_reservation, theirs in zip(found, kept, strict=True):
        common = mine.intersection(other_reservation.hosts)
        if common and (overlap := _overlap(windows, theirs)) is not None:
            host = cluster.host_name(min(common))
            told = overlap.told(other_reservation)
            raise RefusedReservation("start", f"host {host} is kept at that time already, by {told}; allowed: another time, or other hosts")


def _overlap(windows: Sequence[Window], others: Sequence[Window]) -> Window | None:
    """The first of ``others``, which are in order, that overlaps one of ``windows``, which are too."""
    place = 0
    for other in others:
        while place < len(windows) and windows[place].end_ns <= other.begin_ns:
            place += 1
        if place < len(windows) and windows[place].begin_ns < other.end_ns:
            return other
    return None
