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


@app.callback()
def root() -> None:
    """Keeps ``inject`` a word of its own while it is the only one."""


@app.command("inject")
def inject(
    target: Annotated[Target, typer.Argument(help="What to break.")],
    number: Annotated[int, typer.Argument(min=0, help="Its number.")],
    *,
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="Emulated time until it is repaired.")] = "1h",
    remaining: Annotated[float, typer.Option("--remaining", min=0.0, max=1.0, help="Share of its capacity that a link keeps.")] = 0.0,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Break a host, a rack or a link for a while."""
    seconds = duration_ns("--for", duration) / 1e9
    if remaining and target is not Target.LINK:
        raise CommandError(f"--remaining: a {target} breaks wholly; allowed: with link only")
    with connected(api, timeout) as client:
        print(client.inject_fault(target=str(target), number=number, duration_seconds=seconds, remaining_ratio=remaining))
