"""At which sites the requests of a service enter, and which serve them: their own as far as it can, and the nearest for the rest.

How much each pool gets is not decided here, only where it comes from. All of it is exact.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from emulator.racks.ways import Int64, Ways

#: What a pool is told (``racks.ways.Mix``): ways, and the draws below which requests come on them.
Told = tuple[tuple[int, float], ...]


def assigned(entering: Mapping[int, Fraction], able: Mapping[int, Fraction], round_trip_ps: Int64) -> dict[tuple[int, int], Fraction]:
    """By (entry, site), the part of all requests that enters at the one and is served by the other, where it is above 0.

    ``entering`` is the part that enters at each site and ``able`` what each is to serve; either sums to 1. Pairs take what the one still
    has and the other still can: a site with itself first, then by ``round_trip_ps``, shape (sites, sites), then by the sites' numbers.
    """
    has, can = dict(entering), dict(able)
    found: dict[tuple[int, int], Fraction] = {}
    for _, _, entry, site in sorted((entry != site, int(round_trip_ps[entry, site]), entry, site) for entry in has for site in can):
        part = min(has[entry], can[site])
        if part:
            found[entry, site] = part
            has[entry] -= part
            can[site] -= part
    return found


def mixes(
    entering: Mapping[int, Fraction], ways: Ways, sites: Sequence[int], edges: Sequence[float], leaders: Sequence[int]
) -> dict[int, Told]:
    """On which ways the requests of each pool come that has any and leads: it comes for all that it stands for.

    Pool ``place`` is at ``sites[place]``, serves the part from ``edges[place]`` to ``edges[place + 1]`` of the requests, of which the edges
    go from 0 to 1, and is run as one with those that have the same of ``leaders``, which are places too.
    """
    able: dict[int, Fraction] = {}
    led: dict[int, dict[int, Fraction]] = {}  # place -> site -> what pools there serve that it stands for
    for place, (site, leader) in enumerate(zip(sites, leaders, strict=True)):
        part = Fraction(edges[place + 1]) - Fraction(edges[place])
        if part:
            able[site] = able.get(site, Fraction()) + part
            of_leader = led.setdefault(leader, {})
            of_leader[site] = of_leader.get(site, Fraction()) + part
    found = sorted(assigned(entering, able, ways.round_trip_ps).items())
    told: dict[tuple[tuple[int, Fraction], ...], Told] = {}  # pools of one site have the same
    by_place: dict[int, Told] = {}
    for place, of_leader in led.items():
        whole = sum(of_leader.values())
        ratios = {site: part / whole for site, part in of_leader.items()}
        key = tuple(sorted(ratios.items()))
        if key not in told:
            parts = [(entry, site, ratios[site] * part / able[site]) for (entry, site), part in found if site in ratios]
            told[key] = _below([(ways.sites * entry + site, part) for entry, site, part in parts])
        by_place[place] = told[key]
    return by_place


def _below(parts: Sequence[tuple[int, Fraction]]) -> Told:
    """Parts that sum to 1, one behind the other."""
    below, told = Fraction(), []
    for way, part in parts:
        below += part
        told.append((way, float(below)))
    return tuple(told)
