"""``gigawatt queue``: the queues of a running emulation."""

from dataclasses import asdict

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_rows

app = typer.Typer(help="Queues of a running emulation.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps ``list`` a word of its own while it is the only one."""


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
