"""A dragonfly: its groups in a ring, one group opened, and a switch of it with its hosts (Kim et al., ISCA'08)."""

from math import cos, pi, sin

import numpy as np

from emulator.report.picture.anatomy import Anatomy, Step, unit_name
from emulator.report.picture.ink import BOX, DIM, INK, RULE, Sheet, number
from emulator.report.picture.load import LinkLoad, heat
from emulator.report.picture.row import LEFT, RIGHT, Place, bits, cables, figures, panel, plural
from emulator.report.units import percent
from topology import names
from topology.cluster import TIERS, Level
from topology.describe import node_name

_HEIGHT, _RADIUS = 390.0, 145.0
#: Pairs drawn as one thin path behind the rest.
_MOST_PAIRS = 3000


def draw_ring(sheet: Sheet, y: float, anatomy: Anatomy, at: int, opened: Place | None, load: LinkLoad | None) -> tuple[float, Place | None]:
    """Draw step ``at``, whose units are joined to each other, in a ring: groups, or switches of one; the first one's links in front."""
    step = anatomy.steps[at]
    assert step.peers is not None
    links, units, peers = anatomy.cluster.links, step.inner, step.peers
    tier = TIERS.index("global" if units.level.name == "pod" else "local")
    if units.level.name == "pod":
        spots, ends, first = list(range(int(max(peers.unit_u.max(), peers.unit_v.max())) + 1)), (peers.unit_u, peers.unit_v), {0}
        mean = dict(enumerate(units.mean_ratio.tolist()))
        title = plural("group", len(spots))
    else:
        spots, ends = _switches(anatomy, step.members, units.level), (links.u[peers.links], links.v[peers.links])
        first = set(_switches(anatomy, step.members[:1], units.level))
        mean = _mean_by_node(anatomy, load)
        title = plural("switch", len(spots))
        title += "" if len(first) == 1 else f" in {plural(units.word, len(step.members))}"
    panel(sheet, y, _HEIGHT, opened, f"{step.title}: {title}, joined to each other")
    figures(sheet, y, _facts(anatomy, step, tier, load is not None))
    middle_x, middle_y = LEFT + 260.0, y + 20 + (_HEIGHT - 34) / 2
    where = {
        spot: (middle_x - _RADIUS * sin(2 * pi * place / len(spots)), middle_y + _RADIUS * cos(2 * pi * place / len(spots)))
        for place, spot in enumerate(spots)
    }
    here = np.isin(ends[0], spots) & np.isin(ends[1], spots) & (ends[0] != ends[1])
    pairs = np.unique(np.sort(np.stack([ends[0][here], ends[1][here]]), axis=0), axis=1)
    faint = pairs[:, :: max(1, -(-pairs.shape[1] // _MOST_PAIRS))]
    sheet.path("".join(_chord(where[u], where[v]) for u, v in faint.T.tolist()), RULE, 0.5 if load is None else 0.3)
    front = spots[0]
    bundles: dict[int, list[int]] = {}
    for link, u, v in zip(peers.links[here].tolist(), ends[0][here].tolist(), ends[1][here].tolist(), strict=True):
        if front in (u, v):
            bundles.setdefault(v if u == front else u, []).append(link)
    for other, bundle in bundles.items():
        colour = heat(float(load.mean_ratio[bundle].mean())) if load is not None else INK
        sheet.path(_chord(where[front], where[other]), colour, 0.8 if load is None else 1.6)
        if load is not None and load.down_seconds[bundle].any():
            (x1, y1), (x2, y2) = where[front], where[other]
            sheet.cross((x1 + x2) / 2, (y1 + y2) / 2, 4)
    size = min(8.0, 0.4 * 2 * pi * _RADIUS / len(spots))
    for spot in reversed(spots):
        fill = heat(mean.get(spot, 0.0)) if load is not None else BOX
        sheet.circle(*where[spot], size + 2 * (spot in first), fill, stroke=INK if spot in first else DIM)
    called = [f"group {names.pod(spot)}" if units.level.name == "pod" else node_name(anatomy.cluster, spot) for spot in spots]
    _labels(sheet, called, list(where.values()), middle_x, middle_y)
    _note(sheet, anatomy, step, y, load is not None, bundles, pairs.shape[1], called)
    x, spot_y = where[front]
    sheet.line(x, spot_y + size + 2, x, y + _HEIGHT, INK)
    return y + _HEIGHT, Place(x - 2, y + _HEIGHT, 4)


def _switches(anatomy: Anatomy, units: range, level: Level) -> list[int]:
    """The switches with hosts of some units."""
    first, end = level.first_host[units.start], level.first_host[units.stop]
    return np.flatnonzero((anatomy.cluster.links.node_tier == 1) & (anatomy.first_host >= first) & (anatomy.first_host < end)).tolist()


def _mean_by_node(anatomy: Anatomy, load: LinkLoad | None) -> dict[int, float]:
    """By switch, the mean load of the links to its peers."""
    if load is None:
        return {}
    links = anatomy.cluster.links
    ends = np.concatenate((links.u, links.v))
    weight = np.tile(links.bytes_per_second * (links.tier == TIERS.index("local")), 2)
    capacity = np.bincount(ends, weights=weight)
    used = np.bincount(ends, weights=weight * np.tile(load.mean_ratio, 2))
    return dict(enumerate((used / np.maximum(capacity, 1e-300)).tolist()))


def _chord(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"M{number(start[0])} {number(start[1])}L{number(end[0])} {number(end[1])}"


def _labels(sheet: Sheet, called: list[str], where: list[tuple[float, float]], middle_x: float, middle_y: float) -> None:
    """A few of the spots by name, outside the ring."""
    for place in sorted({len(where) * part // 8 for part in range(1, 8)} | {0}):
        x, y = where[place]
        dx, dy = (x - middle_x) / _RADIUS, (y - middle_y) / _RADIUS
        anchor = "middle" if abs(dx) < 0.3 else "" if dx > 0 else "end"
        if not place:
            sheet.text(x + 16, y + 24, called[0], 90, size=11.5, bold=True)
            continue
        sheet.text(x + 16 * dx, y + 16 * dy + 4, called[place], 90, size=11.5, colour=DIM, anchor=anchor)


def _hostless(anatomy: Anatomy, step: Step) -> bool:
    """Whether there are more groups, or more switches, than those with hosts below them."""
    links, units = anatomy.cluster.links, step.inner
    if units.level.name == "pod":
        return any(
            int(max(peers.unit_u.max(), peers.unit_v.max())) >= len(units) for peers in anatomy.cluster.peers if peers.level == "pod"
        )
    return anatomy.cluster.counts.leaf > len(np.unique(links.v[links.tier == 0]))


def _facts(anatomy: Anatomy, step: Step, tier: int, coloured: bool) -> list[tuple[str, bool]]:
    units = step.inner
    some = " with hosts" if _hostless(anatomy, step) else " in all"
    lines = [(f"{plural(units.word, len(units))}{some}", True)]
    if units.level.name == "pod":
        lines.append((f"{int(anatomy.switches[1]):,} switches in all", True))
    lanes = int(anatomy.lanes[tier])
    lines.append((f"{cables(lanes, anatomy.bytes_per_second[tier] / max(lanes, 1))}, {TIERS[tier]}", False))
    if coloured:
        lines.append((f"mean load {percent(float(anatomy.mean_ratio[tier]))}", False))
        lines.append((f"busiest trunk, at its peak {percent(float(anatomy.peak_ratio[tier]))}", False))
        if anatomy.down_links[tier]:
            lines.append((f"{plural('trunk', int(anatomy.down_links[tier]))} down at some time", False))
    return lines


def _note(
    sheet: Sheet, anatomy: Anatomy, step: Step, y: float, coloured: bool, bundles: dict[int, list[int]], pairs: int, called: list[str]
) -> None:
    """What the ring shows, in words, at its right."""
    units, first, links = step.inner, step.members.start, anatomy.cluster.links
    outer = units.level.name == "pod"
    word, kind = ("group", "global") if outer else ("switch", "local")
    each = sorted({int(links.lanes[bundle].sum()) for bundle in bundles.values()}) or [0]
    lanes = sum(int(links.lanes[bundle].sum()) for bundle in bundles.values())
    bandwidth = sum(float(links.bytes_per_second[bundle].sum()) for bundle in bundles.values())
    opened = f"{unit_name(anatomy.cluster, units, first)}, opened below"
    lines = [opened[:1].upper() + opened[1:], f"{units.gpus[first]:,} GPUs in {plural('host', int(units.hosts[first]))}"]
    if outer or units.switches[first, 1] > 1:
        lines.append(plural("switch", int(units.switches[first, 1])))
    lines.append("")
    lines.append(f"From {called[0]} {lanes:,} {kind} cables, {bits(bandwidth)} each way:")
    lines.append(f"{each[0]:,}{f' to {each[-1]:,}' if len(each) > 1 else ''} to each of {plural(word, len(bundles))}")
    if outer and len(called) > len(units):
        lines.append(f"{plural('group', len(called) - len(units))} without hosts: storage, services")
    lines.append("")
    lines.append(f"Thin: all {pairs:,} pairs with cables" if pairs <= _MOST_PAIRS else f"Thin: some of {pairs:,} pairs with cables")
    if coloured:
        lines.append(f"Spots: mean load of all {kind} cables of the {word}")
    for place, line in enumerate(lines):
        sheet.text(LEFT + 520, y + 100 + 20 * place, line, RIGHT - LEFT - 540, size=12.5, bold=not place)
