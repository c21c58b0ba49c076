"""``gigawatt service``: the services of a running emulation, which answer requests."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_one, show_rows

if TYPE_CHECKING:
    from emulator.engine.service_control import ServiceView

app = typer.Typer(help="Services of a running emulation, which answer requests.", no_args_is_help=True)


ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name.")]


@app.command("list")
def list_services(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """List services: replicas that are up and wanted, and of the last interval requests and tokens per second and the times that 90 % of
    the requests stayed within; the part that met the objectives is since the start."""
    columns = {
        "name": "SERVICE",
        "model": "MODEL",
        "up_replicas": "UP",
        "wanted_replicas": "WANTED",
        "running_requests": "RUNNING",
        "waiting_requests": "WAITING",
        "requests_per_second": "REQUESTS/S",
        "output_tokens_per_second": "TOKENS/S",
        "recent_ttft_p90": "TTFT P90",
        "recent_tpot_p90": "TPOT P90",
        "slo_attainment_ratio": "ATTAINED",
        "joules_per_token": "J/TOKEN",
    }
    with connected(api, timeout) as client:
        rows = [_record(view) for view in client.services()]
    if output is Format.TABLE:
        for row in rows:
            row |= {f"recent_{time}_p90": row[f"recent_{time}_seconds"]["p90"] for time in ("ttft", "tpot")}
    show_rows(rows, columns, output)


@app.command("get")
def get(
    service: ServiceArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE
) -> None:
    """Show one service."""
    with connected(api, timeout) as client:
        show_one(_record(client.service(service)), output)


@app.command("scale")
def scale(
    service: ServiceArgument,
    replicas: Annotated[int, typer.Argument(metavar="REPLICAS", min=0, help="Within what the scenario allows the service.")],
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Have a service get so many replicas from the next cycle on; where it scales by itself, it goes on from there."""
    with connected(api, timeout) as client:
        print(client.scale_service(service, replicas))


def _record(view: "ServiceView") -> dict[str, Any]:
    """Its fields, and what follows from them."""
    return asdict(view) | {"joules_per_request": view.joules_per_request, "joules_per_token": view.joules_per_token}
