"""The command tree and the way out of it: every error becomes one line on stderr and an exit code."""

import contextlib
import errno
import os
import sys
import traceback
from dataclasses import dataclass
from typing import Annotated

import typer

from emulator.cli import (
    clock,
    compare,
    doctor,
    faults,
    hardware,
    inflate,
    jobs,
    power,
    presets,
    queues,
    replay,
    reservations,
    run,
    services,
    topology,
    up,
    validate,
)
from emulator.cli.errors import CommandError, Exit

app = typer.Typer(
    name="gigawatt",
    help="Emulate gigawatt-scale AI clusters: racks, RDMA fabric, scheduler, power and metrics, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("presets")(presets.presets)
app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("up")(up.up)
app.command("replay")(replay.replay)
app.add_typer(jobs.app, name="job")
app.add_typer(queues.app, name="queue")
app.add_typer(services.app, name="service")
app.add_typer(reservations.app, name="reservation")
app.add_typer(hardware.clusters, name="cluster")
app.add_typer(hardware.racks, name="rack")
app.add_typer(hardware.hosts, name="host")
app.add_typer(hardware.links, name="link")
app.add_typer(faults.app, name="fault")
app.add_typer(power.app, name="power")
app.add_typer(clock.app, name="clock")
app.add_typer(topology.app, name="topology")
app.command("inflate")(inflate.inflate)
app.command("validate")(validate.validate)
app.command("doctor")(doctor.doctor)


#: What writing to a full disk, a closed terminal or a pipe without a reader ends in.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)


@dataclass
class _Asked:
    """What was asked for before the command."""

    debug: bool  # show tracebacks


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        from emulator import compiled

        try:
            number = version("gigawatt")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"gigawatt {number}{', compiled' if compiled.IN_USE else ''}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also: GIGAWATT_DEBUG=1).")] = False,
) -> None:
    """Options before the command."""
    if debug and isinstance(ctx.obj, _Asked):
        ctx.obj.debug = True


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code."""
    asked = _Asked(debug=bool(os.environ.get("GIGAWATT_DEBUG")))
    try:
        code = app(args=arguments, prog_name="gigawatt", standalone_mode=False, obj=asked)
    except KeyboardInterrupt:
        return _ended("interrupted", Exit.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last one who can tell the user
        if (trouble := _output_trouble(error)) is not None:
            return trouble
        if asked.debug:
            traceback.print_exc()
        return _ended(*_told(error))
    if (trouble := _output_trouble()) is not None:
        return trouble
    if code == Exit.INTERRUPTED:  # typer's answer to KeyboardInterrupt
        return _ended("interrupted", Exit.INTERRUPTED)
    return int(code or 0)


def _output_trouble(error: Exception | None = None) -> int | None:
    """The exit code where standard output cannot be written, which ``error`` (or the last of the output) may have met; else None.

    A file's own error names the file. The reader of a pipe that went away (``| head``) has all that it wanted: nothing is said then.
    """
    trouble = error if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS and error.filename is None else None
    try:
        sys.stdout.flush()
    except OSError as late:
        trouble = late
    if trouble is None:
        return None
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries, and complains, once more at its end
    return Exit.FAILED if trouble.errno == errno.EPIPE else _ended(f"standard output: {trouble.strerror}", Exit.FAILED)


def _told(error: Exception) -> tuple[str, Exit]:
    """What to say of ``error``, and the exit code."""
    if isinstance(error, CommandError):
        return str(error), error.code
    usage = getattr(error, "format_message", None)  # typer's own errors: unknown options, missing arguments, bad values
    if usage is not None:
        return f"{usage()} (see gigawatt --help)", Exit.USAGE
    kind = type(error).__name__
    return f"{kind}: {error} (this is a bug in gigawatt; GIGAWATT_DEBUG=1 shows where)", Exit.FAILED


def _ended(message: str, code: Exit) -> int:
    words = " ".join(line.strip() for line in message.splitlines() if line.strip())
    with contextlib.suppress(OSError):  # a terminal that has gone
        print(f"gigawatt: error: {words}" if code is not Exit.INTERRUPTED else f"gigawatt: {words}", file=sys.stderr, flush=True)
    return code
