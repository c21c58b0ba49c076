"""``gigawatt presets``: the built-in scenarios."""

from emulator.cli.output import Format, FormatOption, show_rows


def presets(output: FormatOption = Format.TABLE) -> None:
    """List the built-in scenarios."""
    from emulator.scenario import load
    from emulator.scenario import presets as built_in
    from topology import catalog

    rows = []
    for name, description in built_in():
        cluster = load(name).cluster
        host = catalog.host(cluster.host)
        rows.append({"name": name, "gpus": cluster.host_count * host.gpus, "host": host.name, "description": description})
    show_rows(rows, {"name": "NAME", "gpus": "GPUS", "host": "HOST", "description": "WHAT"}, output)
