"""One step inwards as a row: the switches above, the units below, some of them drawn, and all of them as a strip."""

from dataclasses import dataclass

import numpy as np

from emulator.report.picture.anatomy import SWITCHES, Anatomy, Step, Tier, Units, unit_name
from emulator.report.picture.ink import BOX, DIM, INK, PAPER, RULE, SHADE, Sheet, number, text_width
from emulator.report.picture.load import LinkLoad, heat, ink_on
from emulator.report.units import percent, si
from topology.describe import node_name
from topology.vocabulary import FIBRE_SECONDS_PER_METRE

#: Pixels: of the picture, of the column of figures at its left, and where the drawing begins and ends.
WIDTH, MARGIN, FIGURES, LEFT, RIGHT = 1240.0, 20.0, 262.0, 300.0, 1220.0
#: Most units drawn as boxes; of more the first ones and the last are drawn.
MOST_BOXES = 8
#: Switches drawn one by one.
MOST_SWITCHES = 16
#: Cells of a strip.
MOST_CELLS = 300
#: Host cells in a box.
MOST_HOSTS = 72
#: Of them, in one line.
_ROW_HOSTS = 9
#: Trunks between sites listed one by one, so many in a line, and the height of a line.
_MOST_WAN_LINES, _WAN_COLUMNS, _WAN_LINE = 30, 3, 16.0
_BAR, _GAP, _LINE = 26.0, 46.0, 15.0
#: Of the wires, so that what they cross can be told from them.
_WIRE = "#7d868e"
#: Okabe and Ito's colours, which can be told apart without seeing red or green; of host types.
TYPE_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")


@dataclass(frozen=True)
class Place:
    """Where a box was drawn: what is opened in the next row hangs from it."""

    x: float
    y: float
    width: float


def line_width(bytes_per_second: float) -> float:
    """Pixels for a bandwidth: 1 at 100 Gb/s, and 1.2 more for each ten times as much. Ten decades have to fit in one picture."""
    return max(1.0, 1.0 + 1.2 * float(np.log10(max(bytes_per_second * 8 / 1e11, 1e-9))))


def plural(word: str, count: int) -> str:
    """``196 arrays``."""
    words = {"leaf": "leaves", "chassis": "chassis", "switch": "switches", "inter-building": "inter-building"}
    return f"{count:,} {word if count == 1 else words.get(word, word + 's')}"


def bits(bytes_per_second: float) -> str:
    """A bandwidth as network people say it."""
    return si(bytes_per_second * 8, "b/s")


def cables(lanes: int, bytes_per_second: float) -> str:
    """``512 × 400G``."""
    return f"{lanes:,} × {bytes_per_second * 8e-9:,.4g}G"


def chosen(members: range) -> list[int | None]:
    """The units to draw, with None where some are left out."""
    if len(members) <= MOST_BOXES:
        return list(members)
    return [*members[: MOST_BOXES - 3], None, members[-1]]


def panel(sheet: Sheet, y: float, height: float, opened: Place | None, title: str) -> None:
    """The background and title of a row, hung from the box that it opens."""
    if opened is not None:
        steps = f"M{number(opened.x)} {number(opened.y)}H{number(opened.x + opened.width)}L{number(RIGHT)} {number(y)}H{number(LEFT)}Z"
        sheet.path(steps, RULE, 0.7, fill=SHADE)
    sheet.rect(LEFT, y, RIGHT - LEFT, height, SHADE, stroke=RULE, radius=4)
    sheet.text(LEFT + 12, y + 20, title[:1].upper() + title[1:], RIGHT - LEFT - 24, size=13.5, bold=True)


def figures(sheet: Sheet, y: float, lines: list[tuple[str, bool]]) -> None:
    """The column at the left of a row."""
    for place, (line, bold) in enumerate(lines):
        sheet.text(MARGIN, y + 20 + 17 * place, line, FIGURES, size=13 if bold else 12, colour=INK if bold else DIM, bold=bold)


@dataclass(frozen=True)
class _Layout:
    """Where the parts of a row go (pixels): from the top its title, a strip, a table of trunks, the switches and the boxes."""

    slots: list[int | None]  # what is drawn side by side: units, and None where some are left out
    words: list[list[str]]  # of each slot
    width: float  # of a slot
    lefts: list[float]  # of each slot
    strip: bool
    table_y: float
    tiers_y: float
    box_y: float
    box_height: float
    bottom: float

    def centres(self) -> dict[int, float]:
        """Of each unit drawn, the x of the middle of its box."""
        return {unit: left + self.width / 2 for unit, left in zip(self.slots, self.lefts, strict=True) if unit is not None}


