"""``gigawatt rack`` and ``gigawatt link``: the hardware of a running emulation."""

from dataclasses import asdict
from typing import Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_one, show_rows

racks = typer.Typer(help="Racks of a running emulation.", no_args_is_help=True)
links = typer.Typer(help="Links of a running emulation's fabric.", no_args_is_help=True)

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000_000, help="At most so many.")]
RackArgument = Annotated[int, typer.Argument(metavar="RACK", min=0, help="The rack's number.")]
_LIMIT = 100


@racks.command("list")
def list_racks(
    limit: LimitOption = _LIMIT,
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
        show_rows([asdict(rack) for rack in client.racks(limit=limit)], columns, output)


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


@links.callback()
def root() -> None:
    """Keeps ``list`` a word of its own while it is the only one."""


@links.command("list")
def list_links(
    *,
    tier: Annotated[
        str, typer.Option("--tier", help="Only this tier: host_leaf, leaf_spine, spine_core, inter_building, wan, local or global.")
    ] = "",
    down: Annotated[bool, typer.Option("--down", help="Only links that have not all of their capacity.")] = False,
    busiest: Annotated[bool, typer.Option("--busiest", help="The fullest first.")] = False,
    limit: LimitOption = _LIMIT,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """List links by number; LOAD and HEALTHY are parts of the capacity, DOWNS counts faults and DOWN FOR their seconds."""
    columns = {"link": "LINK", "name": "NAME", "tier": "TIER", "lanes": "LANES", "bytes_per_second": "BYTES/S"}
    columns |= {"utilization_ratio": "LOAD", "healthy_ratio": "HEALTHY", "downs": "DOWNS", "down_seconds": "DOWN FOR"}
    with connected(api, timeout) as client:
        rows = client.links(limit=limit, tier=tier, unhealthy=down, busiest=busiest)
        show_rows([asdict(link) for link in rows], columns, output)
