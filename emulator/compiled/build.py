"""Compiles what ``emulator.compiled`` lists, beside the sources: ``python -m emulator.compiled.build``.

It needs a C compiler, Python's headers, mypy (of which mypyc is a part) and setuptools. Where one is missing it says which, ends with exit
code 3, and the sources go on running as they are.
"""

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from emulator.compiled import MODULES, PACKAGE, RECORD, fingerprints, is_current

#: The extension that holds all compiled code; the others give it the names of their modules.
GROUP = "emulator.compiled.code"
#: Exit code where something is missing.
CANNOT = 3


def missing() -> str:
    """What is not here that compiling needs; "" where nothing is missing."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if not shutil.which(compiler):
        return f"no C compiler ({compiler})"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "no headers of Python (Debian and Ubuntu: python3-dev)"
    try:
        import mypyc.build  # noqa: F401 - asked for, not used
        import setuptools  # noqa: F401 - likewise
    except ImportError as error:
        return f"no {error.name}"
    return ""


def remove() -> None:
    """Remove what was compiled for this Python."""
    RECORD.unlink(missing_ok=True)
    for path in PACKAGE.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
        path.unlink()


def build() -> None:
    """Compile all modules into extensions beside them, and record of what they were made."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    made_of = fingerprints()
    remove()
    # That the types are right is `make lint`'s to say; what cannot be imported here is taken for anything.
    mypy = ["--config-file=", "--ignore-missing-imports", *(f"{PACKAGE.name}/{module}" for module in MODULES)]
    with tempfile.TemporaryDirectory() as folder:
        # More optimisation takes longer and makes nothing faster here.
        extensions = mypycify(mypy, opt_level="1", debug_level="0", group_name=GROUP, target_dir=folder)
        for extension in extensions:
            extension.extra_compile_args.append("-ffp-contract=off")  # a * b + c is rounded twice, as Python does
        command = build_ext(Distribution({"name": "gigawatt", "ext_modules": extensions}))
        command.inplace, command.build_temp = True, folder
        command.ensure_finalized()
        command.run()
    RECORD.write_text(json.dumps(made_of, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Compile, where that is not done yet and can be done."""
    if is_current():
        return 0
    if what := missing():
        print(f"gigawatt: not compiled, since there is {what}: it runs as it is, at about half the speed", file=sys.stderr)
        return CANNOT
    os.chdir(PACKAGE.parent)
    build()
    return 0


if __name__ == "__main__":
    sys.exit(main())
