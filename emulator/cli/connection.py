"""Calls to a running emulation; errors in its answers become exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.errors import CommandError, Exit, wrong
from emulator.cli.ports import ENVIRONMENT, api_address

if TYPE_CHECKING:
    from emulator.service.client import Client

ApiOption = Annotated[
    str | None,
    typer.Option("--api", metavar="HOST:PORT", help=f"Where the emulation listens; default: {ENVIRONMENT}, or 127.0.0.1:7070."),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Give up after this time, with exit code 5.")]
TIMEOUT_SECONDS = 10.0
_LONGEST_TIMEOUT_SECONDS = 1e6


@contextmanager
def connected(api: str | None, timeout_seconds: float) -> Iterator["Client"]:
    """A client of the emulation at ``api``. Inside, a failed call is a CommandError: 2 wrong, 3 not found, 4 infeasible, 5 too late."""
    if not timeout_seconds <= _LONGEST_TIMEOUT_SECONDS:  # NaN too
        raise wrong("--timeout", timeout_seconds, "is no time to wait", f"0.001 to {_LONGEST_TIMEOUT_SECONDS:,.0f} seconds")
    address = api_address(api)
    from emulator.engine.errors import InvalidRequest
    from emulator.service.client import Client, ClientError

    try:
        with Client(address, timeout_seconds=timeout_seconds) as client:
            yield client
    except ClientError as error:
        raise CommandError(str(error), Exit(error.exit_code)) from error
    except InvalidRequest as error:
        raise CommandError(f"{error}; allowed: {error.allowed}") from error
