"""Metrics as text: the Prometheus exposition format 0.0.4.

The head has some hundred series, rendered one by one. A shard has seven per rack, so those are rendered as one array of bytes: lines
of equal length, the labels padded after the brace and the value before its digits (the format allows any number of blanks between the
two), digits taken four at a time from a table.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from emulator.engine.snapshot import Histogram, Snapshot
from emulator.fabric.messages import FabricReadings
from emulator.racks.messages import RackReadings
from emulator.telemetry.metric import RACK_LABELS, Metric, RackMetric, Values
from emulator.telemetry.table import HEAD, PLANE, RACK
from topology import names
from topology.cluster import Cluster
from topology.describe import site_name

#: The media type of what is rendered here.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Bytes = NDArray[np.uint8]


def escape(value: str) -> str:
    """A label's value as it stands between the quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def number(value: float) -> str:
    """The shortest text that reads back as the same float; ``+Inf``, ``-Inf``, ``NaN``."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def header(metric: Metric) -> str:
    """HELP and TYPE of a metric, as the text format has them: backslashes and line feeds of the help are escaped."""
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {metric.name} {text}\n# TYPE {metric.name} {metric.kind}\n"


def _line(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    inner = ",".join(f'{label}="{escape(text)}"' for label, text in labels)
    return f"{name}{{{inner}}} {number(value)}\n" if inner else f"{name} {number(value)}\n"


def _histogram(name: str, histogram: Histogram) -> str:
    """Cumulative buckets; a bound is written as a float (``60.0``), which is what Prometheus 3 makes of it anyway."""
    cumulative = list(accumulate(histogram.counts))
    bounds = [repr(float(bound)) for bound in histogram.bounds] + ["+Inf"]
    lines = [_line(f"{name}_bucket", [("le", bound)], count) for bound, count in zip(bounds, cumulative, strict=True)]
    return "".join(lines) + _line(f"{name}_sum", (), histogram.total) + _line(f"{name}_count", (), cumulative[-1])


def _family(metric: Metric, values: Values | Histogram) -> str:
    if isinstance(values, Histogram):
        return header(metric) + _histogram(metric.name, values)
    return header(metric) + "".join(_line(metric.name, zip(metric.labels, texts, strict=True), value) for texts, value in values.items())


def head_text(snapshot: Snapshot) -> bytes:
    """All that the head serves at one publication."""
    return "".join(_family(metric, metric.read(snapshot)) for metric in HEAD).encode()


def _digit_table() -> NDArray[np.uint32]:
    """Four characters each, as one uint32: 0-9999 zero-padded, then blank-padded with 0 as all blanks, then blank-padded with ``   0``."""
    texts = [f"{i:04d}" for i in range(10000)] + [f"{i:4d}" if i else "    " for i in range(10000)] + [f"{i:4d}" for i in range(10000)]
    return np.frombuffer("".join(texts).encode(), dtype=np.uint32)


_DIGITS = _digit_table()
_ZEROS, _BLANKS, _LAST = 0, 10000, 20000


def digits(values: NDArray[np.int64], decimals: int = 0) -> Bytes:
    """Fixed-point numbers as text of equal width, blanks to the left: shape (values,) to (values, width).

    ``decimals`` is at most 4.

    >>> digits(np.array([0, 12345, 1200000]), 3).tobytes()
    b'   0.000  12.3451200.000'
    """
    if not len(values):
        return np.empty((0, 0), dtype=np.uint8)
    if int(values.min()) < 0:
        return _signed(values, decimals)
    whole, fraction = np.divmod(values, 10**decimals) if decimals else (values, values)
    groups = []
    kind = _LAST
    while True:
        high = whole // 10000
        more = high != 0
        # Under a group that is not empty digits are padded with zeros; the lowest group alone shows a lone zero.
        groups.append(_DIGITS[whole - high * 10000 + np.where(more, _ZEROS, kind)])
        whole, kind = high, _BLANKS
        if not more.any():
            break
    text = np.stack(groups[::-1], axis=1).view(np.uint8)
    if not decimals:
        return text
    point = np.full((len(values), 1), ord("."), dtype=np.uint8)
    return np.concatenate([text, point, _DIGITS[fraction].view(np.uint8).reshape(-1, 4)[:, 4 - decimals :]], axis=1)


def _signed(values: NDArray[np.int64], decimals: int) -> Bytes:
    """What ``digits`` does, one by one: for numbers below zero, which no healthy shard reports."""
    texts = [f"{int(value) / 10**decimals:.{decimals}f}" for value in values]
    return rows(texts, str.rjust)


def rows(texts: Sequence[str], pad: Callable[[str, int], str] = str.ljust) -> Bytes:
    """Texts as rows of equal width, padded with blanks."""
    encoded = [text.encode() for text in texts]
    width = max(map(len, encoded), default=0)
    # Padding counts bytes, not characters: names may hold any of Unicode.
    padded = (pad(raw.decode("latin-1"), width).encode("latin-1") for raw in encoded)
    return np.frombuffer(b"".join(padded), dtype=np.uint8).reshape(len(encoded), width)


#: What ``telemetry.detail`` shows of the racks, outermost last. Racks that the shown labels do not tell apart are added up.
DETAIL = {"rack": ("rack", "pod", "site"), "pod": ("pod", "site"), "cluster": ("site",)}


class RackLabels:
    """The labels of racks ``first_rack`` up to ``end_rack``, ready to be copied into lines; made when first asked for.

    A rack is called what its hosts are (``r00012``), a pod ``p000``; a site has the scenario's name. Raises ValueError for a ``detail``
    that is none of ``DETAIL``.
    """

    def __init__(self, cluster: Cluster, first_rack: int, end_rack: int, detail: str = "rack") -> None:
        if detail not in DETAIL:
            raise ValueError(f"telemetry.detail is {detail!r}; allowed: {', '.join(DETAIL)}")
        self._cluster, self.first_rack, self.end_rack = cluster, first_rack, end_rack
        self._detail = detail

    @cached_property
    def _units(self) -> dict[str, NDArray[np.int64]]:
        """Per level that is shown and that the cluster has: the unit that each rack stands in, shape (racks,)."""
        levels = {level.name: level for level in self._cluster.levels}
        first_hosts = levels["rack"].first_host[self.first_rack : self.end_rack]
        shown = (levels[name] for name in DETAIL[self._detail] if name in levels)
        return {level.name: np.searchsorted(level.first_host, first_hosts, side="right") - 1 for level in shown}

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        """The first rack of each group that is shown, counted from ``first_rack``; a unit's racks are consecutive."""
        changes = np.zeros(self.end_rack - self.first_rack, dtype=bool)
        changes[:1] = True
        for units in self._units.values():
            changes[1:] |= np.diff(units) != 0
        return np.flatnonzero(changes)

    def add_up(self, column: NDArray[np.int64]) -> NDArray[np.int64]:
        """A column per rack as a column per line."""
        if len(self._starts) == len(column):
            return column
        added: NDArray[np.int64] = np.add.reduceat(column, self._starts)
        return added

    @cached_property
    def text(self) -> Bytes:
        """``rack="r00012",pod="p000",site="colossus"} `` with blanks to equal width, shape (lines, width)."""
        called: dict[str, Callable[[int], str]] = {
            "rack": names.rack,
            "pod": names.pod,
            "site": lambda unit: escape(site_name(self._cluster, unit)),
        }
        columns = [[f'{level}="{called[level](unit)}"' for unit in units[self._starts].tolist()] for level, units in self._units.items()]
        return rows([",".join(parts) + "} " for parts in zip(*columns, strict=True)])


