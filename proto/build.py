"""Generates the gRPC stubs of ``proto/`` into ``emulator/v1/`` whenever the project is built, editable installs included."""

import shutil
import sys
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


class StubBuilder(BuildHookInterface):  # type: ignore[type-arg]  # for any builder
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        generate(Path(self.root))
