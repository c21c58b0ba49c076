"""The picture of a machine: title, a row for each step inwards, one host, and the key."""

from emulator.power.facility import facility_milliwatts
from emulator.racks.power import MILLIWATTS_PER_WATT, most_milliwatts
from emulator.report.picture.anatomy import Anatomy, take_apart
from emulator.report.picture.ink import BOX, DIM, PAPER, RULE, Sheet
from emulator.report.picture.load import LinkLoad, heat
from emulator.report.picture.ring import draw_ring
from emulator.report.picture.row import (
    FIGURES,
    LEFT,
    MARGIN,
    RIGHT,
    TYPE_COLOURS,
    WIDTH,
    Place,
    bits,
    draw,
    figures,
    line_width,
    panel,
    plural,
)
from emulator.report.units import si
from emulator.scenario import Scenario
from topology.catalog import HostType
from topology.cluster import Cluster

_SPACE = 22.0


def picture(cluster: Cluster, scenario: Scenario, load: LinkLoad | None = None, *, loaded_from: str = "") -> str:
    """The cluster of a scenario as an SVG document; coloured by the load of a run, where one is given, of the directory so called."""
    anatomy = take_apart(cluster, load)
    sheet = Sheet()
    y = _heading(sheet, anatomy, scenario, loaded_from)
    opened: Place | None = None
    for at, step in enumerate(anatomy.steps):
        # A ring of spots shows forty groups in the space where boxes would show seven.
        ring = not step.tiers and step.peers is not None
        y, opened = (draw_ring if ring else draw)(sheet, y, anatomy, at, opened, load)
        y += _SPACE
    y = _host(sheet, y, anatomy, opened) + _SPACE
    y = _key(sheet, y, anatomy, scenario, load is not None)
    return sheet.document(WIDTH, y, f"{scenario.name}: {scenario.description or 'a cluster'}")


def _heading(sheet: Sheet, anatomy: Anatomy, scenario: Scenario, loaded_from: str) -> float:
    cluster = anatomy.cluster
    room = WIDTH - 2 * MARGIN
    sheet.text(MARGIN, 34, scenario.name, room, size=24, bold=True)
    sheet.text(MARGIN, 56, scenario.description, room, size=14, colour=DIM)
    sections = scenario.cluster.parts or (scenario.cluster,)
    models = dict.fromkeys(name for part in sections for name in (part.switch, part.spine_switch) if name is not None)
    counts = [
        f"{cluster.gpu_count:,} GPUs",
        plural("host", cluster.host_count),
        plural("rack", len(cluster.level("rack"))),
        plural("switch", int(anatomy.switches.sum())) + f" ({', '.join(models)})",
        f"{int(anatomy.lanes.sum()):,} cables",
    ]
    sheet.text(MARGIN, 82, "  ·  ".join(counts), room, size=15, bold=True)
    milliwatts = most_milliwatts(cluster)
    facility = facility_milliwatts(milliwatts, scenario.power.pue) / MILLIWATTS_PER_WATT
    power = f"Hosts and switches draw at most {si(milliwatts / MILLIWATTS_PER_WATT, 'W')}, "
    power += f"the facility {si(facility, 'W')} (PUE {scenario.power.pue:g})"
    cap = scenario.power.cap
    power += f"; cap {si(cap, 'W')}" if cap is not None else "; no power cap"
    sheet.text(MARGIN, 104, power, room, size=13)
    if loaded_from:
        sheet.text(MARGIN, 124, f"Coloured by the mean load of the cables over the run in {loaded_from}", room, size=13)
        return 142.0
    return 122.0


