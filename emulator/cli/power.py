"""``gigawatt power``: what a running emulation draws, and what it may draw."""

from dataclasses import asdict
from typing import Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.errors import wrong
from emulator.cli.output import Format, FormatOption, show_one, show_rows
from emulator.cli.values import duration_ns

app = typer.Typer(help="Power of a running emulation, and caps on it.", no_args_is_help=True)


@app.command("get")
def get(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Show what the facility and its sites draw and may draw."""
    columns = {"name": "PLACE", "power_watts": "POWER", "cap_watts": "CAP", "clock_ratio": "CLOCK"}
    with connected(api, timeout) as client:
        power = asdict(client.power())
    if output is not Format.TABLE:
        show_one(power, output)
        return
    show_rows([place | {"cap_watts": place["cap_watts"] or None} for place in power.pop("places")], columns, output)
    show_one(power, output)


@app.command("cap")
def cap(
    power: Annotated[str, typer.Argument(metavar="POWER|none", help="At the meter, e.g. 110MW. none: lift what was asked for.")],
    *,
    site: Annotated[str, typer.Option("--site", metavar="SITE", help="A site. Without it: the whole facility.")] = "",
    duration: Annotated[str | None, typer.Option("--for", metavar="TIME", help="Emulated time. Without it: until it is lifted.")] = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Have the facility or a site draw at most so much from the next cycle on."""
    from emulator.engine.power_control import MOST_WATTS, PowerCapRequest
    from emulator.scenario.units import parse_power

    watts = 0.0
    if power != "none":
        try:
            watts = parse_power(power)
        except ValueError as error:
            raise wrong("POWER", power, "is no power", "a number and W, kW, MW or GW, e.g. 110MW, or none") from error
        if not 1 <= watts <= MOST_WATTS:
            raise wrong("POWER", power, "is no cap", "1W to 1000000GW, or none")
    seconds = 0.0 if duration is None else duration_ns("--for", duration) / 1e9
    with connected(api, timeout) as client:
        print(client.cap_power(PowerCapRequest(watts, site, seconds)))
