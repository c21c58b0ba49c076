"""What is done whenever the project is built, editable installs included: the gRPC stubs of ``proto/`` are generated into ``emulator/v1/``.

With GIGAWATT_COMPILE=1 a wheel also gets the compiled modules (``emulator.compiled``), and is then one for this Python and system alone.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def generate(root: Path) -> None:
    """Run protoc over every file of ``root/proto``; raises RuntimeError with protoc's exit code where it fails."""
    import grpc_tools
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(root / "proto")) for path in (root / "proto").rglob("*.proto"))
    target = root / "emulator" / "v1"
    target.mkdir(parents=True, exist_ok=True)
    (target / "__init__.py").write_text('"""Generated from proto/emulator/v1 at build; not kept in git."""\n')
    includes = [f"-I{root / 'proto'}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    outputs = [f"--python_out={root}", f"--grpc_python_out={root}"]
    mypy_plugin = shutil.which("protoc-gen-mypy", path=str(Path(sys.executable).parent)) or shutil.which("protoc-gen-mypy")
    if mypy_plugin:
        outputs += [f"--plugin=protoc-gen-mypy={mypy_plugin}", f"--mypy_out={root}"]
    code = protoc.main(["protoc", *includes, *outputs, *sources])
    if code:
        raise RuntimeError(f"protoc ended with {code} on {', '.join(sources)}")


def compile_modules(root: Path) -> list[str]:
    """Compile beside the sources; returns what the wheel has to hold. Raises RuntimeError where it cannot be done."""
    done = subprocess.run([sys.executable, "-m", "emulator.compiled.build"], cwd=root, check=False)
    if done.returncode:
        raise RuntimeError(f"GIGAWATT_COMPILE=1, but compiling ended with exit code {done.returncode}")
    kind = sysconfig.get_config_var("SOABI")
    return [f"emulator/**/*.{kind}{suffix}" for suffix in (".so", ".pyd")] + [f"emulator/compiled/{kind}.json"]


class Builder(BuildHookInterface):  # type: ignore[type-arg]  # for any builder
    def _compiles(self) -> bool:
        return self.target_name == "wheel" and os.environ.get("GIGAWATT_COMPILE", "") not in {"", "0"}

    def dependencies(self) -> list[str]:
        return ["mypy>=1.13", "setuptools>=77", "numpy>=2.0.1"] if self._compiles() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generate(Path(self.root))
        if self._compiles() and version != "editable":
            build_data["artifacts"] += compile_modules(Path(self.root))
            build_data |= {"pure_python": False, "infer_tag": True}
