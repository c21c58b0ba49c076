"""``gigawatt topology``: the cluster that a scenario describes, counted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emulator.cli import options
from emulator.cli.output import Format, FormatOption, show_one

PictureOption = Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="Draw it, too: a file ending in .svg or .png.")]
LoadOption = Annotated[
    Path | None, typer.Option("--load", metavar="RUN_DIR", help="Colour the picture by the links' load in a run (its -o directory).")
]

if TYPE_CHECKING:
    from topology.cluster import Counts

app = typer.Typer(help="Show the cluster that a scenario describes.", no_args_is_help=True)


@app.callback()
def root() -> None:
    """Keeps ``show`` a word of its own while it is the only one."""


@app.command("show")
def show(
    scenario: options.ScenarioArgument,
    settings: options.SetOption = None,
    picture: PictureOption = None,
    load: LoadOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """GPUs, hosts, racks, switches and links, with oversubscription and bisection."""
    from emulator.cli.sessions import load_scenario, usage_errors
    from emulator.report.picture.write import check_options, draw
    from emulator.scenario import build_cluster

    with usage_errors():
        check_options(picture, load)
    loaded = load_scenario(scenario, options.set_options(settings))
    with usage_errors():
        cluster = build_cluster(loaded)
        if picture is not None:
            draw(picture, cluster, loaded, load)
    show_one(counted(cluster.counts) | {"assumptions": list(loaded.assumptions)}, output)


def counted(counts: "Counts") -> dict[str, Any]:
    """The counts under the names that scripts depend on."""
    return {
        "gpus": counts.gpus,
        "hosts": counts.hosts,
        "racks": counts.racks,
        "domains": counts.domains,
        "switches": {"leaf": counts.leaf, "spine": counts.spine, "core": counts.core},
        "links": {"host_leaf": counts.host_leaf_links, "leaf_spine": counts.leaf_spine_links, "spine_core": counts.spine_core_links},
        "oversubscription": {"leaf": counts.oversubscription_leaf, "spine": counts.oversubscription_spine},
        "bisection_bytes_per_second": counts.bisection_bytes_per_second,
        "worst_pod_to_pod_ratio": counts.worst_pod_to_pod_ratio,
    }
