"""``gigawatt topology``: the cluster that a scenario or a file describes; ``show`` counts it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emulator.cli import options, topology_files
from emulator.cli.output import Format, FormatOption, show_one
from emulator.cli.values import path as path_of

PictureOption = Annotated[
    Path | None,
    typer.Option("--picture", parser=path_of, metavar="FILE", help="Also draw the cluster, into a file that ends in .svg or .png."),
]
LoadOption = Annotated[
    Path | None,
    typer.Option("--load", parser=path_of, metavar="RUN_DIR", help="Colour the picture by the links' load in a run (its -o directory)."),
]

if TYPE_CHECKING:
    from emulator.scenario import Scenario
    from topology.cluster import Cluster

app = typer.Typer(help="Show, check, export and import the cluster that a scenario or a file describes.", no_args_is_help=True)
app.command("check")(topology_files.check)
app.command("export")(topology_files.export)
app.command("import")(topology_files.import_)


@app.command("show")
def show(
    scenario: options.ScenarioArgument,
    settings: options.SetOption = None,
    picture: PictureOption = None,
    load: LoadOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """GPUs, hosts, racks, switches, cables (``links``) and trunks, with oversubscription, bisection and power."""
    from emulator.cli.sessions import load_scenario, usage_errors
    from emulator.report.picture.write import check_options, draw
    from emulator.scenario import build_cluster
    from topology.describe import describe, trunk_counts

    with usage_errors():
        check_options(picture, load)
    loaded = load_scenario(scenario, options.set_options(settings))
    with usage_errors():
        cluster = build_cluster(loaded)
        if picture is not None:
            draw(picture, cluster, loaded, load)
    described = describe(cluster)
    assumptions = described.pop("assumptions")
    counts = {"links": described.pop("links"), "trunks": trunk_counts(cluster)}
    shown = described | counts | {"power": _power(cluster, loaded), "assumptions": assumptions}
    show_one(shown, output, {"links": "cables"})


def _power(cluster: "Cluster", scenario: "Scenario") -> dict[str, float | None]:
    """IT power of hosts and switches: at rest, at the measured maximum in training, as the hosts are rated; of the facility; its cap."""
    from emulator.power.facility import facility_milliwatts
    from emulator.racks.power import MILLIWATTS_PER_WATT, most_milliwatts, switch_milliwatts

    hosts = list(zip(cluster.host_types, cluster.type_hosts, strict=True))
    switches = int(switch_milliwatts(cluster.links).sum()) / MILLIWATTS_PER_WATT
    maximum = most_milliwatts(cluster)
    return {
        "switch_watts": round(switches, 3),
        "idle_watts": round(sum(count * host.idle_watts for host, count in hosts) + switches, 3),
        "measured_maximum_watts": maximum / MILLIWATTS_PER_WATT,
        "rated_watts": round(sum(count * host.rated_watts for host, count in hosts) + switches, 3),
        "facility_maximum_watts": facility_milliwatts(maximum, scenario.power.pue) / MILLIWATTS_PER_WATT,
        "cap_watts": scenario.power.cap,
    }
