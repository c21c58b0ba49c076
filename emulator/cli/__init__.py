"""``gigawatt``: the command line. Modules import what is heavy (numpy, Ray, gRPC, pyarrow) only when a command needs it."""

import os
import sys
from pathlib import Path

from emulator.cli.signals import Stop


def main(arguments: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code."""
    # Who starts us with a closed output wants to read nothing; the libraries want something to write to.
    sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115 - for good
    try:
        with Stop():
            from emulator.cli import app

            return app.main(arguments)
    except KeyboardInterrupt:  # before, or after, the command had a say
        print("gigawatt: interrupted", file=sys.stderr)
        return 130


__all__ = ["main"]
