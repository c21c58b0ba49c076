"""What the pure core may not use, since its last bits, or its order, are not the same everywhere.

Transcendental functions are those of ``emulator.draws``, and so are sums of arrays of floats. Sums and powers of Python's floats need types
to be found: that is for ``mypy_sums.py``, which runs with ``make lint``.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.same_bits.rooms import PURE_CORE

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(file for room in PURE_CORE for file in (ROOT / room).rglob("*.py"))

#: Exact, or correctly rounded, on every platform.
MATH = {"ceil", "floor", "frexp", "fsum", "inf", "isfinite", "isinf", "isnan", "lcm", "nan", "prod", "sqrt", "tau"}
NUMPY = {
    # element by element, each rounded as IEEE 754 says
    *("abs", "ceil", "clip", "copysign", "divide", "divmod", "floor", "frexp", "ldexp", "maximum", "minimum", "rint", "sqrt", "subtract"),
    *("bitwise_and", "bitwise_count", "bitwise_or", "bitwise_or.at", "errstate", "isfinite", "isnan", "where"),
    # one after the other by definition, or exact in any order
    *("add.at", "add.reduceat", "bincount", "cumsum", "diff", "minimum.at", "maximum.at", "maximum.reduceat", "logical_or.reduce"),
    *("any", "argmax", "array_equal", "count_nonzero"),
    # the order is that of the values; of equal ones that of their places
    *("argsort", "flatnonzero", "isin", "lexsort", "nonzero", "searchsorted", "setdiff1d", "sort", "union1d", "unique"),
    # elements where they belong
    *("append", "arange", "array", "asarray", "ascontiguousarray", "broadcast_arrays", "broadcast_to", "choose", "concatenate"),
    *(
        "empty",
        "empty_like",
        "eye",
        "fill_diagonal",
        "frombuffer",
        "fromiter",
        "full",
        "full_like",
        "ix_",
        "moveaxis",
        "ones",
        "ones_like",
        "pad",
    ),
    *("repeat", "stack", "swapaxes", "take_along_axis", "tile", "unpackbits", "zeros", "zeros_like"),
    # types
    *("bool_", "dtype", "float64", "floating", "generic", "iinfo", "inf", "int8", "int16", "int32", "int64", "integer", "intp"),
    *("nan", "ndarray", "uint8", "uint16", "uint32", "uint64"),
}
MODULES = {"cmath", "random", "scipy", "statistics"}
METHODS = {"argpartition", "cumprod", "dot", "mean", "nanmean", "std", "trace", "var"}
SUMS = {"add.reduce", "add.reduceat", "sum"}


def broken_rules(source: str) -> Iterator[str]:
    """Line and name of what is not allowed."""
    tree = ast.parse(source)
    whole = {id(node.args[0]) for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "int" and node.args}
    for node in ast.walk(tree):
        for found in _broken(node, whole):
            yield f"{getattr(node, 'lineno', 0)}: {found}"


def _broken(node: ast.AST, whole: set[int]) -> Iterator[str]:
    """``whole`` are the expressions that ``int`` is called with."""
    match node:
        case ast.Import(names=names):
            yield from (name.name for name in names if name.name.split(".")[0] in MODULES)
        case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] in MODULES | {"math", "numpy"}:
            allowed = {"math": MATH, "numpy.typing": {"ArrayLike", "NDArray"}}.get(module, set())
            yield from (f"{module}.{name.name}" for name in names if name.name not in allowed)
        case ast.BinOp(op=ast.MatMult()):
            yield "@"
        case ast.Attribute():
            name = _name(node)
            if name.startswith("math.") and name.removeprefix("math.") not in MATH:
                yield name
            if name.startswith("np.") and not _known(name.removeprefix("np.")):
                yield name
        case ast.Call(func=func, keywords=keywords):
            name, given = _name(func), {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
            method = func.attr if isinstance(func, ast.Attribute) else ""
            if name in ("hash", "pow") or method in METHODS:
                yield f"{name or method}()"
            if method == "argsort" and given.get("kind") != "'stable'":
                yield "argsort without kind='stable'"
            if (
                (method == "sum" or name.removeprefix("np.") in SUMS - {"sum"})
                and id(node) not in whole
                and "np.int" not in given.get("dtype", "")
            ):
                yield f"{method} that neither int() nor an integer dtype says to be of integers"


def _known(name: str) -> bool:
    """``zeros``, ``int64.type`` and ``add.at`` are allowed, ``add.reduce`` and ``random.rand`` are not; ``add`` is a part of ``add.at``."""
    return name in NUMPY or name.split(".", maxsplit=1)[0] in NUMPY or any(long.startswith(f"{name}.") for long in NUMPY)


def _name(node: ast.AST) -> str:
    """``a.b.c`` of names and attributes, else empty."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join((node.id, *reversed(parts))) if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_pure_core_keeps_the_rules(file: Path) -> None:
    assert not list(broken_rules(file.read_text())), "see docs/architecture.md, Same answer everywhere"


@pytest.mark.parametrize(
    "line",
    [
        "math.exp(1)",
        "from math import log2",
        "from numpy import exp",
        "import scipy.special",
        "from statistics import NormalDist",
        "np.log1p(x)",
        "np.random.default_rng(1)",
        "np.linalg.norm(x)",
        "np.add.reduce(x)",
        "np.add.reduceat(x, first)",
        "np.power(x, y)",
        "np.einsum('ij,jk', x, y)",
        "np.interp(x, y, z)",
        "x @ y",
        "x.sum()",
        "float(x.sum())",
        "x.sum(axis=1)",
        "x[0].mean()",
        "x.dot(y)",
        "np.argsort(x)",
        "x.argsort()",
        "pow(x, y)",
        "hash(name)",
    ],
)
def test_what_is_not_allowed_is_found(line: str) -> None:
    assert list(broken_rules(line))


def test_what_is_allowed_passes() -> None:
    lines = ("math.sqrt(2)", "from math import fsum", "np.sqrt(x)", "np.add.at(x, i, y)", "int(x.sum())", "x.sum(axis=1, dtype=np.int64)")
    assert not list(broken_rules("\n".join((*lines, 'np.argsort(x, kind="stable")', "from numpy.typing import NDArray"))))
