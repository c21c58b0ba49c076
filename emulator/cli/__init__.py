"""``gigawatt``: the command line. Modules import what is heavy (numpy, Ray, gRPC, pyarrow) only when a command needs it."""

from emulator.cli.app import main

__all__ = ["main"]
