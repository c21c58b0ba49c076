"""``gigawatt fault``: break something in a running emulation."""

from enum import StrEnum
from typing import Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.errors import CommandError
from emulator.cli.values import duration_ns

app = typer.Typer(help="Break something in a running emulation.", no_args_is_help=True)


class Target(StrEnum):
    HOST = "host"
    RACK = "rack"
    LINK = "link"
    CABLE = "cable"
    SWITCH = "switch"
    PLANE = "plane"
    NIC = "nic"


@app.callback()
def root() -> None:
    """Keeps ``inject`` a word of its own while it is the only one."""


@app.command("inject")
def inject(
    target: Annotated[Target, typer.Argument(help="What to break.")],
    name: Annotated[str, typer.Argument(metavar="NAME|NUMBER", help="Which: a number, or a name like spine-00003/1 or r00012-h03:4.")],
    *,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="Emulated time until it is repaired.")] = "1h",
    remaining: Annotated[
        float, typer.Option("--remaining", min=0.0, max=1.0, help="Share of its capacity that a part of the fabric keeps.")
    ] = 0.0,
    flap: Annotated[
        str | None, typer.Option("--flap", metavar="TIME", help="Let a part of the fabric flap: down for so long, --every so often.")
    ] = None,
    every: Annotated[str | None, typer.Option("--every", metavar="TIME", help="Time from one flap to the next.")] = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Break a host, a rack, or a part of the fabric (a link, cable, switch, plane or nic) for a while."""
    if not name.strip():
        raise CommandError(f"NAME is empty; allowed: the number or the name of a {target}")
    seconds = duration_ns("--for", duration) / 1e9
    whole = target in (Target.HOST, Target.RACK)
    if remaining and whole:
        raise CommandError(f"--remaining: a {target} breaks wholly; allowed: with link, cable, switch, plane or nic only")
    if (flap is None) != (every is None):
        raise CommandError("--flap and --every go together: down for how long, and how often; e.g. --flap 2s --every 30s")
    if flap is not None and (whole or remaining):
        raise CommandError("--flap: it is down or up; allowed: with link, cable, switch, plane or nic, and without --remaining")
    if whole and not name.isdecimal():
        raise CommandError(f"{name!r:.80} is not the number of a {target}; allowed: 0 or more")
    number = int(name) if name.isdecimal() and len(name) < 10 else 0
    with connected(api, timeout) as client:
        print(
            client.inject_fault(
                target=str(target),
                number=number,
                name="" if name == str(number) else name,
                duration_seconds=seconds,
                remaining_ratio=remaining,
                flap_seconds=duration_ns("--flap", flap) / 1e9 if flap else 0.0,
                every_seconds=duration_ns("--every", every) / 1e9 if every else 0.0,
            )
        )
