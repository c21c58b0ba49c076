"""Views of the hardware: racks, hosts and trunks by number, by name or page by page, made on request."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import or_

import numpy as np

from emulator.engine.engine import Engine
from emulator.engine.errors import InvalidRequest, NotFound
from emulator.engine.hardware_control import HostState, HostView, LinkView, RackView
from emulator.engine.link_table import LinkTable
from emulator.engine.shards import Readings
from emulator.scheduler.ledger import Withheld
from topology import names
from topology.cluster import TIERS, Int64, Level
from topology.describe import hostlist, link_name, node_name, site_name
from topology.hostlist import HostlistError, expand
from topology.lookup import UnknownName, find_host, find_hosts, find_rack, find_trunk

#: All keep a host from being used for jobs, and look the same from outside.
_CORDONED = (Withheld.CORDONED, Withheld.UNREACHABLE, Withheld.SPARE, Withheld.BURN_IN, Withheld.DRAINED)


@contextmanager
def not_found(field: str) -> Iterator[None]:
    """Inside, an unknown name or number becomes NotFound for ``field`` of the request."""
    try:
        yield
    except UnknownName as error:
        raise NotFound(error.problem, field=field, allowed=error.allowed) from None


def rack_view(engine: Engine, name: str) -> RackView:
    """One rack, by name or number. Raises NotFound."""
    with not_found("name"):
        return rack_views(engine, engine.read(), find_rack(engine.cluster, name) - 1, 1)[0]


def rack_views(engine: Engine, readings: Readings, after: int, limit: int) -> list[RackView]:
    """Racks with a number above ``after``."""
    cluster = engine.cluster
    rack = cluster.level("rack")
    site = cluster.level("site").host_unit
    power = np.concatenate([shard.power_milliwatts for shard in readings.racks])
    busy = np.concatenate([shard.gpus_busy for shard in readings.racks])
    down = np.concatenate([shard.gpus_down for shard in readings.racks])
    ledger = engine.scheduler.ledger
    cordoned, planned = ledger.withheld(*_CORDONED), ledger.withheld(Withheld.PLANNED)
    views = []
    for number in range(after + 1, min(after + 1 + limit, len(rack))):
        start, end = int(rack.first_host[number]), int(rack.first_host[number + 1])
        views.append(
            RackView(
                rack=number,
                name=names.rack(number),
                site=site_name(cluster, int(site[start])),
                gpus=ledger.gpus_of(range(start, end)),
                gpus_busy=int(busy[number]),
                gpus_down=int(down[number]),
                cordoned=any(host in cordoned for host in range(start, end)),
                gpu_model=cluster.host_types[ledger.block_type[ledger.host_block[start]]].gpu.name,
                in_service=start not in planned,
                power_watts=float(power[number]) / 1e3,
                reserved=_reserved(engine, range(start, end)),
            )
        )
    return views


def _reserved(engine: Engine, hosts: range) -> str:
    """For what hosts of a rack are reserved now."""
    calendar = engine.scheduler.reserved.calendar
    if calendar is None or not calendar.open:
        return ""
    windows = [window for window in calendar.open.values() if any(host in hosts for host in calendar.reservations[window.number].hosts)]
    return "; ".join(window.told(calendar.reservations[window.number]) for window in sorted(windows))


def host_view(engine: Engine, name: str) -> HostView:
    """One host, by name or number. Raises NotFound."""
    with not_found("name"):
        return _host_views(engine, [find_host(engine.cluster, name)])[0]


def host_views(
    engine: Engine, after: int, limit: int, *, listed: str = "", rack: str = "", states: frozenset[HostState] = frozenset()
) -> tuple[list[HostView], int]:
    """Hosts with a number above ``after``, and how many there are in all: those of the hostlist ``listed``, in a rack (name or number), in
    one of ``states``, where these are given. Raises NotFound, and InvalidRequest for what is no hostlist."""
    wanted: Sequence[int] = range(engine.cluster.host_count)
    if rack:
        with not_found("rack"):
            first_host, number = engine.cluster.level("rack").first_host, find_rack(engine.cluster, rack)
        wanted = range(int(first_host[number]), int(first_host[number + 1]))
    if listed:
        named = _listed(engine, listed)
        wanted = [host for host in wanted if host in named]
    if states:
        wanted = [host for host in wanted if host_state(engine, host) in states]
    first = bisect_right(wanted, after)
    return _host_views(engine, wanted[first : first + limit]), len(wanted)


def _listed(engine: Engine, text: str) -> set[int]:
    """The hosts of a hostlist, or the one host of this name. Raises NotFound and InvalidRequest."""
    cluster = engine.cluster
    with not_found("names"):
        try:
            found = expand(text, cluster.host_count)
        except HostlistError as error:
            try:
                return {find_host(cluster, text)}
            except UnknownName:
                raise InvalidRequest(
                    f"{text:.80}: {error}",
                    field="names",
                    allowed=f"a hostlist such as {hostlist(cluster, range(min(4, cluster.host_count)))}",
                ) from None
        return set(find_hosts(cluster, found))


def _host_views(engine: Engine, hosts: Iterable[int]) -> list[HostView]:
    """These hosts, in this order."""
    ledger, cluster, table, draw = engine.scheduler.ledger, engine.cluster, engine.table, engine.runs.draw
    rack, site = cluster.level("rack"), cluster.level("site")
    views = []
    for host in hosts:
        block = ledger.host_block[host]
        bit, host_type, state = (
            1 << (host - ledger.first_host[block]),
            cluster.host_types[ledger.block_type[block]],
            host_state(engine, host),
        )
        slots = ledger.jobs_on(host)
        held = [(slot, row[2]) for slot in slots for row in table.rows[slot] if row[0] == block and row[1] & bit]
        busy = reduce(or_, (gpus for _, gpus in held), 0).bit_count()
        milliwatts = sum(draw[slot] * gpus.bit_count() for slot, gpus in held)  # also of a broken one, where a job hangs or goes on
        if state != HostState.PLANNED and host not in engine.host_faults.dark:
            milliwatts += engine.racks.idle_milliwatts(host)
        views.append(
            HostView(
                host=host,
                name=cluster.host_name(host),
                rack=names.rack(_unit(rack, host)),
                site=site_name(cluster, _unit(site, host)),
                host_type=host_type.name,
                gpu_model=host_type.gpu.name,
                gpus=host_type.gpus,
                gpus_busy=busy,
                state=state,
                job_ids=tuple(sorted(table.job_id[slot] for slot in slots)),
                power_watts=milliwatts / 1e3,
            )
        )
    return views


def host_state(engine: Engine, host: int) -> HostState:
    """Planned, down, in maintenance, reserved or cordoned, whichever applies first; otherwise healthy."""
    reasons = engine.scheduler.ledger.reasons_of(host)
    if Withheld.PLANNED in reasons:
        return HostState.PLANNED
    if Withheld.DOWN in reasons:
        return HostState.DOWN
    if Withheld.MAINTENANCE in reasons:
        return HostState.MAINTENANCE
    if Withheld.RESERVED in reasons:
        return HostState.RESERVED
    return HostState.CORDONED if reasons else HostState.HEALTHY


def _unit(level: Level, host: int) -> int:
    return int(level.first_host.searchsorted(np.int32(host), side="right")) - 1


def link_views(engine: Engine, after: int, limit: int, tier: str, *, unhealthy: bool = False, busiest: bool = False) -> list[LinkView]:
    """Trunks with a number above ``after``, of one tier where that is named. The load of a trunk is the larger of its two directions.

    ``unhealthy``: only those that have not all of their capacity. ``busiest``: the fullest first, from place ``after`` + 1 in that order.
    """
    links, table = engine.cluster.links, engine.read_links()
    wanted = _wanted_links(engine, table, tier, unhealthy=unhealthy)
    if busiest:
        load = table.load_bytes_per_second.max(axis=1) / links.bytes_per_second
        wanted = wanted[np.argsort(-load[wanted], kind="stable")][after + 1 :]
    else:
        wanted = wanted[wanted > after]
    return [_link_view(engine, table, number) for number in wanted[:limit].tolist()]


def link_view(engine: Engine, name: str) -> LinkView:
    """One trunk, by name or number. Raises NotFound."""
    with not_found("name"):
        return _link_view(engine, engine.read_links(), find_trunk(engine.cluster, name))


def link_count(engine: Engine, tier: str, *, unhealthy: bool) -> int:
    """How many trunks ``link_views`` shows in all."""
    return len(_wanted_links(engine, engine.read_links(), tier, unhealthy=unhealthy))


def _wanted_links(engine: Engine, table: LinkTable, tier: str, *, unhealthy: bool) -> Int64:
    wanted = np.arange(len(engine.cluster.links))
    if tier:
        wanted = wanted[engine.cluster.links.tier[wanted] == TIERS.index(tier)]
    return wanted[table.healthy_ratio[wanted] < 1.0] if unhealthy else wanted


def _link_view(engine: Engine, table: LinkTable, number: int) -> LinkView:
    links = engine.cluster.links
    capacity = float(links.bytes_per_second[number])
    return LinkView(
        link=number,
        name=link_name(engine.cluster, number),
        tier=TIERS[links.tier[number]],
        lower=node_name(engine.cluster, int(links.u[number])),
        upper=node_name(engine.cluster, int(links.v[number])),
        lanes=int(links.lanes[number]),
        bytes_per_second=capacity,
        utilization_ratio=float(table.load_bytes_per_second[number].max()) / capacity,
        healthy_ratio=float(table.healthy_ratio[number]),
        carried_up_bytes=float(table.carried_bytes[number, 0]),
        carried_down_bytes=float(table.carried_bytes[number, 1]),
        peak_demand_ratio=float(table.peak_demand_bytes_per_second[number]) / capacity,
        downs=int(table.downs[number]),
        down_seconds=float(table.down_seconds[number]),
    )