def lines(begin: str, labels: Bytes, column: NDArray[np.int64], decimals: int = 0) -> bytes:
    """A line for each row of ``labels``, which end in ``} ``: how all of them begin, the labels, and the value of ``column``."""
    start, value = np.frombuffer(begin.encode(), dtype=np.uint8), digits(column, decimals)
    made = np.empty((len(value), len(start) + labels.shape[1] + value.shape[1] + 1), dtype=np.uint8)
    at_value = len(start) + labels.shape[1]
    made[:, : len(start)] = start
    made[:, len(start) : at_value] = labels
    made[:, at_value:-1] = value
    made[:, -1] = ord("\n")
    return made.tobytes()


def _rack_blocks(metric: RackMetric, readings: RackReadings, rack_labels: RackLabels) -> Iterable[bytes]:
    own, labels = metric.labels[: -len(RACK_LABELS)], rack_labels.text
    for texts, column in metric.read(readings).items():
        inner = "".join(f'{label}="{escape(text)}",' for label, text in zip(own, texts, strict=True))
        yield lines(f"{metric.name}{{{inner}", labels, rack_labels.add_up(column), metric.decimals)


def shard_text(racks: Sequence[tuple[RackLabels, RackReadings]], planes: Sequence[FabricReadings] = ()) -> bytes:
    """All that one actor serves at one publication: its rack shards and its fabric planes.

    Raises ValueError where a shard's labels and readings are not of the same racks.
    """
    for labels, readings in racks:
        if labels.first_rack != readings.first_rack or labels.end_rack - labels.first_rack != len(readings.gpus):
            raise ValueError(
                f"labels of racks {labels.first_rack} to {labels.end_rack - 1} with readings of racks"
                f" {readings.first_rack} to {readings.first_rack + len(readings.gpus) - 1}"
            )
    parts: list[bytes] = []
    if racks:
        for metric in RACK:
            parts.append(header(metric).encode())
            parts.extend(block for labels, readings in racks for block in _rack_blocks(metric, readings, labels))
    if planes:
        for plane_metric in PLANE:
            values = {(str(plane.plane), *texts): value for plane in planes for texts, value in plane_metric.read(plane).items()}
            parts.append(_family(plane_metric, values).encode())
    return b"".join(parts)
