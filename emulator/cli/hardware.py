"""``gigawatt cluster``, ``rack``, ``host`` and ``link``: the hardware of a running emulation."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, LimitOption, show_listing, show_one

clusters = typer.Typer(help="The cluster of a running emulation.", no_args_is_help=True)
racks = typer.Typer(help="Racks of a running emulation.", no_args_is_help=True)
hosts = typer.Typer(help="Hosts (servers or compute trays) of a running emulation.", no_args_is_help=True)
links = typer.Typer(
    help="The fabric of a running emulation, by trunks: all cables between the same two nodes, of which there may be one.",
    no_args_is_help=True,
)

RackArgument = Annotated[str, typer.Argument(metavar="RACK", help="The rack's name or number, e.g. r00012.")]
HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="The host's name or number, e.g. r00012-h03.")]
TrunkArgument = Annotated[str, typer.Argument(metavar="TRUNK", help="The trunk's name or number, as `link list` prints them.")]


class HostStates(StrEnum):
    """What ``--state`` takes, by the names of `engine.hardware_control.HostState`, which is not imported for ``--help``."""

    HEALTHY = "healthy"
    DOWN = "down"
    CORDONED = "cordoned"
    PLANNED = "planned"
    MAINTENANCE = "maintenance"
    RESERVED = "reserved"


@clusters.callback()
def root() -> None:
    """Makes typer expect the word ``show`` although it is the only command."""


@clusters.command("show")
def show(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Show the whole cluster as it stands: GPUs by state, hosts, racks, switches, cables and trunks, power."""
    with connected(api, timeout) as client:
        cluster = asdict(client.cluster())
        counts = {"links": cluster.pop("links"), "trunks": cluster.pop("trunks")}
        show_one(cluster | counts, output, {"links": "cables"})


@racks.command("list")
def list_racks(
    limit: LimitOption = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """List racks by number."""
    columns = {
        "rack": "RACK",
        "name": "NAME",
        "site": "SITE",
        "gpu_model": "MODEL",
        "gpus": "GPUS",
        "gpus_busy": "BUSY",
        "gpus_down": "DOWN",
    }
    columns |= {"cordoned": "CORDONED", "power_watts": "WATTS"}
    with connected(api, timeout) as client:
        show_listing(lambda most: client.racks(limit=most), limit, columns, output)


@racks.command("get")
def get_rack(
    rack: RackArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """Show one rack."""
    with connected(api, timeout) as client:
        show_one(asdict(client.rack(rack)), output)


@racks.command("cordon")
def cordon(
    rack: RackArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """Keep new jobs off a rack; jobs that run there stay."""
    with connected(api, timeout) as client:
        show_one(asdict(client.cordon(rack, cordoned=True)), output)


@racks.command("uncordon")
def uncordon(
    rack: RackArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """Let new jobs back on a rack."""
    with connected(api, timeout) as client:
        show_one(asdict(client.cordon(rack, cordoned=False)), output)


@hosts.command("list")
def list_hosts(
    names: Annotated[
        str, typer.Argument(metavar="[HOSTS]", help="Only these hosts: a hostlist as `job get` prints it, e.g. r[00012-00014]-h[00-07].")
    ] = "",
    *,
    rack: Annotated[str, typer.Option("--rack", metavar="RACK", help="Only the hosts of this rack (name or number).")] = "",
    state: Annotated[list[HostStates] | None, typer.Option("--state", help="Only hosts in this state; may be repeated.")] = None,
    limit: LimitOption = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """List hosts by number, with the jobs that hold their GPUs."""
    from emulator.engine.hardware_control import HostState

    columns = {"host": "HOST", "name": "NAME", "rack": "RACK", "gpu_model": "MODEL", "gpus": "GPUS", "gpus_busy": "BUSY"}
    columns |= {"state": "STATE", "power_watts": "WATTS", "job_ids": "JOBS"}
    states = frozenset(HostState(str(one)) for one in state or ())
    with connected(api, timeout) as client:
        show_listing(lambda most: client.hosts(names=names, rack=rack, states=states, limit=most), limit, columns, output)


@hosts.command("get")
def get_host(
    host: HostArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """Show one host."""
    with connected(api, timeout) as client:
        show_one(asdict(client.host(host)), output)


@links.command("list")
def list_links(
    *,
    tier: Annotated[
        str, typer.Option("--tier", help="Only this tier: host_leaf, leaf_spine, spine_core, inter_building, wan, local or global.")
    ] = "",
    down: Annotated[bool, typer.Option("--down", help="Only trunks that have lost some or all of their capacity.")] = False,
    busiest: Annotated[bool, typer.Option("--busiest", help="The most loaded trunks first.")] = False,
    limit: LimitOption = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """List trunks by number; LOAD and HEALTHY are parts of the capacity, DOWNS counts faults and DOWN FOR their seconds."""
    columns = {"link": "TRUNK", "name": "NAME", "tier": "TIER", "lanes": "CABLES", "bytes_per_second": "BYTES/S"}
    columns |= {"utilization_ratio": "LOAD", "healthy_ratio": "HEALTHY", "downs": "DOWNS", "down_seconds": "DOWN FOR"}
    with connected(api, timeout) as client:
        show_listing(lambda most: client.links(limit=most, tier=tier, unhealthy=down, busiest=busiest), limit, columns, output)


@links.command("get")
def get_link(
    trunk: TrunkArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """Show one trunk."""
    with connected(api, timeout) as client:
        show_one(asdict(client.link(trunk)), output, {"link": "trunk", "lanes": "cables"})
