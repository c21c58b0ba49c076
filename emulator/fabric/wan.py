"""Routes between sites: shortest paths over the links of their gateways."""

import numpy as np

from topology.cluster import Cluster, Float64, Int64, Peers

#: Paths that differ by less than this are the same length.
SAME_SECONDS = 1e-9


class WanRoutes:
    """Paths of least latency between sites; where several are as short, every site divides its lanes evenly over the next ones.

    Several links between two sites share by speed. Dead links are left out; where no path is left, lanes stay on the healthy network's
    and stand still.
    """

    def __init__(self, cluster: Cluster, peers: Peers, bytes_per_second: Float64) -> None:
        self._sites = 1 + int(max(peers.unit_u.max(), peers.unit_v.max()))
        self._source = np.concatenate((peers.unit_u, peers.unit_v)).astype(np.int64)
        self._target = np.concatenate((peers.unit_v, peers.unit_u)).astype(np.int64)
        link = peers.links.astype(np.int64)
        self._directed = np.concatenate((2 * link, 2 * link + 1))
        self._seconds = np.tile(cluster.links.latency_seconds[link], 2)
        self._speed = np.tile(bytes_per_second[link], 2)
        self._nominal = np.tile(cluster.links.bytes_per_second[link], 2)
        self._least = self._distances(self._speed > 0.0)
        self._healthy = self._distances(np.ones(len(self._speed), dtype=np.bool_))

    def _distances(self, alive: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Float64:
        """Seconds between all sites (Floyd and Warshall)."""
        least = np.full((self._sites, self._sites), np.inf)
        np.fill_diagonal(least, 0.0)
        np.minimum.at(least, (self._source[alive], self._target[alive]), self._seconds[alive])
        for way in range(self._sites):
            least = np.minimum(least, least[:, way, None] + least[None, way])
        return least

    def round_trips(self) -> Float64:
        """Seconds from each site to each and back, shape (sites, sites), while no link is dead; infinite where no path is."""
        return 2.0 * self._healthy

    def route(self, source: int, target: int) -> tuple[Int64, Float64, float]:
        """The directed links between two sites, the part of the lanes on each, and the seconds."""
        dead = not np.isfinite(self._least[source, target])
        least, speed = (self._healthy, self._nominal) if dead else (self._least, self._speed)
        parts = {source: 1.0}
        directed: list[Int64] = []
        weight: list[Float64] = []
        for site in np.argsort(-least[:, target], kind="stable").tolist():  # the furthest first: all of a site's lanes are there
            if site == target or site not in parts:
                continue
            next_hop = np.flatnonzero(
                (self._source == site)
                & (speed > 0.0)
                & (np.abs(self._seconds + least[self._target, target] - least[site, target]) <= SAME_SECONDS)
            )
            ways = np.unique(self._target[next_hop])
            total = np.bincount(self._target[next_hop], speed[next_hop], self._sites)
            share = parts[site] / len(ways) * speed[next_hop] / total[self._target[next_hop]]
            directed.append(self._directed[next_hop])
            weight.append(share)
            for way in ways.tolist():
                parts[way] = parts.get(way, 0.0) + parts[site] / len(ways)
        return np.concatenate(directed), np.concatenate(weight), float(least[source, target])