def draw(sheet: Sheet, y: float, anatomy: Anatomy, at: int, opened: Place | None, load: LinkLoad | None) -> tuple[float, Place]:
    """Draw step ``at`` from ``y`` down; where it ends, and the box of the unit that the next step opens."""
    step, coloured = anatomy.steps[at], load is not None
    table = _wan_lines(anatomy, step)
    layout = _lay_out(anatomy, step, y, len(table), coloured)
    panel(sheet, y, layout.bottom - y, opened, _title(step))
    figures(sheet, y, _facts(anatomy, at, coloured))
    if step.tiers:
        _trunks(sheet, anatomy, step, layout.tiers_y, layout.box_y, layout.centres(), load)
    if step.peers is not None:
        _arcs(sheet, anatomy, step, layout.tiers_y if step.tiers else layout.box_y, layout.centres(), load)
    for slot, unit in enumerate(layout.slots):
        if unit is None:
            _left_out(sheet, layout, slot, len(step.members))
        else:
            _box(sheet, anatomy, step, layout, slot, unit, coloured)
    if layout.strip:
        _strip(sheet, step.inner, y + 32, coloured)
    for place, line in enumerate(table):
        row, column = divmod(place, _WAN_COLUMNS)
        sheet.text(LEFT + 12 + 302 * column, layout.table_y + 12 + _WAN_LINE * row, line, 294, size=11.5, colour=DIM)
    return layout.bottom, Place(layout.lefts[0], layout.box_y + layout.box_height, layout.width)


