"""docs/presets.md, written from the presets themselves: ``python -m emulator.scenario.presets_page docs/presets.md``."""

import sys
from dataclasses import dataclass
from pathlib import Path

from emulator.power.facility import facility_milliwatts
from emulator.racks.power import most_milliwatts, switch_milliwatts
from emulator.scenario.build import build_cluster
from emulator.scenario.load import load, presets
from emulator.scenario.models import Scenario
from topology.cluster import Cluster, Counts

_INTRO = """\
# Presets

Written by `python -m emulator.scenario.presets_page docs/presets.md` from `emulator/scenario/presets/*.yaml`; do not edit.

Run one with `gigawatt run NAME`, see its fabric with `gigawatt topology show NAME`, change it with `--set`, e.g.
`gigawatt run colossus --set cluster.gpus=20000`.

GPUs, hosts, racks, switches and cables are counted in the compiled cluster. *MW* is the power of all hosts at their measured maximum draw
in training and of all switches at their typical draw, times PUE; *cap* is what the site may draw. Ratings are higher: an 8 x H100 host is
rated 10.2 kW, and at most 8.4 kW were measured (arXiv 2412.08602). The rated power of a cluster may exceed its cap, since hosts here draw
at most what was measured.

Every statement about a machine below says what it is. *Published*: its operator, its vendor or a paper says so. *Derived*: it follows from
what is published by arithmetic. *Inferred*: it explains what is published, but other explanations exist. *Assumed*: nobody outside knows;
replace it with your own figure.
"""


@dataclass(frozen=True)
class Figures:
    """The figures of a preset's cluster."""

    scenario: Scenario
    hosts_by_type: tuple[tuple[str, int], ...]
    counts: Counts
    buildings: int
    sites: tuple[str, ...]
    peak_watts: float  # of all hosts and switches, times PUE
    switch_watts: float  # of all switches

    @property
    def switches(self) -> int:
        counts = self.counts
        return counts.leaf + counts.spine + counts.core + counts.inter_building + counts.wan

    @property
    def cables(self) -> int:
        """Between switches."""
        counts = self.counts
        clos = counts.leaf_spine_links + counts.spine_core_links + counts.inter_building_links
        return clos + counts.local_links + counts.global_links + counts.gateway_links + counts.wan_links


def figures(scenario: Scenario, cluster: Cluster) -> Figures:
    """Of a scenario and its compiled cluster."""
    hosts = list(zip(cluster.host_types, cluster.type_hosts, strict=True))
    units = {level.name: len(level) for level in cluster.levels}
    return Figures(
        scenario=scenario,
        hosts_by_type=tuple((host.name, count) for host, count in hosts),
        counts=cluster.counts,
        buildings=units.get("building", units["site"]),
        sites=cluster.site_names,
        peak_watts=facility_milliwatts(most_milliwatts(cluster), scenario.power.pue) / 1000,
        switch_watts=int(switch_milliwatts(cluster.links).sum()) / 1000,
    )


def _megawatts(watts: float) -> str:
    return f"{watts / 1e6:,.1f}" if watts < 1e8 else f"{watts / 1e6:,.0f}"


def _row(found: Figures) -> str:
    counts, cap = found.counts, found.scenario.power.cap
    cells = [
        f"[{found.scenario.name}](#{found.scenario.name})",
        f"{counts.gpus:,}",
        f"{counts.hosts:,}",
        f"{counts.racks:,}",
        f"{found.switches:,}",
        f"{counts.host_leaf_links:,}",
        f"{found.cables:,}",
        f"{found.buildings:,}",
        f"{len(found.sites):,}",
        _megawatts(found.peak_watts),
        "" if cap is None else _megawatts(cap),
    ]
    return f"| {' | '.join(cells)} |"


def _section(found: Figures) -> list[str]:
    counts = found.counts
    hosts = ", ".join(f"{count:,} {name}" for name, count in found.hosts_by_type)
    tiers = {
        "leaf": counts.leaf,
        "spine": counts.spine,
        "core": counts.core,
        "inter-building": counts.inter_building,
        "gateway": counts.wan,
    }
    switches = ", ".join(f"{number:,} {tier}" for tier, number in tiers.items() if number)
    draw = f"{_megawatts(found.switch_watts)} MW" if found.switch_watts >= 1e6 else f"{found.switch_watts / 1e3:,.0f} kW"
    dragonfly = f"; {counts.local_links:,} local and {counts.global_links:,} global cables" if counts.local_links else ""
    return [
        f"## {found.scenario.name}",
        "",
        f"{found.scenario.description}.",
        "",
        f"Hosts: {hosts}. Switches: {switches}{dragonfly}; they draw {draw}. Sites: {', '.join(found.sites)}.",
        "",
        *(f"- {text}" for text in found.scenario.assumptions),
        "",
    ]


def markdown(all_figures: list[Figures]) -> str:
    """The page, smallest cluster first."""
    ordered = sorted(all_figures, key=lambda found: (found.counts.gpus, found.scenario.name))
    lines = [_INTRO, "| preset | GPUs | hosts | racks | switches | host cables | switch cables | buildings | sites | MW | cap, MW |"]
    lines += ["| --- |" + " ---: |" * 10, *map(_row, ordered), ""]
    for found in ordered:
        lines += _section(found)
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page to the file named as the first argument, else to standard output."""
    scenarios = [load(name) for name, _ in presets()]
    text = markdown([figures(scenario, build_cluster(scenario)) for scenario in scenarios])
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, "utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
