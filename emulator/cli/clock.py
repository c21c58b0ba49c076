"""``gigawatt clock``: the emulated clock of a running emulation."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.output import Format, FormatOption, show_one
from emulator.cli.values import speed as speed_of

if TYPE_CHECKING:
    from emulator.engine.snapshot import ClockView

app = typer.Typer(help="Show, stop, step and speed up the emulated clock.", no_args_is_help=True)


@app.command("show")
def show(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Show the clock."""
    with connected(api, timeout) as client:
        _print(client.clock(), output)


@app.command("pause")
def pause(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Stop the clock at the end of the cycle."""
    with connected(api, timeout) as client:
        _print(client.pause(), output)


@app.command("resume")
def resume(api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Let the clock run on."""
    with connected(api, timeout) as client:
        _print(client.resume(), output)


@app.command("speed")
def speed(
    value: Annotated[str, typer.Argument(metavar="X|max", help="Emulated seconds per wall second, or max.")],
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Change how fast the clock runs."""
    wanted = speed_of("X|max", value)
    with connected(api, timeout) as client:
        _print(client.set_speed(wanted), output)


@app.command("step")
def step(
    cycles: Annotated[int, typer.Argument(metavar="CYCLES", min=1, help="How many cycles.")] = 1,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Run some cycles while the clock is paused."""
    with connected(api, timeout) as client:
        _print(client.step(cycles), output)


def _print(clock: "ClockView", output: Format) -> None:
    show_one(asdict(clock), output)