def _lay_out(anatomy: Anatomy, step: Step, y: float, trunks: int, coloured: bool) -> _Layout:
    """The layout of a row from ``y`` down, with a table of so many trunks between sites."""
    units, members = step.inner, step.members
    slots = chosen(members)
    words = [_words(anatomy, units, unit) if unit is not None else [] for unit in slots]
    hosts = _shows_hosts(units)
    box_height = 14 + _LINE * max(map(len, words)) + (38 if hosts and units.hosts[members.start] > _ROW_HOSTS else 22 if hosts else 6)
    strip = _wants_strip(anatomy, units, members, coloured)
    table_y = y + 34 + (26 if strip else 0)
    tiers_y = table_y + _WAN_LINE * -(-trunks // _WAN_COLUMNS) + _arcs_height(step)
    gap = (70.0 if hosts else _GAP) - 10
    box_y = tiers_y + (_BAR + 10) * len(step.tiers) + (gap if step.tiers else 0)
    width = min(230.0, (RIGHT - LEFT - 24 + 12) / len(slots) - 12)
    start = LEFT + 12 + (RIGHT - LEFT - 24 - len(slots) * (width + 12) + 12) / 2
    lefts = [start + slot * (width + 12) for slot in range(len(slots))]
    return _Layout(slots, words, width, lefts, strip, table_y, tiers_y, box_y, box_height, box_y + box_height + 14)


def _shows_hosts(units: Units) -> bool:
    """Whether the boxes have a cell per host."""
    return units.level.name in ("rack", "domain")


def _title(step: Step) -> str:
    """``Inside site A: 4 pods under 64 spine switches``."""
    title = f"{step.title}: {plural(step.inner.word, len(step.members))}"
    if step.peers is not None:
        return title + ", joined by a WAN"
    under = " and ".join(_switches(tier) for tier in step.tiers)
    return title + (f" under {under}" if under else "")


def _left_out(sheet: Sheet, layout: _Layout, slot: int, members: int) -> None:
    """How many of the members have no box, in the place of theirs."""
    middle, y = layout.lefts[slot] + layout.width / 2, layout.box_y + layout.box_height / 2
    left_out = members - sum(1 for unit in layout.slots if unit is not None)
    sheet.text(middle, y - 4, "…", layout.width, size=22, anchor="middle")
    sheet.text(middle, y + 16, f"{left_out:,} more", layout.width, colour=DIM, anchor="middle")


def _box(sheet: Sheet, anatomy: Anatomy, step: Step, layout: _Layout, slot: int, unit: int, coloured: bool) -> None:
    """A unit: its words, its hosts or the types of them, and a cross where a link of it has been down."""
    units, words = step.inner, layout.words[slot]
    x, y, width, height = layout.lefts[slot], layout.box_y, layout.width, layout.box_height
    fill = heat(units.mean_ratio[unit]) if coloured else BOX
    opens = unit == step.members.start
    sheet.rect(x, y, width, height, fill, stroke=INK if opens else DIM, weight=2 if opens else 1)
    for place, words_of_line in enumerate(words):
        line = words_of_line if text_width(words_of_line, 12) <= width - 14 else words_of_line.removesuffix(" up")
        sheet.text(x + 7, y + 17 + _LINE * place, line, width - 14, size=12, colour=ink_on(fill), bold=not place)
    if _shows_hosts(units):
        _hosts(sheet, anatomy, units, unit, x + 8, y + 12 + _LINE * len(words), width - 16)
    else:
        _types(sheet, units, unit, x, y + height - 6, width)
    if units.down_links[unit]:
        sheet.cross(x + width - 10, y + 10, 5)


def _words(anatomy: Anatomy, units: Units, unit: int) -> list[str]:
    """What a box says: at most as many lines as any kind of unit needs."""
    cluster = anatomy.cluster
    lines = [unit_name(cluster, units, unit)]
    if units.level.name == "domain" and units.hosts[unit] == 1:
        return [*lines, cables(int(units.lanes[unit]), units.lane_bytes_per_second[unit]) + " up"]
    lines.append(f"{units.gpus[unit]:,} GPUs")
    if units.level.name in ("rack", "domain"):
        hosts = int(units.hosts[unit])
        drawn = f", {MOST_HOSTS} drawn" if hosts > MOST_HOSTS else ""
        return [*lines, plural("host", hosts) + drawn, cables(int(units.lanes[unit]), units.lane_bytes_per_second[unit]) + " up"]
    if units.level.name in ("site", "building"):
        lines.append(f"{units.hosts[unit]:,} hosts")
        lines.append(f"{si(units.watts[unit], 'W')} IT")
    inside = units.switches[unit].tolist()
    lines += [plural(SWITCHES[tier], count) for tier, count in reversed(list(enumerate(inside))) if count]
    if units.lanes[unit]:
        lines.append(cables(int(units.lanes[unit]), units.lane_bytes_per_second[unit]) + " up" * bool(units.level.uplinks.size))
    return lines


def _facts(anatomy: Anatomy, at: int, coloured: bool) -> list[tuple[str, bool]]:
    """The figures of the whole machine that a row stands for."""
    step = anatomy.steps[at]
    units = step.inner
    lines = [(f"{tier.everywhere:,} {SWITCHES[tier.tier]} switches in all", True) for tier in step.tiers]
    lines.append((f"{plural(units.word, len(units))} in all", not step.tiers))
    lanes, capacity = int(units.lanes.sum()), float(units.bytes_per_second.sum())
    if not lanes:
        return lines
    speeds = np.unique(units.lane_bytes_per_second)
    lines.append((f"{cables(lanes, speeds[0]) if len(speeds) == 1 else f'{lanes:,} cables'} up", False))
    lines.append((f"{bits(capacity)} each way", False))
    if at + 1 < len(anatomy.steps):
        below = anatomy.steps[at + 1].inner
        ratio = float(below.bytes_per_second.sum()) / capacity if below.level.uplinks.size else 0.0
        if ratio > 1.005:
            lines.append((f"oversubscribed {ratio:,.3g} : 1 (down to up)", False))
        elif ratio:
            lines.append(("as much up as down (1 : 1)", False))
    if coloured:
        mean = float((units.mean_ratio * units.weight).sum()) / max(float(units.weight.sum()), 1e-300)
        lines.append((f"mean load {percent(mean)}", False))
        nics = bool((anatomy.cluster.links.tier[units.level.uplinks] == 0).all())
        lines.append((f"busiest trunk, {'mean' if nics else 'at its peak'} {percent(float(units.peak_ratio.max()))}", False))
        down = int(units.down_links.sum())
        if down:
            lines.append((f"{plural('trunk', down)} down at some time", False))
    return lines


def _trunks(sheet: Sheet, anatomy: Anatomy, step: Step, top: float, box_y: float, centres: dict[int, float], load: LinkLoad | None) -> None:
    """The switches above the boxes and what joins the two."""
    units, links = step.inner, anatomy.cluster.links
    lowest = step.tiers[-1]
    bar_y = top + (_BAR + 10) * (len(step.tiers) - 1)
    single = len(lowest.nodes) == lowest.here and 1 < lowest.here <= MOST_SWITCHES and units.level.name in ("rack", "domain")
    nodes = lowest.nodes if single else lowest.nodes[:0]
    pitch = (RIGHT - LEFT - 24 + 8) / max(len(nodes), 1)
    for unit, x in centres.items():
        mine = units.level.uplinks[units.level.uplink_start[unit] : units.level.uplink_start[unit + 1]]
        if not single:
            colour = heat(units.mean_ratio[unit]) if load is not None else _WIRE
            _wire(sheet, x, bar_y + _BAR, x, box_y, units.bytes_per_second[unit], colour, load is not None)
            continue
        for place, node in enumerate(nodes):
            own = mine[links.v[mine] == node]
            if len(own):
                middle = LEFT + 12 + pitch * place + (pitch - 8) / 2
                colour = heat(float(load.mean_ratio[own].mean())) if load is not None else _WIRE
                _wire(sheet, middle, bar_y + _BAR, x, box_y, float(links.bytes_per_second[own].sum()), colour, load is not None)
    for place, tier in enumerate(step.tiers):
        y = top + (_BAR + 10) * place
        if tier is lowest and single:
            for at in range(len(nodes)):
                x = LEFT + 12 + pitch * at
                sheet.rect(x, y, pitch - 8, _BAR, PAPER, stroke=INK)
                sheet.text(x + (pitch - 8) / 2, y + 17, node_name(anatomy.cluster, int(nodes[at])), pitch - 14, anchor="middle")
            continue
        if units.level.name == "site":
            _gateways(sheet, anatomy, units, tier, y, centres)
            continue
        sheet.rect(LEFT + 12, y, RIGHT - LEFT - 24, _BAR, PAPER, stroke=INK)
        sheet.text((LEFT + RIGHT) / 2, y + 17, _switches(tier), RIGHT - LEFT - 40, anchor="middle")


def _switches(tier: Tier) -> str:
    return f"{tier.here:,} {SWITCHES[tier.tier]} switch{'es' * (tier.here != 1)}"


def _gateways(sheet: Sheet, anatomy: Anatomy, units: Units, tier: Tier, y: float, centres: dict[int, float]) -> None:
    """Every site has its own."""
    width = min(180.0, 700.0 / len(centres))
    for unit, x in centres.items():
        first, end = units.level.first_host[unit], units.level.first_host[unit + 1]
        mine = tier.nodes[(anatomy.first_host[tier.nodes] >= first) & (anatomy.first_host[tier.nodes] < end)]
        sheet.rect(x - width / 2, y, width, _BAR, PAPER, stroke=INK)
        count = int(anatomy.cluster.links.switches[mine].sum())
        sheet.text(x, y + 17, plural("gateway", count), width - 8, size=11.5, anchor="middle")


def _wan_lines(anatomy: Anatomy, step: Step) -> list[str]:
    """The links that join the sites, one by one, up to a number that can be read."""
    if step.peers is None:
        return []
    cluster, lines = anatomy.cluster, []
    for link, u, v in zip(step.peers.links.tolist(), step.peers.unit_u.tolist(), step.peers.unit_v.tolist(), strict=True):
        kilometres = float(cluster.links.latency_seconds[link]) / FIBRE_SECONDS_PER_METRE / 1000
        ends = f"{unit_name(cluster, step.inner, u)} – {unit_name(cluster, step.inner, v)}"
        lines.append(f"{ends}: {kilometres:,.0f} km, {bits(float(cluster.links.bytes_per_second[link]))}")
    left = len(lines) - _MOST_WAN_LINES
    return lines if left <= 0 else [*lines[: _MOST_WAN_LINES - 1], f"and {left + 1:,} more trunks"]


def _wire(sheet: Sheet, x1: float, y1: float, x2: float, y2: float, bytes_per_second: float, colour: str, cased: bool) -> None:
    width = line_width(bytes_per_second)
    if cased:
        sheet.line(x1, y1, x2, y2, DIM, width + 1.6)
    sheet.line(x1, y1, x2, y2, colour, width)


def _arcs_height(step: Step) -> float:
    return 0.0 if step.peers is None else 30.0 + 16 * min(len(step.members), MOST_BOXES)


def _arcs(sheet: Sheet, anatomy: Anatomy, step: Step, y: float, centres: dict[int, float], load: LinkLoad | None) -> None:
    """Links between the units themselves, as arcs over them; of those that are drawn."""
    assert step.peers is not None
    links, reach = anatomy.cluster.links, _arcs_height(step) - 20
    widest = max(centres.values()) - min(centres.values()) or 1.0
    for link, u, v in zip(step.peers.links.tolist(), step.peers.unit_u.tolist(), step.peers.unit_v.tolist(), strict=True):
        if u not in centres or v not in centres:
            continue
        (x1, x2), width = sorted((centres[u], centres[v])), line_width(float(links.bytes_per_second[link]))
        rise = 14 + (reach - 14) * (x2 - x1) / widest
        crest = number(y - rise * 4 / 3)
        steps = f"M{number(x1)} {number(y)}C{number(x1)} {crest} {number(x2)} {crest} {number(x2)} {number(y)}"
        if load is not None:
            sheet.path(steps, DIM, width + 1.6)
        sheet.path(steps, heat(float(load.mean_ratio[link])) if load is not None else _WIRE, width)
        if load is not None and load.down_seconds[link] > 0:
            sheet.cross((x1 + x2) / 2, y - rise, 5)


def _hosts(sheet: Sheet, anatomy: Anatomy, units: Units, unit: int, x: float, y: float, room: float) -> None:
    """A cell per host of the box."""
    first, count = int(units.level.first_host[unit]), int(units.hosts[unit])
    colours = [
        TYPE_COLOURS[kind % len(TYPE_COLOURS)]
        for kind in range(len(anatomy.cluster.host_types))
        for _ in range(units.hosts_by_type[unit, kind])
    ]
    shown = min(count, MOST_HOSTS)
    columns = shown if shown <= _ROW_HOSTS else -(-shown // 2)
    size = min(14.0, room / columns - 2)
    for cell in range(shown):
        row, column = divmod(cell, columns)
        sheet.rect(
            x + column * (size + 2),
            y + row * (size + 2),
            size,
            size,
            colours[cell],
            radius=1.5,
            title=anatomy.cluster.host_name(first + cell),
        )


def _types(sheet: Sheet, units: Units, unit: int, x: float, y: float, width: float) -> None:
    """What hosts a box has, as a band at its foot."""
    for kind, hosts in enumerate(units.hosts_by_type[unit].tolist()):
        part = width * hosts / int(units.hosts[unit])
        if part:
            sheet.rect(x, y, part, 6, TYPE_COLOURS[kind % len(TYPE_COLOURS)], radius=0)
        x += part


def _wants_strip(anatomy: Anatomy, units: Units, members: range, coloured: bool) -> bool:
    """Whether the boxes do not show all units."""
    return len(units) > MOST_BOXES and (coloured or len(anatomy.cluster.host_types) > 1)


def _strip(sheet: Sheet, units: Units, y: float, coloured: bool) -> None:
    """All units of the machine in order, in as many cells as there is room for, each the mean of its units."""
    count = min(len(units), MOST_CELLS)
    edges = np.linspace(0, len(units), count + 1).astype(np.int64)
    label = f"all {plural(units.word, len(units))}"
    if len(units) > count:
        label += f", {len(units) / count:,.3g} a cell"
    sheet.text(LEFT + 12, y + 12, label, 210, size=11.5, colour=DIM)
    left, pitch = LEFT + 228, (RIGHT - LEFT - 240) / count
    for cell, (first, end) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        weight = units.weight[first:end]
        mean = float((units.mean_ratio[first:end] * weight).sum() / max(float(weight.sum()), 1e-300))
        kind = int(units.hosts_by_type[first:end].sum(axis=0).argmax())
        colour = heat(mean) if coloured else TYPE_COLOURS[kind % len(TYPE_COLOURS)]
        sheet.rect(left + cell * pitch, y, pitch, 14, colour, radius=0)
        if units.down_links[first:end].any():
            sheet.rect(left + cell * pitch, y + 15, max(pitch, 2.0), 5, "#000000", radius=0)
    sheet.rect(left, y, RIGHT - LEFT - 240, 14, "none", stroke=RULE, radius=0)
