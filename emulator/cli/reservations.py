"""``gigawatt reservation``: hosts of a running emulation that are kept for some time."""

from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_one, show_rows
from emulator.cli.values import duration_ns

app = typer.Typer(help="Reservations and maintenance of a running emulation.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The reservation's name.")]


class RunningJobs(StrEnum):
    """What ``--running`` takes, by the names of `scheduler.calendar.Running`, which is not imported for ``--help``."""

    DRAIN = "drain"
    REQUEUE = "requeue"
    KILL = "kill"


@app.command("create")
def create(
    name: NameArgument,
    *,
    hosts: Annotated[
        list[str] | None, typer.Option("--hosts", metavar="NAMES", help="A rack, a pod, a hostlist, or all. May be given several times.")
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Instead of names: so many hosts that nothing else keeps then.")] = 0,
    gpu_type: Annotated[str, typer.Option("--gpu-type", help="With --count: a GPU model or host type.")] = "",
    start: Annotated[
        str | None, typer.Option("--start", metavar="TIME", help="Emulated time, e.g. 26h. Without it: from the next cycle on.")
    ] = None,
    duration: Annotated[str, typer.Option("--duration", metavar="TIME", help="How long, e.g. 4h.")],
    every: Annotated[str | None, typer.Option("--every", metavar="TIME", help="Again after so long, with --times.")] = None,
    times: Annotated[int, typer.Option("--times", metavar="N", help="How many times in all, with --every.")] = 0,
    maintenance: Annotated[bool, typer.Option("--maintenance", help="Nobody may use the hosts.")] = False,
    queue: Annotated[list[str] | None, typer.Option("--queue", help="Whose jobs may use them. May be given several times.")] = None,
    tenant: Annotated[list[str] | None, typer.Option("--tenant", help="Whose jobs may use them. May be given several times.")] = None,
    running: Annotated[
        RunningJobs, typer.Option("--running", help="What becomes of jobs that still run on the hosts at the start.")
    ] = RunningJobs.DRAIN,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Keep hosts for the jobs of some queues or tenants, or for maintenance."""
    from emulator.engine.reservation_control import ReservationRequest

    asked = ReservationRequest(
        name=name,
        hosts=tuple(hosts or ()),
        host_count=count,
        gpu_type=gpu_type,
        start_seconds=-1.0 if start is None else duration_ns("--start", start) / 1e9,
        duration_seconds=duration_ns("--duration", duration) / 1e9,
        every_seconds=0.0 if every is None else duration_ns("--every", every) / 1e9,
        times=times,
        maintenance=maintenance,
        queues=tuple(queue or ()),
        tenants=tuple(tenant or ()),
        running=running.value,
    )
    with connected(api, timeout) as client:
        show_one(asdict(client.reserve(asked)), output)


@app.command("list")
def list_reservations(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """List all reservations, those that are over too."""
    columns = {
        "name": "NAME",
        "hosts": "HOSTS",
        "state": "STATE",
        "begin_seconds": "BEGIN",
        "end_seconds": "END",
        "windows_left": "TIMES",
        "for_whom": "FOR",
        "running": "RUNNING",
        "pending_jobs": "PENDING",
    }
    with connected(api, timeout) as client:
        rows = [asdict(one) for one in client.reservations()]
    show_rows([_line(row) for row in rows] if output is Format.TABLE else rows, columns, output)


@app.command("delete")
def delete(
    name: NameArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """End a reservation at the next cycle; jobs that run in it run on."""
    with connected(api, timeout) as client:
        show_one(asdict(client.end_reservation(name)), output)


def _line(row: dict[str, Any]) -> dict[str, Any]:
    over = not row["windows_left"]
    state = "over" if over else "open" if row["is_open"] else "to come"
    whom = "nobody" if row["maintenance"] else ", ".join([*row["queues"], *row["tenants"]]) or "all"
    times = dict.fromkeys(("begin_seconds", "end_seconds")) if over else {}
    return row | {"state": state, "for_whom": whom} | times
