"""The placements on the shelf. A new one is a file in this folder, with its citation and its ``PLACEMENT``, and nothing else changes."""

from importlib import import_module
from pkgutil import iter_modules

from emulator.scheduler.placement import Placement


def _shelf() -> dict[str, Placement]:
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {module.PLACEMENT.name: module.PLACEMENT for module in modules}


#: By name, in alphabetical order.
PLACEMENTS: dict[str, Placement] = _shelf()
