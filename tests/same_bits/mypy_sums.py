"""A mypy plugin: in the pure core neither the built-in ``sum`` nor ``**`` is used on floats.

``sum`` of floats is compensated from Python 3.12 on, and ``**`` is the ``pow`` of the C library. Only mypy knows which sums and powers are
of floats; those are errors here, those of integers and of whole arrays are not. What needs no types is in ``test_rules.py``.
"""

from collections.abc import Callable

from mypy.nodes import Expression, FloatExpr, IntExpr, OpExpr, UnaryExpr
from mypy.plugin import FunctionContext, MethodContext, Plugin
from mypy.types import Instance, Type, UnionType, get_proper_type
from rooms import PURE_CORE  # type: ignore[import-not-found]  # mypy puts the folder of a plugin on its path when it runs

SUM = "sum() of floats has other last bits in other versions of Python: use math.fsum"
POWER = "** of floats has other last bits with other C libraries: multiply, or use power or exp2 of emulator.draws.exact"


class SumPlugin(Plugin):
    """Where mypy says of a generator in ``sum`` that it has an "incompatible item type", this plugin has refused the fitting overload."""

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        return _check_sum if fullname == "builtins.sum" else None

    def get_method_hook(self, fullname: str) -> Callable[[MethodContext], Type] | None:
        owner, _, name = fullname.rpartition(".")
        return _check_power if name in ("__pow__", "__rpow__", "__ipow__") and owner != "builtins.int" else None


def plugin(version: str) -> type[Plugin]:
    """What mypy asks for."""
    return SumPlugin


def _check_sum(context: FunctionContext) -> Type:
    if _in_pure_core(context) and any(map(_is_float, (context.default_return_type, *(a for kinds in context.arg_types for a in kinds)))):
        context.api.fail(SUM, context.context)
    return context.default_return_type


def _check_power(context: MethodContext) -> Type:
    literal = isinstance(context.context, OpExpr) and _literal(context.context.left) and _literal(context.context.right)
    sides = (context.type, *(kind for kinds in context.arg_types for kind in kinds))
    if _in_pure_core(context) and not literal and any(map(_is_float, sides)):
        context.api.fail(POWER, context.context)
    return context.default_return_type


def _in_pure_core(context: FunctionContext | MethodContext) -> bool:
    path = context.api.path.replace("\\", "/")
    return any(f"/{room}/" in f"/{path}" for room in PURE_CORE)


def _literal(expression: Expression) -> bool:
    """A number written out: ours are powers of two and ten, which come out exact."""
    return isinstance(expression.expr if isinstance(expression, UnaryExpr) else expression, IntExpr | FloatExpr)


def _is_float(kind: Type) -> bool:
    """A float or numpy's, or something of floats but an array: float, list[float], Iterator[np.float64]."""
    kind = get_proper_type(kind)
    if isinstance(kind, UnionType):
        return any(map(_is_float, kind.items))
    if not isinstance(kind, Instance) or kind.type.fullname == "numpy.ndarray":
        return False
    return any(base.fullname in ("builtins.float", "numpy.inexact") for base in kind.type.mro) or any(map(_is_float, kind.args))
