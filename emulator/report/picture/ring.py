"""A dragonfly: its groups in a ring, one group opened, and a switch of it with its hosts (Kim et al., ISCA'08)."""

from math import cos, pi, sin

import numpy as np

from emulator.report.picture.anatomy import Anatomy, Step
from emulator.report.picture.ink import BOX, DIM, INK, RULE, Sheet, number
from emulator.report.picture.load import LinkLoad, heat
from emulator.report.picture.row import LEFT, RIGHT, Place, cables, figures, line_width, panel, plural
from emulator.report.units import percent
from topology.cluster import TIERS

_HEIGHT, _RADIUS = 400.0, 150.0
#: Pairs drawn as one thin path behind the rest.
_MOST_PAIRS = 3000


def draw_ring(sheet: Sheet, y: float, anatomy: Anatomy, at: int, opened: Place | None, load: LinkLoad | None) -> tuple[float, Place | None]:
    """Draw step ``at``, whose units are joined to each other: units in a ring, the links of the first one in front."""
    step = anatomy.steps[at]
    assert step.peers is not None
    links, units, members = anatomy.cluster.links, step.inner, step.members
    panel(sheet, y, _HEIGHT, opened, f"{step.title}: {plural(units.word, len(members))}, each joined to the others")
    tier = TIERS.index("global" if units.level.name == "pod" else "local")
    figures(sheet, y, _facts(anatomy, step, tier, load is not None))
    middle_x, middle_y = LEFT + 260.0, y + 34 + (_HEIGHT - 34) / 2
    spots = {
        unit: (middle_x + _RADIUS * sin(2 * pi * place / len(members)), middle_y - _RADIUS * cos(2 * pi * place / len(members)))
        for place, unit in enumerate(members)
    }
    here = (step.peers.unit_u >= members.start) & (step.peers.unit_u < members.stop) & (step.peers.unit_u != step.peers.unit_v)
    own = here & ((step.peers.unit_u == members.start) | (step.peers.unit_v == members.start))
    pairs = np.unique(np.stack([step.peers.unit_u[here], step.peers.unit_v[here]]), axis=1)
    faint = pairs[:, :: max(1, -(-pairs.shape[1] // _MOST_PAIRS))]
    sheet.path("".join(_chord(spots[u], spots[v]) for u, v in faint.T.tolist()), RULE, 0.5)
    bundles: dict[int, list[int]] = {}
    for link, u, v in zip(step.peers.links[own].tolist(), step.peers.unit_u[own].tolist(), step.peers.unit_v[own].tolist(), strict=True):
        bundles.setdefault(v if u == members.start else u, []).append(link)
    for other, bundle in bundles.items():
        colour = heat(float(load.mean_ratio[bundle].mean())) if load is not None else INK
        width = line_width(float(links.bytes_per_second[bundle].sum()))
        sheet.path(_chord(spots[members.start], spots[other]), colour, 0.4 * width)
        if load is not None and load.down_seconds[bundle].any():
            (x1, y1), (x2, y2) = spots[members.start], spots[other]
            sheet.cross((x1 + x2) / 2, (y1 + y2) / 2, 4)
    size = min(8.0, 0.4 * 2 * pi * _RADIUS / len(members))
    for unit in reversed(members):
        x, spot_y = spots[unit]
        fill = heat(units.mean_ratio[unit]) if load is not None else BOX
        sheet.circle(x, spot_y, size + 3 * (unit == members.start), fill, stroke=INK, title=f"{units.word} {unit + 1}")
    _labels(sheet, step, spots, middle_x, middle_y)
    _note(sheet, anatomy, step, y, load is not None, int(own.sum()), bundles, pairs.shape[1])
    x, spot_y = spots[members.start]
    return y + _HEIGHT, Place(x - size - 3, spot_y, 2 * size + 6)


def _chord(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"M{number(start[0])} {number(start[1])}L{number(end[0])} {number(end[1])}"


def _labels(sheet: Sheet, step: Step, spots: dict[int, tuple[float, float]], middle_x: float, middle_y: float) -> None:
    """A few of the units by number, outside the ring."""
    members = step.members
    for place in sorted({0, len(members) // 4, len(members) // 2, 3 * len(members) // 4}):
        unit = members[place]
        x, y = spots[unit]
        dx, dy = (x - middle_x) / _RADIUS, (y - middle_y) / _RADIUS
        anchor = "middle" if abs(dx) < 0.3 else "" if dx > 0 else "end"
        name = f"{step.inner.word} {unit - members.start + 1}"
        sheet.text(x + 18 * dx, y + 18 * dy + 4, name, 80, size=11.5, colour=DIM, anchor=anchor)


def _facts(anatomy: Anatomy, step: Step, tier: int, coloured: bool) -> list[tuple[str, bool]]:
    units = step.inner
    lines = [(f"{plural(units.word, len(units))} in all", True)]
    if units.level.name == "pod":
        lines.append((f"{int(anatomy.switches[1]):,} switches in all", True))
    lanes = int(anatomy.lanes[tier])
    lines.append((f"{cables(lanes, anatomy.bytes_per_second[tier] / max(lanes, 1))}, {TIERS[tier]}", False))
    if coloured:
        lines.append((f"mean load {percent(float(anatomy.mean_ratio[tier]))}", False))
        lines.append((f"busiest link, at its peak {percent(float(anatomy.peak_ratio[tier]))}", False))
        if anatomy.down_links[tier]:
            lines.append((f"{plural('link', int(anatomy.down_links[tier]))} down at some time", False))
    return lines


def _note(
    sheet: Sheet, anatomy: Anatomy, step: Step, y: float, coloured: bool, links: int, bundles: dict[int, list[int]], pairs: int
) -> None:
    """What the ring shows, in words, at its right."""
    units, first, all_links = step.inner, step.members.start, anatomy.cluster.links
    kind = "global" if units.level.name == "pod" else "local"
    lanes = int(all_links.lanes[[link for bundle in bundles.values() for link in bundle]].sum())
    per_pair = sorted({int(all_links.lanes[bundle].sum()) for bundle in bundles.values()})
    low, high = (per_pair[0], per_pair[-1]) if per_pair else (0, 0)
    lines = [
        f"{units.word} 1 (opened below)",
        f"{units.gpus[first]:,} GPUs in {plural('host', int(units.hosts[first]))}",
        *([plural("switch", int(units.switches[first, 1]))] if units.switches[first, 1] > 1 else []),
        f"{lanes:,} {kind} cables to {plural(units.word, len(bundles))}:",
        f"{low:,}{'' if low == high else f' to {high:,}'} to each",
        "",
        f"in front: the links of {units.word} 1",
        f"behind: {pairs:,} pairs of {plural(units.word, 2).split(' ')[1]} with links" + (", some drawn" if pairs > _MOST_PAIRS else ""),
        *(["spots: mean load of all links of the " + units.word] if coloured else []),
    ]
    for place, line in enumerate(lines):
        sheet.text(LEFT + 520, y + 90 + 20 * place, line, RIGHT - LEFT - 540, size=12.5, bold=not place, colour=DIM if place > 5 else INK)
