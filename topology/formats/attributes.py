"""The graph vocabulary of `topology.vocabulary`, attribute by attribute: what each may be. Formats of whole graphs check with it."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from math import isfinite
from typing import Any

import numpy as np

from topology import catalog
from topology.catalog import GpuType, HostType, SwitchType
from topology.hostlist import expand, fold
from topology.vocabulary import NODE_TIERS

_MOST_WHOLE = 2**31 - 1
_LONGEST_TEXT = 100_000

Check = Callable[[Any], Any]  # the value as the graph has it; raises ValueError saying what is allowed


def _whole(least: int) -> Check:
    def check(value: Any) -> int:
        number = whole(value)
        if type(number) is not int or not least <= number <= _MOST_WHOLE:
            raise ValueError(f"a whole number from {least} to {_MOST_WHOLE} is needed")
        return number

    return check


def whole(value: Any) -> Any:
    """2.0 as 2, because many programs write every number like that; anything else unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _real(*, zero: bool, most: float = 1e300) -> Check:
    def check(value: Any) -> float:
        number = float(value) if type(value) in (int, float) and abs(value) <= most else -1.0
        if not isfinite(number) or number < 0 or (number == 0 and not zero):
            raise ValueError(f"a number {'of at least' if zero else 'above'} 0 is needed" + (f", {most:g} at most" if most < 1e300 else ""))
        return number

    return check


def _rate(value: Any) -> float:
    """1 byte/s to 8 Pb/s: a value outside has the wrong unit."""
    rate = float(_real(zero=False)(value))
    if not 1.0 <= rate <= 1e15:
        raise ValueError("bytes per second from 1 to 1e15 are needed")
    return rate


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_TEXT or not value.isprintable():
        raise ValueError("printable text is needed")
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of texts is needed")
    return value


def _hostlist(value: Any) -> str:
    """The value as text, also if it is a number."""
    text = fold(_texts(value)) if isinstance(value, list) else _text(value)
    expand(text)
    return text


def _one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)} is needed")
        return value

    return check


def _group(value: Any) -> Any:
    value = whole(value)
    if type(value) is int and abs(value) <= _MOST_WHOLE:
        return value
    return _text(value)


def _record(kind: type[Any], find: Callable[[str], Any]) -> Check:
    """A name in the catalog, or a record of its own with every field."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            find(value)
            return value
        return _built(kind, value)

    return check


#: Numbers that not every record has.
_OF_SOME = frozenset({"fp8_flops", "fp4_flops"})


def _built(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"a name in the catalog or a record with {', '.join(field.name for field in fields(kind))} is needed")
    names = {field.name for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING}
    if wrong := sorted(map(str, (value.keys() - names) | (needed - value.keys()))):
        raise ValueError(
            f"the record needs exactly {', '.join(field.name for field in fields(kind))}; missing or unknown: {', '.join(wrong)}"
        )
    built: dict[str, Any] = {}
    for field in fields(kind):
        given = value.get(field.name)
        optional = field.name in _OF_SOME
        try:
            if field.name == "gpu":
                built[field.name] = _built(GpuType, given)
            elif field.type in (int, "int"):
                built[field.name] = _whole(1)(given)
            elif field.type in (float, "float") or (optional and given is not None):
                built[field.name] = _real(zero=field.name in ("latency_seconds", "idle_watts", "watts"))(given)
            else:
                built[field.name] = None if optional else _text(given)
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from None
    return kind(**built)


_HOST = _record(HostType, catalog.host)
_SWITCH = _record(SwitchType, catalog.switch)

GRAPH: Mapping[str, Check] = {
    "name": _text,
    "host": _HOST,
    "switch": _SWITCH,
    "hosts_per_rack": _whole(1),
    "site": _text,
    "worst_pod_to_pod_ratio": _real(zero=False, most=1.0),
    "assumptions": _texts,
    "names": _one_of("given"),
    "islands": _one_of("apart"),
}
NODE: Mapping[str, Check] = {
    "tier": _one_of(*NODE_TIERS),
    "hosts": _whole(1),
    "host": _HOST,
    "site": _text,
    "hosts_per_rack": _whole(1),
    "hostlist": _hostlist,
    "switches": _whole(1),
    "switch": _SWITCH,
    "group": _group,
}
EDGE: Mapping[str, Check] = {
    "lanes": _whole(1),
    "rail": _whole(0),
    "rails": _whole(1),
    "lane_bytes_per_second": _rate,
    "latency_seconds": _real(zero=True),
    "distance_km": _real(zero=True),
}


def plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes in JSON's types; those that are None are as if not there."""
    return {key: _plain(key, value) for key, value in attributes.items() if value is not None}


def _plain(key: str, value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if key == "hostlist" and not isinstance(value, str):
        return fold(list(map(str, value)))
    return value.item() if isinstance(value, np.generic) else list(value) if isinstance(value, tuple) else value
