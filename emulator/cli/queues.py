"""``gigawatt queue``: the queues of a running emulation."""

from dataclasses import asdict
from typing import Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_one, show_rows

app = typer.Typer(help="Queues of a running emulation.", no_args_is_help=True)


@app.command("list")
def list_queues(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """List queues with their pending and running jobs."""
    columns = {
        "name": "QUEUE",
        "pending_jobs": "PENDING",
        "pending_gpus": "PENDING GPUS",
        "running_jobs": "RUNNING",
        "running_gpus": "RUNNING GPUS",
    }
    with connected(api, timeout) as client:
        show_rows([asdict(queue) for queue in client.queues()], columns, output)


@app.command("get")
def get(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")],
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show one queue."""
    with connected(api, timeout) as client:
        show_one(asdict(client.queue(queue)), output)
