"""Calls to a running emulation, with its answers' errors as exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.errors import CommandError, Exit
from emulator.cli.ports import ENVIRONMENT, api_address

if TYPE_CHECKING:
    from emulator.service.client import Client

ApiOption = Annotated[
    str | None,
    typer.Option("--api", metavar="HOST:PORT", help=f"Where the emulation listens; default: {ENVIRONMENT}, or 127.0.0.1:7070."),
]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Give up (exit 5) after this long.")]
TIMEOUT_SECONDS = 10.0


@contextmanager
def connected(api: str | None, timeout_seconds: float) -> Iterator["Client"]:
    """A client of the emulation at ``api``. Inside, refusals become CommandError: 2 wrong, 3 not found, 4 infeasible, 5 too late."""
    address = api_address(api)
    import grpc

    from emulator.engine.control import ControlError
    from emulator.service.client import Client

    try:
        with Client(address, timeout_seconds=timeout_seconds) as client:
            yield client
    except ControlError as error:
        raise CommandError(refusal(error), exit_code(error)) from error
    except grpc.RpcError as error:
        raise lost(error, address, timeout_seconds) from error


def refusal(error: Exception) -> str:
    """A refusal in one sentence: the field, what is wrong, what is allowed, when to try again."""
    field, allowed = getattr(error, "field", ""), getattr(error, "allowed", "")
    retry = getattr(error, "retry_seconds", 0.0)
    message = str(error)
    return (
        (f"{field}: " if field and field not in message else "")
        + message
        + (f"; allowed: {allowed}" if allowed and allowed not in message else "")
        + (f"; try again in {retry:g} s" if retry else "")
    )


def exit_code(error: Exception) -> Exit:
    from emulator.engine.control import InvalidRequest, NeverFits, NotFound

    for kind, code in ((InvalidRequest, Exit.USAGE), (NotFound, Exit.NOT_FOUND), (NeverFits, Exit.INFEASIBLE)):
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def lost(error: Exception, address: str, timeout_seconds: float) -> CommandError:
    """What a failed call without an answer means for whoever typed the command."""
    import grpc

    code = error.code() if isinstance(error, grpc.Call) else None
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CommandError(f"{address} did not answer within {timeout_seconds:g} s; allowed: a larger --timeout", Exit.DEADLINE)
    if code is grpc.StatusCode.UNAVAILABLE:
        return CommandError(
            f"nothing answers at {address}; start one with gigawatt up, or name it with --api or {ENVIRONMENT}", Exit.FAILED
        )
    details = error.details() if isinstance(error, grpc.Call) else str(error)
    return CommandError(f"{address}: {code.name.lower() if code else 'call failed'}: {details}", Exit.FAILED)
