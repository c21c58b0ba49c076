"""``gigawatt fault``: break something in a running emulation, see what is broken, and mend it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.errors import CommandError, wrong
from emulator.cli.output import Format, FormatOption, LimitOption, show_listing
from emulator.cli.values import duration_ns
from topology.hostlist import HostlistError, expand

if TYPE_CHECKING:
    from emulator.service.client import Client

#: Racks of one command.
_MOST_RACKS = 10_000

app = typer.Typer(help="Break something in a running emulation, see what is broken, mend it.", no_args_is_help=True)


class Target(StrEnum):
    """What ``--target`` takes: the targets of `engine.fault_control.FaultRequest`, with hyphens."""

    PROCESS = "process"
    GPU = "gpu"
    HOST = "host"
    TRAY = "tray"
    SUSPECT = "suspect"
    SLOW = "slow"
    RACK = "rack"
    LEAF = "leaf"
    COOLING_UNIT = "cooling-unit"
    POWER_FEED = "power-feed"
    SWITCH_TRAY = "switch-tray"
    BACKPLANE = "backplane"
    LINK = "link"
    TRUNK = "trunk"
    CABLE = "cable"
    SWITCH = "switch"
    PLANE = "plane"
    NIC = "nic"


#: The parts of the fabric.
_FABRIC = (Target.LINK, Target.TRUNK, Target.CABLE, Target.SWITCH, Target.PLANE, Target.NIC)
#: What a hostlist may name several of, by hosts.
_BY_HOST = (Target.PROCESS, Target.GPU, Target.HOST, Target.TRAY, Target.SUSPECT, Target.SLOW)
_COLUMNS = {
    "fault_id": "ID",
    "target": "WHAT",
    "name": "NAME",
    "cause": "CAUSE",
    "since_seconds": "SINCE",
    "until_seconds": "UNTIL",
    "takes": "TAKES",
    "job_ids": "JOBS",
}


@app.command("inject")
def inject(
    target: Annotated[Target, typer.Argument(help="What to break. A link is a trunk, or a single cable if NAME names one.")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|NUMBER",
            help="Which one: a number, or a name as tables print it (r00012-h03, leaf-00003/spine-00001, r00012-h03:4; r00012-h03#5, a "
            "GPU; feed-00003). For hosts and racks also a hostlist.",
        ),
    ],
    *,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="Emulated time until it is repaired.")] = "1h",
    remaining: Annotated[
        float,
        typer.Option(
            "--remaining", help="Share of its capacity that a part of the fabric keeps, or of its speed a slow host: 0, or 0.001 up to 1."
        ),
    ] = 0.0,
    flap: Annotated[
        str | None, typer.Option("--flap", metavar="TIME", help="Make a part of the fabric flap: how long it is down each time.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="TIME", help="With --flap: time from one flap to the next.")] = None,
    cause: Annotated[str, typer.Option("--cause", help="Why, by a name of docs/faults.md, such as gpu_hbm3_memory.")] = "",
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Break a process, a GPU, a host, hosts that have something in common, or a part of the fabric, for a while."""
    from emulator.engine.bounds import REMAINING_RULE, is_remaining_ratio

    if not name.strip():
        raise CommandError(f"NAME is empty; allowed: the number or the name of a {target}")
    seconds = duration_ns("--for", duration) / 1e9
    if not is_remaining_ratio(remaining):
        raise wrong("--remaining", remaining, "is not a share that can be left", REMAINING_RULE)
    whole = target not in _FABRIC
    if remaining and whole and target is not Target.SLOW:
        raise CommandError(f"--remaining: a {target} cannot break in part; allowed: only with link, trunk, cable, switch, plane or nic")
    if (flap is None) != (every is None):
        raise CommandError("--flap and --every are needed together; allowed: for example --flap 2s --every 30s, down for 2 s every 30 s")
    if flap is not None and (whole or remaining):
        raise CommandError(
            "--flap: only a part of the fabric flaps, and then it is wholly down; allowed: with link, trunk, cable, switch, plane or nic, "
            "and without --remaining"
        )
    with connected(api, timeout) as client:
        for one in _listed(client, target, name):
            print(
                client.inject_fault(
                    target="host" if target is Target.TRAY else target.replace("-", "_"),
                    name=one,
                    duration_seconds=seconds,
                    remaining_ratio=remaining,
                    flap_seconds=duration_ns("--flap", flap) / 1e9 if flap else 0.0,
                    every_seconds=duration_ns("--every", every) / 1e9 if every else 0.0,
                    cause=cause,
                )
            )


def _listed(client: "Client", target: Target, text: str) -> list[str]:
    """What to break, one by one: the hosts or racks of a hostlist, all of which must exist, or the one thing of this name."""
    if target not in (*_BY_HOST, Target.RACK) or not set(text) & set("[,"):
        return [text]
    if target in _BY_HOST:
        return [host.name for host in client.hosts(names=text)]
    try:
        return [client.rack(name).name for name in expand(text, _MOST_RACKS)]
    except HostlistError as error:
        raise CommandError(f"NAME: {error}; allowed: a name, a number or a hostlist such as r[00012-00014]") from error


@app.command("list")
def list_faults(
    *,
    limit: LimitOption = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """What is broken now, the oldest first."""
    with connected(api, timeout) as client:
        show_listing(lambda most: client.faults(limit=most), limit, _COLUMNS, output)


@app.command("clear")
def clear(
    name: Annotated[str, typer.Argument(metavar="ID|NAME", help="The number of a fault, or the name of what is broken.")],
    *,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Mend what is broken, before its time."""
    if not name.strip():
        raise CommandError("ID|NAME is empty; allowed: a number or a name that `gigawatt fault list` shows")
    with connected(api, timeout) as client:
        print(client.clear_fault(name))
