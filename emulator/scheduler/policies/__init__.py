"""The policies on the shelf. A new one is a file in this folder, with its citation and its ``POLICY``; nothing else has to be touched."""

from importlib import import_module
from pkgutil import iter_modules

from emulator.scheduler.policy import Policy


def _shelf() -> dict[str, Policy]:
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    return {module.POLICY.name: module.POLICY for module in modules}


#: By name, in alphabetical order.
POLICIES: dict[str, Policy] = _shelf()
