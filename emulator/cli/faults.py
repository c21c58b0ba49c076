"""``gigawatt fault``: break something in a running emulation."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.errors import CommandError, wrong
from emulator.cli.values import duration_ns
from topology.hostlist import HostlistError, expand

if TYPE_CHECKING:
    from emulator.service.client import Client

#: Racks of one command.
_MOST_RACKS = 10_000

app = typer.Typer(help="Break something in a running emulation.", no_args_is_help=True)


class Target(StrEnum):
    """What ``--target`` takes: the targets of `engine.control.FaultRequest`."""

    HOST = "host"
    RACK = "rack"
    LINK = "link"
    TRUNK = "trunk"
    CABLE = "cable"
    SWITCH = "switch"
    PLANE = "plane"
    NIC = "nic"


@app.callback()
def root() -> None:
    """Makes typer expect the word ``inject`` although it is the only command."""


@app.command("inject")
def inject(
    target: Annotated[Target, typer.Argument(help="What to break. A link is a trunk, or a single cable if NAME names one.")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|NUMBER",
            help="Which one: a number, or a name as tables print it (r00012-h03, leaf-00003/spine-00001, r00012-h03:4). For hosts "
            "and racks also a hostlist.",
        ),
    ],
    *,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="Emulated time until it is repaired.")] = "1h",
    remaining: Annotated[
        float, typer.Option("--remaining", help="Share of its capacity that a part of the fabric keeps: 0, or 0.001 up to 1.")
    ] = 0.0,
    flap: Annotated[
        str | None, typer.Option("--flap", metavar="TIME", help="Make a part of the fabric flap: how long it is down each time.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="TIME", help="With --flap: time from one flap to the next.")] = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Break a host, a rack, or a part of the fabric (a trunk, cable, switch, plane or nic) for a while."""
    from emulator.engine.bounds import REMAINING_RULE, is_remaining_ratio

    if not name.strip():
        raise CommandError(f"NAME is empty; allowed: the number or the name of a {target}")
    seconds = duration_ns("--for", duration) / 1e9
    if not is_remaining_ratio(remaining):
        raise wrong("--remaining", remaining, "is not a share that can be left", REMAINING_RULE)
    whole = target in (Target.HOST, Target.RACK)
    if remaining and whole:
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
                    target=str(target),
                    name=one,
                    duration_seconds=seconds,
                    remaining_ratio=remaining,
                    flap_seconds=duration_ns("--flap", flap) / 1e9 if flap else 0.0,
                    every_seconds=duration_ns("--every", every) / 1e9 if every else 0.0,
                )
            )


def _listed(client: "Client", target: Target, text: str) -> list[str]:
    """What to break, one by one: the hosts or racks of a hostlist, all of which must exist, or the one thing of this name."""
    if target not in (Target.HOST, Target.RACK) or not set(text) & set("[,"):
        return [text]
    if target is Target.HOST:
        return [host.name for host in client.hosts(names=text)]
    try:
        return [client.rack(name).name for name in expand(text, _MOST_RACKS)]
    except HostlistError as error:
        raise CommandError(f"NAME: {error}; allowed: a name, a number or a hostlist such as r[00012-00014]") from error