def _host(sheet: Sheet, y: float, anatomy: Anatomy, opened: Place | None) -> float:
    """The first host, opened: its NICs, its GPUs and what joins them."""
    cluster = anatomy.cluster
    host = cluster.host_types[int(cluster.block_type[0])]
    height = 150.0
    panel(sheet, y, height, opened, f"host {cluster.host_name(0)} of {cluster.host_count:,}: {host.name}")
    figures(
        sheet,
        y,
        [
            (f"{host.gpus} × {host.gpu.name}", True),
            (f"{plural('NIC', host.nics)} of {bits(host.nic_bytes_per_second)}", False),
            (f"{si(host.idle_watts, 'W')} idle, {si(host.peak_watts, 'W')} at most", False),
            (f"{si(host.rated_watts, 'W')} rated", False),
        ],
    )
    left, room = LEFT + 24, RIGHT - LEFT - 48
    pitch = min(110.0, room / max(host.nics, host.gpus))
    for nic in range(host.nics):
        x = left + (room - host.nics * pitch) / 2 + nic * pitch
        sheet.line(x + (pitch - 10) / 2, y + 28, x + (pitch - 10) / 2, y + 40, DIM, line_width(host.nic_bytes_per_second))
        sheet.rect(x, y + 40, pitch - 10, 24, PAPER, stroke=DIM)
        sheet.text(x + (pitch - 10) / 2, y + 56, f"NIC {nic}", pitch - 14, size=11.5, anchor="middle")
    for gpu in range(host.gpus):
        x = left + (room - host.gpus * pitch) / 2 + gpu * pitch
        sheet.rect(x, y + 74, pitch - 10, 28, TYPE_COLOURS[int(cluster.block_type[0]) % len(TYPE_COLOURS)])
        sheet.text(x + (pitch - 10) / 2, y + 92, f"GPU {gpu}", pitch - 14, size=11.5, colour=PAPER, bold=True, anchor="middle")
    sheet.rect(left, y + 112, room, 26, BOX, stroke=DIM)
    domain = f"scale-up domain of {host.domain_gpus} GPUs"
    domain += f" over {host.domain_hosts} hosts" if host.domain_hosts > 1 else " (this host)"
    domain += f": {host.gpu.scale_up_bytes_per_second / 1e9:,.0f} GB/s each way a GPU"
    sheet.text(left + room / 2, y + 129, domain, room - 20, anchor="middle")
    return y + height


def _key(sheet: Sheet, y: float, anatomy: Anatomy, scenario: Scenario, coloured: bool) -> float:
    """What colours and widths mean, and what is assumed."""
    cluster = anatomy.cluster
    sheet.line(MARGIN, y, RIGHT, y, RULE)
    sheet.text(MARGIN, y + 24, "Key", FIGURES, size=14, bold=True)
    for place, bytes_per_second in enumerate((100e9 / 8, 10e12 / 8, 1e15 / 8)):
        line_y = y + 44 + 19 * place
        sheet.line(MARGIN, line_y, MARGIN + 44, line_y, DIM, line_width(bytes_per_second))
        sheet.text(MARGIN + 54, line_y + 4, f"{bits(bytes_per_second)} each way", FIGURES - 54)
    sheet.text(MARGIN, y + 107, "logarithmic widths; one width in rings", FIGURES, colour=DIM)
    for place, (host, count) in enumerate(zip(cluster.host_types, cluster.type_hosts, strict=True)):
        line_y = y + 20 + 19 * place
        sheet.rect(LEFT, line_y - 11, 14, 14, TYPE_COLOURS[place % len(TYPE_COLOURS)])
        sheet.text(LEFT + 22, line_y, _type_line(host, count), RIGHT - LEFT - 22)
    bottom = y + 20 + 19 * len(cluster.host_types)
    if coloured:
        for step in range(100):
            sheet.rect(LEFT + 3 * step, bottom - 6, 3.2, 14, heat(step / 99), radius=0)
        sheet.rect(LEFT, bottom - 6, 300, 14, "none", stroke=RULE, radius=0)
        for ratio in (0, 25, 50, 75, 100):
            sheet.text(LEFT + 3 * ratio, bottom + 22, f"{ratio} %", 60, size=11.5, anchor="middle", colour=DIM)
        sheet.text(LEFT + 326, bottom + 5, "mean load of cables, of their capacity", 260)
        sheet.cross(LEFT + 610, bottom + 1, 5)
        sheet.text(LEFT + 624, bottom + 5, "or black: a trunk was down at some time", RIGHT - LEFT - 624)
        bottom += 42
    count = len(scenario.assumptions)
    if count:
        about = f"What is published and what is assumed about it ({plural('sentence', count)}): gigawatt topology show {scenario.name}"
        sheet.text(LEFT, bottom + 6, about, RIGHT - LEFT, colour=DIM)
        bottom += 22
    return max(bottom, y + 112) + 18


def _type_line(host: HostType, count: int) -> str:
    gpus = f"{count * host.gpus:,} × {host.gpu.name}" if host.gpus else "no GPUs"
    power = f"{si(host.peak_watts, 'W')} each at most ({si(host.rated_watts, 'W')} rated)"
    return f"{plural('host', count)} {host.name}: {gpus}, {power}"
