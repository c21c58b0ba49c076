"""How busy the links of a run were: ``links.parquet`` of its directory, and the colours for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topology.cluster import Cluster
from topology.describe import link_name

Float64 = NDArray[np.float64]

FILE = "links.parquet"
_COLUMNS = ("link", "name", "mean_utilization_ratio", "peak_utilization_ratio", "down_seconds", "in_service_seconds")
#: ColorBrewer's YlOrRd (Brewer 2003): one hue after the other and ever darker, so that it reads without colour vision and in grey.
_SCALE = ((255, 255, 204), (254, 217, 118), (253, 141, 60), (227, 26, 28), (128, 0, 38))


class LoadError(ValueError):
    """A run directory without a usable ``links.parquet``; the message says why."""


@dataclass(frozen=True, eq=False)
class LinkLoad:
    """Of every link of a cluster, by its number: shape (links,). Links that the run did not report carried nothing."""

    mean_ratio: Float64  # of its capacity, over its time in service
    peak_ratio: Float64  # of its capacity, the most at any instant; of endpoint links, where that is not kept, the mean
    down_seconds: Float64
    weight: Float64  # bytes that it could have carried: what it counts in a mean over links


def read_load(directory: Path, cluster: Cluster) -> LinkLoad:
    """The load of a run of this cluster. Raises LoadError where there is none, or where it is of another cluster."""
    import pyarrow as pa
    from pyarrow import parquet

    path = directory / FILE
    if not path.is_file():
        raise LoadError(f"{path} does not exist; allowed: the directory that `gigawatt run -o` has written")
    try:
        table = parquet.read_table(path, columns=list(_COLUMNS))
        values: dict[str, Any] = {
            name: table.column(name).to_pylist() if name == "name" else np.asarray(table.column(name), dtype=np.float64)
            for name in _COLUMNS
        }
        unknown = np.asarray(table.column("peak_utilization_ratio").is_null())
        values["peak_utilization_ratio"] = np.where(unknown, values["mean_utilization_ratio"], values["peak_utilization_ratio"])
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise LoadError(f"{path} cannot be read: {reason}; needed are the columns {', '.join(_COLUMNS)}") from error
    if any(not np.isfinite(values[name]).all() for name in _COLUMNS if name != "name"):
        raise LoadError(f"{path} has values that are not finite numbers")
    links = values["link"].astype(np.int64)
    count = len(cluster.links)
    for link, name in _samples(links, values["name"]):
        if not 0 <= link < count or link_name(cluster, link) != name:
            raise LoadError(f"{path} is from another cluster: it has a trunk {link} called {name}, which {cluster.name} has not")
    if len(links) and not (links.min() >= 0 and links.max() < count):
        raise LoadError(f"{path} is from another cluster: it has trunks up to number {links.max()}, {cluster.name} has {count} trunks")

    def by_link(name: str) -> Float64:
        column = np.zeros(count)
        column[links] = values[name]
        return column

    mean, peak, down, in_service = (by_link(name) for name in _COLUMNS if name not in ("link", "name"))
    return LinkLoad(mean, peak, down, weight=in_service * cluster.links.bytes_per_second)


def _samples(links: NDArray[np.int64], names: list[str]) -> list[tuple[int, str]]:
    """Some links and their names, including the first and the last: enough to recognise a cluster."""
    places = np.unique(np.linspace(0, len(links) - 1, 64).astype(np.int64))[: len(links)]
    return [(int(links[place]), names[place]) for place in places]


def heat(ratio: float) -> str:
    """The colour of a utilization, 0 to 1: linear between the steps of the scale."""
    place = min(max(ratio, 0.0), 1.0) * (len(_SCALE) - 1)
    low = min(int(place), len(_SCALE) - 2)
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(_SCALE[low], _SCALE[low + 1], strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on ``#rrggbb`` (relative luminance of WCAG 2: they meet at 0.179)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return "#000000" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 else "#ffffff"
