"""``gigawatt queue``: the queues of a running emulation."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_one, show_rows

_QUOTA_COLUMNS = ("flavor", "nominal_gpus", "used_gpus", "borrowed_gpus", "lent_gpus")

app = typer.Typer(help="Queues of a running emulation.", no_args_is_help=True)


@app.command("list")
def list_queues(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """List queues with their pending and running jobs, and their quotas by flavor: the host types that are counted together (*: all)."""
    columns = {
        "name": "QUEUE",
        "pending_jobs": "PENDING",
        "pending_gpus": "PENDING GPUS",
        "running_jobs": "RUNNING",
        "running_gpus": "RUNNING GPUS",
    }
    with connected(api, timeout) as client:
        rows = [asdict(queue) for queue in client.queues()]
    if any(row["quotas"] or row["held_jobs"] for row in rows):
        columns |= {"held_jobs": "HELD", "cohort": "COHORT"} | {name: name.removesuffix("_gpus").upper() for name in _QUOTA_COLUMNS}
    show_rows([line for row in rows for line in _lines(row)] if output is Format.TABLE else rows, columns, output)


@app.command("get")
def get(
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")],
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show one queue."""
    with connected(api, timeout) as client:
        record = asdict(client.queue(queue))
    if output is Format.TABLE:
        record |= {f"quota of {quota.pop('flavor')}": quota for quota in record.pop("quotas")}
    show_one(record, output)


def _lines(row: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each quota of the queue; the first has what is the queue's."""
    first, *others = row["quotas"] or [{}]
    return [row | first, *others]
